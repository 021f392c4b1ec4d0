"""Faults tried, survived, and what they cost."""

from collections.abc import Iterable
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
