"""A disk that is full or may not be written: one sentence, what was saved stays, and a resume once there is room."""

import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from distributed.experiments import SYNTHETIC, method

from faults.runs import Run
from faults.small import INTERVAL, LENGTH
from faults.survival import Whole, resume, saved_steps
from faults.table import Trials


def mount(*options: str) -> None:
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is refused here: {done.stderr.strip()}")


def unmount(folder: Path) -> None:
    # Loaders of a run that was killed may be in there for seconds.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(folder: Path, left: int) -> Iterator[None]:
    """A disk with so many bytes left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        with suppress(OSError):
            while file.write(bytes(2**16)):
                pass
        file.truncate(max(0, file.tell() - left))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder in which nothing can be written."""
    mount("--bind", str(folder), str(folder))
    try:
        mount("-o", "remount,bind,ro", str(folder))
        yield
    finally:
        unmount(folder)


def check_one_sentence(run: Run, code: int, words: str) -> None:
    """The user is told once, without a traceback, and by the exit code."""
    printed = run.printed()
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(errors) == 1 and words in errors[0] and "Traceback" not in printed, printed


@pytest.fixture
def disk(tmp_path: Path, reference: Whole) -> Iterator[Path]:
    """A disk of its own with room for two runs."""
    used = sum(path.stat().st_size for path in reference.root.rglob("*"))
    mount("-t", "tmpfs", "-o", f"size={2 * used}", "tmpfs", str(tmp_path))
    try:
        yield tmp_path
    finally:
        unmount(tmp_path)


def filled_up(reference: Whole, root: Path, step: int, left: int) -> list[int]:
    """Fill the disk in a step, make room after the run has ended, and compare the end of the resumed one."""
    with reference.case.run(root) as run:
        run.until(lambda event: event.place == ("on_before_backward", step, 0))
        with full(root.parent, left):
            check_one_sentence(run, run.end(), "No space left on device")
    lost = run.steps() - saved_steps(root)
    assert lost <= INTERVAL
    resume(reference, root)
    shutil.rmtree(root)
    return [lost]


def read_only_from_the_start(reference: Whole, root: Path) -> list[int]:
    root.mkdir()
    with read_only(root), reference.case.run(root) as run:
        check_one_sentence(
            run, run.end(), f"the output folder {root} cannot be written (Read-only file system)"
        )
    assert list(root.iterdir()) == []
    return [0]


def read_only_from_the_middle_on(reference: Whole, root: Path) -> list[int]:
    with reference.case.run(root) as run:
        run.until(lambda event: event.place == ("on_before_backward", LENGTH.steps // 2, 0))
        with read_only(root / "checkpoints"):
            check_one_sentence(run, run.end(), "last.ckpt could not be written (Read-only file system)")
    lost = run.steps() - saved_steps(root)
    assert lost <= INTERVAL
    with read_only(root / "checkpoints"), reference.case.run(root, resume=True) as run:
        check_one_sentence(run, run.end(), "could not be written (Read-only file system)")
    resume(reference, root)
    return [lost]


@pytest.mark.faults
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("experiment", SYNTHETIC, ids=method)
def test_a_disk_that_fills_up(experiment: Path, reference: Whole, disk: Path, trials: Trials) -> None:
    """No room at all, for half a checkpoint, and for a random part of one."""
    rng = random.Random(f"disk of {method(experiment)}")
    for left in (0, reference.checkpoint_size // 2, rng.randrange(reference.checkpoint_size)):
        step = rng.randrange(INTERVAL, LENGTH.steps - INTERVAL)
        told = f"with {left} bytes left in the step after {step}"
        trials.run(["disk full"], partial(filled_up, reference, disk / f"run-{left}", step, left), told)
    trials.check()


@pytest.mark.faults
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("experiment", SYNTHETIC, ids=method)
def test_a_folder_that_cannot_be_written(
    experiment: Path, reference: Whole, disk: Path, trials: Trials
) -> None:
    for trial in (read_only_from_the_start, read_only_from_the_middle_on):
        trials.run(["folder read-only"], partial(trial, reference, disk / "run"))
    trials.check()
