"""Twenty kills of every method's run, at random over its course and inside its checkpoint files, end equal."""

import random
from pathlib import Path

import pytest

from faults.conftest import Report
from faults.kills import draw
from faults.small import EXPERIMENTS, LENGTH, name
from faults.survival import Case, survive, whole
from faults.table import Outcome

ANYWHERE, SAVING, STARTING = 12, 6, 2


@pytest.mark.faults
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=name)
def test_a_run_that_is_killed_and_resumed_ends_as_one_that_is_not(
    experiment: Path, shared: Path, report: Report
) -> None:
    reference = whole(Case(experiment, LENGTH, shared / name(experiment)))
    rng = random.Random(f"kills of {name(experiment)}")
    runs = draw(reference.course, reference.checkpoint_size, ANYWHERE, SAVING, STARTING, rng)
    failures = []
    for number, kills in enumerate(runs):
        try:
            costs: list[int | None] = [
                *survive(reference, shared / name(experiment) / f"killed-{number}", kills)
            ]
        except AssertionError as error:
            costs = [None] * len(kills)
            failures.append(f"{' | '.join(map(str, kills))}: {error}")
        for kill, lost in zip(kills, costs, strict=True):
            report(Outcome(name(experiment), kill.fault, lost))
    assert not failures, "\n\n".join(failures)
