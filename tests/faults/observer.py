"""In the process of a run: what it tells the test that watches it, and where it waits to be killed."""

import os
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import lightning.pytorch as pl
import torch

from repsynth.callbacks.determinism import samples_seen
from repsynth.cli import main

FOREVER = 60.0


class Event(NamedTuple):
    """A place that a run reached.

    Attributes:
        name: of the hook.
        step: training steps that were finished.
        nth: which one of this name at this step, from 0, in this process.
        time: seconds on the clock of the machine.
    """

    name: str
    step: int
    nth: int
    time: float

    @property
    def place(self) -> tuple[str, int, int]:
        """The same in every run."""
        return self[:3]


@dataclass(frozen=True)
class Hold:
    """Where a run waits for its signal in the middle of writing a checkpoint.

    Attributes:
        step, nth: of the event `save`.
        call: 0 inside the file, then before the calls of fsync and rename in their order.
        bytes: of the file that are written before, for call 0.
        seconds: how long it waits.
    """

    step: int
    nth: int
    call: int
    bytes: int
    seconds: float


class _Channel:
    """To the test that watches; None in its own process."""

    connection: Connection | None = None
    counts: ClassVar[Counter[tuple[str, int]]] = Counter()
    hold: Hold | None = None
    calls: int = 0
    """Left until the place to wait; 0 when no checkpoint is written, or another one."""


def tell(name: str, step: int) -> Event:
    """Report an event."""
    event = Event(name, step, _Channel.counts[name, step], time.monotonic())
    _Channel.counts[name, step] += 1
    if _Channel.connection is not None:
        _Channel.connection.send(event)
    return event


def fit(words: list[str], connection: Connection, hold: Hold | None) -> int:
    """`repsynth fit` that reports; to be called in a process of its own.

    Args:
        words: what follows `fit`.
        connection: gets an `Event` for every place that is reached.
        hold: where to wait, if at all.
    """
    _Channel.connection, _Channel.hold = connection, hold
    tell("process", 0)
    if hold is not None:
        _wait_inside(hold)
    return main(["fit", *words])


class Observer(pl.Callback):
    """Reports the places that a run goes through."""

    def on_save_checkpoint(self, trainer: pl.Trainer, *_: object) -> None:
        event = _tell("save", trainer)
        hold = _Channel.hold
        if hold is not None and (event.step, event.nth) == (hold.step, hold.nth):
            _Channel.calls = hold.call + 1


def _tell(name: str, trainer: pl.Trainer) -> Event:
    return tell(name, samples_seen(trainer) // trainer.datamodule.batch_size)  # type: ignore[attr-defined]


def _report(hook: str) -> Any:  # noqa: ANN401
    def report(self: Observer, trainer: pl.Trainer, *_: object, **__: object) -> None:
        _tell(hook, trainer)

    return report


for _hook in (
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_before_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_validation_start",
    "on_validation_batch_end",
    "on_validation_end",
    "on_train_epoch_end",
    "on_train_end",
):
    setattr(Observer, _hook, _report(_hook))


class _Counted:
    """A file into which a checkpoint is written, with the place to wait inside."""

    def __init__(self, file: BinaryIO, hold: Hold) -> None:
        self.file, self.hold, self.left = file, hold, hold.bytes

    def write(self, data: Any) -> int:  # noqa: ANN401  bytes, or a view of them
        content = bytes(data)
        if 0 <= self.left < len(content):
            self.file.write(content[: self.left])
            self.file.flush()
            _wait(self.hold)
            content = content[self.left :]
        self.left -= len(data)
        self.file.write(content)
        return len(data)

    def flush(self) -> None:
        self.file.flush()


def _wait_inside(hold: Hold) -> None:
    """Change this process's functions so that it waits at a place inside the writing of a checkpoint."""
    real_save, real_sync, real_replace = torch.save, os.fsync, Path.replace

    def save(content: object, file: BinaryIO) -> None:
        real_save(content, _Counted(file, hold) if _is_reached() else file)  # type: ignore[arg-type]

    def sync(descriptor: int) -> None:
        if _is_reached():
            _wait(hold)
        real_sync(descriptor)

    def replace(path: Path, target: Path) -> Path:
        if _is_reached():
            _wait(hold)
        return real_replace(path, target)

    torch.save, os.fsync, Path.replace = save, sync, replace  # type: ignore[assignment, method-assign]


def _is_reached() -> bool:
    """Count a call inside the checkpoint that is meant; whether it is the place to wait."""
    if _Channel.calls == 0:
        return False
    _Channel.calls -= 1
    return _Channel.calls == 0


def _wait(hold: Hold) -> None:
    tell("held", hold.step)
    time.sleep(hold.seconds)
