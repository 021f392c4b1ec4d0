"""Runs that faults hit and that go on, compared with the run that nothing hit."""

import json
import signal
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from distributed.harness import differences

from faults import curves
from faults.kills import Kill
from faults.observer import Event, Hold
from faults.runs import Run
from faults.small import BATCH, INTERVAL, Length, words
from repsynth.cache import cached
from repsynth.callbacks.checkpoint import resume_path
from repsynth.checkpoints import seen, verify


@dataclass(frozen=True)
class Case:
    """An experiment at a length, and a folder for its runs."""

    experiment: Path
    length: Length
    folder: Path

    def words(self, root: Path, resume: bool = False) -> list[str]:
        """What follows `repsynth fit`."""
        given = words(self.experiment, self.length, self.folder, root)
        return [*given, "--resume"] if resume else given

    def run(self, root: Path, resume: bool = False, hold: Hold | None = None) -> Run:
        """Start a run in `root`; what all its starts print is in a file beside it."""
        return Run(self.words(root, resume), root.with_name(f"{root.name}.out"), hold)


@dataclass(frozen=True)
class Whole:
    """A run that nothing hit."""

    case: Case
    root: Path
    course: list[Event]

    @property
    def checkpoint_size(self) -> int:
        return (self.root / "checkpoints" / "last.ckpt").stat().st_size


def whole(case: Case) -> Whole:
    """The run that nothing hits; made once, whichever of pytest's processes asks first."""
    root = case.folder / "whole"

    def read(path: Path) -> list[Event] | None:
        return [Event(*event) for event in json.loads(path.read_text())] if path.exists() else None

    def build() -> list[Event]:
        with case.run(root) as run:
            assert run.end() == 0, run.printed()
        return run.events

    def write(course: list[Event], file: BinaryIO) -> None:
        file.write(json.dumps(course).encode())

    course = cached(case.folder / "course.json", read, build, write)
    return Whole(case, root, course)


def saved_steps(root: Path) -> int:
    """Steps that a resume need not do again."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* is damaged")
        path = resume_path(root)
    return 0 if path is None else seen(verify(path)) // BATCH


def survive(reference: Whole, root: Path, kills: Sequence[Kill]) -> list[int]:
    """Kill a run at one place after the other, resuming it each time, and compare its end.

    Returns:
        Steps that each kill has cost.

    Raises:
        AssertionError: More than is promised, another exit code, or another end.
    """
    lost: list[int] = []
    for kill in kills:
        with reference.case.run(root, resume=bool(lost), hold=kill.hold) as run:
            lost.append(_lost(run, root, kill, _killed(run, kill)))
    resume(reference, root)
    if all(kill.number == signal.SIGTERM for kill in kills):
        assert curves.repeated(root) == 0, "a curve has double rows"
    return lost


def stopped(case: Case, root: Path, step: int) -> None:
    """Kill a run in the step after so many."""
    kill = Kill(signal.SIGKILL, False, ("on_before_backward", step, 0))
    with case.run(root) as run:
        assert _killed(run, kill) == -signal.SIGKILL


def resume(reference: Whole, root: Path) -> Run:
    """Resume a run from where it stands, and compare its end.

    Raises:
        AssertionError: It is not that of the whole run.
    """
    saved = saved_steps(root)
    with reference.case.run(root, resume=True) as run:
        assert run.end() == 0, run.printed()
    begun = [event.step for event in run.events if event.name == "on_train_start"]
    assert begun == [saved] or (not begun and saved == reference.case.length.steps), (begun, saved)
    check_equal(root, reference)
    return run


def _killed(run: Run, kill: Kill) -> int:
    """Send the signal at its place, and wait for the end; the exit code."""
    reached = run.until(lambda event: event.name == "held" if kill.hold else event.place == kill.after)
    assert reached is not None, f"the run ended with {run.end()} before {kill}:\n{run.printed()}"
    time.sleep(max(0.0, reached.time + kill.seconds - time.monotonic()))
    run.signal(kill.number, kill.everyone)
    return run.end()


def _lost(run: Run, root: Path, kill: Kill, code: int) -> int:
    """Steps that a killed run had finished and not saved; see `survive`."""
    told = f"{kill}, exit code {code}:\n{run.printed()[-2000:]}"
    names = {event.name for event in run.events}
    expected = {-kill.number} if kill.number == signal.SIGKILL else {128 + kill.number}
    if "on_train_start" not in names:
        expected.add(-kill.number)
    if "on_train_end" in names:
        expected.add(0)
    assert code in expected, told
    saved = saved_steps(root)
    lost = max(run.steps(), saved) - saved
    most = INTERVAL if kill.number == signal.SIGKILL else 0
    assert lost <= most, f"{lost} steps are lost by {told}"
    return lost


def check_equal(root: Path, reference: Whole) -> None:
    """See that a run ended as the whole one: every bit of its final and best checkpoints, and its curves.

    Raises:
        AssertionError: It did not.
    """
    for path in [*_checkpoints(reference.root, "last.ckpt"), *_checkpoints(reference.root, "best*.ckpt")]:
        pair = [torch.load(each / "checkpoints" / path, weights_only=True) for each in (reference.root, root)]
        found = differences(*pair)
        assert found == [], f"{path} differs: {found[:5]}"
    assert _checkpoints(root, "*.ckpt") == _checkpoints(reference.root, "*.ckpt")
    check_curves(root, reference)


def _checkpoints(root: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in (root / "checkpoints").glob(pattern))


def check_curves(root: Path, reference: Whole) -> None:
    """See that the merged curves are those of the whole run, without gap.

    Raises:
        AssertionError: They are not.
    """
    expected, found = curves.merged(reference.root), curves.merged(root)
    assert found.keys() == expected.keys()
    for name_of_curve, curve in expected.items():
        gap = sorted(curve.keys() - found[name_of_curve].keys())
        assert not gap, f"{name_of_curve} has a gap at {gap}"
    assert found == expected
    assert curves.tensorboard(root) == curves.tensorboard(reference.root)
    rows = curves.status_rows(root)
    assert rows == sorted(set(rows))
