"""One run of `repsynth data prepare-images` after its checks: pictures go to their target, their fate to the record."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from repsynth.datamodules.image_stores import ImageStore
from repsynth.datamodules.lmdb_target import LmdbTarget
from repsynth.datamodules.preparation_recipes import SUFFIXES, Preparation
from repsynth.datamodules.preparation_record import FILE, Record, signature
from repsynth.datamodules.preparation_targets import Done, FolderTarget, Target, ZipTarget, file_names
from repsynth.datamodules.preparation_work import Work, all_done, of_options
from repsynth.errors import UserError

OnBadImage = Literal["stop", "skip"]
"""What is done about pictures that cannot be used."""

_UNFINISHED = ".unfinished"
"""Folder below the target for files that are not yet whole."""

_REMEDY = "; then start again, or pass --on-bad-image skip to leave such images out"


@dataclass
class PreparationRun:
    """The fields are the arguments of `image_preparation.prepare_images`."""

    source: Path
    target: Path
    store: ImageStore
    preparation: Preparation
    record: Record
    """Written to the target; gets what becomes of the pictures."""
    on_bad_image: OnBadImage
    workers: int
    tell: Callable[[str], None]

    def prepare(self) -> None:
        """Prepare what is not there yet.

        Raises:
            UserError: pictures that cannot be used, another run at work, or a target that is damaged.
            OSError: the target cannot be written.
        """
        with _alone(self.target):
            receiver = _receiver(self.store, self.preparation, self.target)
            self.record.write(self.target)
            made = self._pass_on(receiver)
            self._finish(receiver)
        self._tell_counts(made)

    def _pass_on(self, receiver: Target) -> int:
        """Hand the target all pictures that it lacks; returns how many these were."""
        first, count, made = receiver.first(), len(self.store), 0
        if first < count:  # else only the record knows
            self.record.left_out = {self.store.name(index): why for index, why in receiver.left_out().items()}
        work = Work(self.store, self.preparation, receiver)
        for done in _shown(all_done(work, range(first, count), self.workers), first, count):
            made += done.made
            if done.complaint is not None:
                self._leave_out(done.index, done.complaint, receiver)
            receiver.accept(done)
        return made

    def _leave_out(self, index: int, complaint: str, receiver: Target) -> None:
        name = self.store.name(index)
        if self.on_bad_image == "skip":
            self.record.left_out[name] = complaint
            self.tell(f"left out: {complaint}")
            return
        if receiver.lacking(index) == list(self.preparation.sizes):  # no size has gone beyond this picture
            self.record.unreadable = [name]
            self.record.source_signature = signature(self.store, self.source, [name])
            self.record.write(self.target)
        raise UserError(f"image {index + 1} of {len(self.store)} cannot be used: {complaint}{_REMEDY}")

    def _finish(self, receiver: Target) -> None:
        record = self.record
        record.prepared = len(self.store) - len(record.left_out)
        if not record.prepared:
            raise refusal(list(record.left_out.values()), len(self.store))
        record.write(self.target)  # the receiver forgets what was left out when it has finished
        receiver.finish()
        record.finished = True
        record.write(self.target)

    def _tell_counts(self, made: int) -> None:
        outputs = ", ".join(str(place) for place in places(self.target, self.preparation).values())
        left_out = len(self.record.left_out)
        counts = [
            (made, f"images prepared in {outputs}"),
            (self.record.prepared - made, "images were there already"),
            (left_out, f"images left out, listed in {self.target / FILE}"),
        ]
        for count, words in counts:
            if count:
                self.tell(f"{count} {words}")


def refusal(complaints: list[str], count: int) -> UserError:
    """What is said of pictures that cannot be used, `count` being all pictures of the source."""
    return UserError(
        f"{len(complaints)} of {count} images cannot be used, first {of_options(complaints[0])}{_REMEDY}"
    )


def places(target: Path, preparation: Preparation) -> dict[int, Path]:
    """Where the pictures go, by size."""
    suffix = ".zip" if preparation.recipe.to == "zip" else ""
    return {size: target / f"{size}{suffix}" for size in preparation.sizes}


def output_names(store: ImageStore, preparation: Preparation) -> np.ndarray:
    """The names of prepared files, [N] packed; see `preparation_targets.file_names`."""
    return file_names(map(store.name, range(len(store))), SUFFIXES[preparation.recipe.format])


def _receiver(store: ImageStore, preparation: Preparation, target: Path) -> Target:
    outputs = places(target, preparation)
    if preparation.recipe.to == "lmdb":
        return LmdbTarget.of(outputs, len(store))
    unfinished = target / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    names = output_names(store, preparation)
    if preparation.recipe.to == "zip":
        return ZipTarget.of(outputs, names, unfinished)
    return FolderTarget(outputs, names, unfinished)


def _shown(outcomes: Iterator[Done], first: int, count: int) -> Iterator[Done]:
    """The outcomes, and a bar of how many have come."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True))
    task = progress.add_task("", total=count, completed=first)
    try:
        for done in outcomes:
            progress.start()  # not before the processes, which would be born with its thread's locks
            progress.advance(task)
            yield done
    finally:
        progress.stop()


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Hold the lock of the target, where the file system has locks."""
    target.mkdir(parents=True, exist_ok=True)
    folder = os.open(target, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another run is writing to {target}; wait for it, or choose another TARGET"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(folder)
