"""Twenty kills of every method's run, at random over its course and inside its checkpoint files, end equal."""

import random
from functools import partial
from pathlib import Path

import pytest
from distributed.experiments import SYNTHETIC, method

from faults.kills import draw
from faults.survival import Whole, survive
from faults.table import Trials

ANYWHERE, SAVING, STARTING = 12, 6, 2


@pytest.mark.faults
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("experiment", SYNTHETIC, ids=method)
def test_a_run_that_is_killed_and_resumed_ends_as_one_that_is_not(
    experiment: Path, reference: Whole, trials: Trials
) -> None:
    rng = random.Random(f"kills of {method(experiment)}")
    runs = draw(reference.course, reference.checkpoint_size, ANYWHERE, SAVING, STARTING, rng)
    for number, kills in enumerate(runs):
        killed = partial(survive, reference, reference.case.folder / f"killed-{number}", kills)
        trials.run([kill.fault for kill in kills], killed, "; ".join(map(str, kills)))
    trials.check()
