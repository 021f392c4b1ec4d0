"""A disk that is full or may not be written: one sentence, what was saved stays, and a resume once there is room."""

import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from faults.conftest import Report
from faults.runs import Run
from faults.small import EXPERIMENTS, INTERVAL, LENGTH, name
from faults.survival import Case, Whole, resume, saved_steps, whole
from faults.table import Outcome


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
def disk(tmp_path: Path, experiment: Path, shared: Path) -> Iterator[tuple[Whole, Path]]:
    """The run that nothing hit, and a disk of its own with room for two like it."""
    reference = whole(Case(experiment, LENGTH, shared / name(experiment)))
    used = sum(path.stat().st_size for path in reference.root.rglob("*"))
    mount("-t", "tmpfs", "-o", f"size={2 * used}", "tmpfs", str(tmp_path))
    try:
        yield reference, tmp_path
    finally:
        unmount(tmp_path)


@pytest.mark.faults
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=name)
def test_a_disk_that_fills_up(experiment: Path, disk: tuple[Whole, Path], report: Report) -> None:
    reference, folder = disk
    rng = random.Random(f"disk of {name(experiment)}")
    rooms = [0, reference.checkpoint_size // 2, rng.randrange(reference.checkpoint_size)]
    for left in rooms:
        root = folder / f"{left}-left"
        step = rng.randrange(INTERVAL, LENGTH.steps - INTERVAL)
        with reference.case.run(root) as run:
            run.until(lambda event, step=step: event.place == ("on_before_backward", step, 0))
            with full(folder, left):
                check_one_sentence(run, run.end(), "No space left on device")
        lost = run.steps() - saved_steps(root)
        assert lost <= INTERVAL
        resume(reference, root)
        shutil.rmtree(root)
        report(Outcome(name(experiment), "disk full", lost))


@pytest.mark.faults
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=name)
def test_a_folder_that_cannot_be_written(experiment: Path, disk: tuple[Whole, Path], report: Report) -> None:
    """From the start, and from the middle of a run on."""
    reference, folder = disk
    root = folder / "run"
    root.mkdir()
    with read_only(root), reference.case.run(root) as run:
        check_one_sentence(
            run, run.end(), f"the output folder {root} cannot be written (Read-only file system)"
        )
    assert list(root.iterdir()) == []
    with reference.case.run(root) as run:
        run.until(lambda event: event.place == ("on_before_backward", LENGTH.steps // 2, 0))
        with read_only(root / "checkpoints"):
            check_one_sentence(run, run.end(), "last.ckpt could not be written (Read-only file system)")
    lost = run.steps() - saved_steps(root)
    assert lost <= INTERVAL
    with read_only(root / "checkpoints"), reference.case.run(root, resume=True) as run:
        check_one_sentence(run, run.end(), "could not be written (Read-only file system)")
    resume(reference, root)
    report(Outcome(name(experiment), "folder read-only", lost))
