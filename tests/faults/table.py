"""Faults tried, survived, and what they cost."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_HEAD = ("method", "fault", "tried", "survived", "steps lost (mean)", "steps lost (most)")


class Outcome(NamedTuple):
    """What became of one fault.

    Attributes:
        method: whose run it hit.
        fault: its kind.
        lost: steps that had to be done again; None when the run did not survive.
    """

    method: str
    fault: str
    lost: int | None


@dataclass
class Trials:
    """The faults of a test, each tried whatever became of the others.

    Attributes:
        method: whose runs they hit.
        report: gets every outcome.
        failures: what went wrong.
    """

    method: str
    report: Callable[[Outcome], None]
    failures: list[str] = field(default_factory=list)

    def run(self, faults: Sequence[str], trial: Callable[[], Sequence[int]], told: str = "") -> None:
        """Try faults of one run.

        Args:
            faults: their kinds.
            trial: gives the steps that each has cost, or raises AssertionError.
            told: what is done, for the message of a failure.
        """
        costs: Sequence[int | None]
        try:
            costs = trial()
        except AssertionError as error:
            costs = [None] * len(faults)
            self.failures.append(f"{' | '.join(faults)} {told}: {error}")
        for fault, lost in zip(faults, costs, strict=True):
            self.report(Outcome(self.method, fault, lost))

    def check(self) -> None:
        """Fail if any was not survived."""
        assert not self.failures, "\n\n".join(self.failures)


def markdown(outcomes: Iterable[Outcome]) -> str:
    """A row for each method and kind of fault, and one for all."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.method, outcome.fault), []).append(outcome)
    rows = [_HEAD, ("---",) * len(_HEAD)]
    rows += [_row(*names, group) for names, group in sorted(groups.items())]
    rows.append(_row("all", "all", [outcome for group in groups.values() for outcome in group]))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(method: str, fault: str, outcomes: list[Outcome]) -> tuple[str, ...]:
    lost = [outcome.lost for outcome in outcomes if outcome.lost is not None]
    cost = (f"{sum(lost) / len(lost):.1f}", str(max(lost))) if lost else ("-", "-")
    return (method, fault, str(len(outcomes)), str(len(lost)), *cost)
