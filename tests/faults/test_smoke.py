"""A little of each fault, so that `make test-faults` does not rot; what is cheap to try."""

import signal
from pathlib import Path

from faults.kills import Kill
from faults.observer import FOREVER, Hold
from faults.small import SHORT, cheapest
from faults.survival import Case, survive, whole
from faults.test_damage import altered, cut, passed_over
from faults.test_two_runs import check_refused
from repsynth.callbacks.checkpoint import resume_path


def test_a_kill_inside_a_checkpoint_and_a_sigterm(tmp_path: Path) -> None:
    reference = whole(Case(cheapest(), SHORT, tmp_path))
    saves = [event for event in reference.course if event.name == "save"]
    inside = Hold(saves[1].step, saves[1].nth, 0, reference.checkpoint_size // 2, FOREVER)
    kills = [
        Kill(signal.SIGKILL, False, saves[1].place, hold=inside),
        Kill(signal.SIGTERM, True, ("on_before_backward", SHORT.steps - 1, 0)),
    ]
    assert survive(reference, tmp_path / "killed", kills) == [saves[1].step - saves[0].step, 0]


def test_a_second_run_and_a_damaged_checkpoint(tmp_path: Path) -> None:
    root = tmp_path / "run"
    check_refused(Case(cheapest(), SHORT, tmp_path), root, {1: False})
    newest = resume_path(root)
    assert newest is not None
    size = newest.stat().st_size
    for damage in (cut(0), cut(size // 3), cut(size - 1), altered(size // 2, bit=3)):
        passed_over(newest, damage)
