"""Two runs on one directory: the second is refused, and the first ends as if it had been alone."""

from pathlib import Path

import pytest

from faults import curves
from faults.conftest import Report
from faults.kills import START
from faults.small import EXPERIMENTS, LENGTH, name
from faults.survival import Case, check_equal, whole
from faults.table import Outcome


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
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=name)
def test_the_second_of_two_runs_is_refused(experiment: Path, shared: Path, report: Report) -> None:
    reference = whole(Case(experiment, LENGTH, shared / name(experiment)))
    root = shared / name(experiment) / "first"
    middle = LENGTH.steps // 2
    check_refused(reference.case, root, {0: False, 1: True, middle: False, middle + 2: True})
    check_equal(root, reference)
    for _ in range(4):
        report(Outcome(name(experiment), "second run on the directory", 0))
