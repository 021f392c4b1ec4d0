"""Two runs on one directory: the second is refused, and the first ends as if it had been alone."""

from pathlib import Path

import pytest
from distributed.experiments import SYNTHETIC, method

from faults import curves
from faults.kills import START
from faults.small import LENGTH
from faults.survival import Case, Whole, check_equal
from faults.table import Trials


def check_refused(case: Case, root: Path, steps: dict[int, bool]) -> None:
    """Start a second run when the first is after some steps, with or without `--resume`."""
    with case.run(root) as first:
        for step, resume in steps.items():
            first.until(lambda event, step=step: event.place == ("on_before_backward", step, 0))
            with case.run(root, resume) as second:
                assert second.end() == 2, second.printed()
            assert [event.name for event in second.events] == [START]
            sentence = f"error: another run writes into {root}: process {first.pid} on "
            assert second.printed().count("error: ") == 1 and sentence in second.printed()
        assert first.end() == 0, first.printed()
    assert curves.starts(root) == 1


@pytest.mark.faults
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("experiment", SYNTHETIC, ids=method)
def test_the_second_of_two_runs_is_refused(experiment: Path, reference: Whole, trials: Trials) -> None:
    root, middle = reference.case.folder / "first", LENGTH.steps // 2
    steps = {0: False, 1: True, middle: False, middle + 2: True}

    def refused() -> list[int]:
        check_refused(reference.case, root, steps)
        check_equal(root, reference)
        return [0] * len(steps)

    trials.run(["second run on the directory"] * len(steps), refused)
    trials.check()
