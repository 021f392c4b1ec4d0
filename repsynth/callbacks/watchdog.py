"""Ends a run whose ranks wait for one that hangs, and names it."""

import os
import shutil
import socket
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import FrameType

import lightning.pytorch as pl
import psutil

from repsynth.callbacks import heartbeats
from repsynth.callbacks.determinism import trainer_callbacks
from repsynth.callbacks.heartbeats import Heartbeat
from repsynth.errors import UserError

EXIT_CODE = 124
"""As of the command `timeout`."""
_VERDICT = "verdict"
_ENDED = "ended-"
_LOOKS = 20
"""Looks at the other ranks within the time that is allowed."""
_AN_HOUR = 3600.0


def _marks(hook: str, phase: int | None = None, step: int = 0) -> Callable[..., None]:
    """A hook that notes that it was reached."""

    def mark(self: "Watchdog", *_: object, **__: object) -> None:
        self.mark(hook, phase, step)

    return mark


class Watchdog(pl.Callback):
    """Ends a run of several ranks when one of them has waited longer than allowed for another.

    Each rank notes in a file below `<run directory>/heartbeats` how far it is. One that has not moved for `minutes`
    looks at the others: those that are behind it and do not move either, or that are at the same place and do not wait,
    are named on stderr with process, machine and line of code, and all ranks leave with exit code 124. What was done
    since the last checkpoint is lost. Ranks that work, however long, end nothing. In a run of one rank it does nothing.

    The process group has a time limit of its own (30 minutes in Lightning), after which it ends a run without a name;
    for more than that in `minutes` set `trainer.strategy` to a DDPStrategy with a `timeout`.

    Args:
        minutes: how long a rank may wait for others; None waits forever.

    Raises:
        UserError: `minutes` is not positive.
    """

    def __init__(self, minutes: float | None = 20.0) -> None:
        if minutes is not None and minutes <= 0:
            raise UserError(
                f"Watchdog.minutes is {minutes}: expected a positive number, or null to wait forever"
            )
        self.minutes = minutes
        self._step = self._phase = self._beat = 0
        self._hook, self._since = "setup", time.monotonic()
        self._watch: _Watch | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Move to the front of the callbacks, before any that talks to other ranks, and start to watch."""
        # Safe while the trainer walks the same list: everything behind this callback keeps its place.
        callbacks = trainer_callbacks(trainer)
        callbacks.remove(self)
        callbacks.insert(0, self)
        self._step = self._phase = self._beat = 0
        self.mark("setup")
        if self.minutes is None or trainer.world_size == 1:
            return
        self._compare_limits(trainer)
        session = trainer.strategy.broadcast(uuid.uuid4().hex[:12])
        root = Path(trainer.default_root_dir) / "heartbeats"
        if trainer.is_global_zero:
            _clear(root)
        self._watch = _Watch(
            root / session, trainer.global_rank, trainer.world_size, 60.0 * self.minutes, self.state
        )
        self._watch.start()

    def mark(self, hook: str, phase: int | None = None, step: int = 0) -> None:
        """Note that a hook was reached.

        Args:
            hook: its name.
            phase: 0 in training, 1 in an evaluation, 2 after it; None stays.
            step: training batches that begin here.
        """
        self._step += step
        if step or (phase is not None and phase != self._phase):
            self._phase, self._beat = phase or 0, 0
        elif self._phase != 1:  # ranks have different numbers of evaluation batches
            self._beat += 1
        self._hook, self._since = hook, time.monotonic()

    def state(self) -> tuple[heartbeats.Place, str, float]:
        """Place, last hook and seconds since then; for the thread that watches."""
        return (self._step, self._phase, self._beat), self._hook, time.monotonic() - self._since

    on_fit_start = _marks("on_fit_start")
    on_train_start = _marks("on_train_start")
    on_train_epoch_start = _marks("on_train_epoch_start")
    on_train_batch_start = _marks("on_train_batch_start", phase=0, step=1)
    on_before_backward = _marks("on_before_backward")
    on_after_backward = _marks("on_after_backward")
    on_before_optimizer_step = _marks("on_before_optimizer_step")
    on_before_zero_grad = _marks("on_before_zero_grad")
    on_train_batch_end = _marks("on_train_batch_end")
    on_train_epoch_end = _marks("on_train_epoch_end")
    on_train_end = _marks("on_train_end")
    on_save_checkpoint = _marks("on_save_checkpoint")
    on_validation_start = _marks("on_validation_start", phase=1)
    on_validation_batch_start = _marks("on_validation_batch_start")
    on_validation_batch_end = _marks("on_validation_batch_end")
    on_validation_epoch_end = _marks("on_validation_epoch_end", phase=2)
    on_validation_end = _marks("on_validation_end")
    on_test_start = _marks("on_test_start", phase=1)
    on_test_batch_start = _marks("on_test_batch_start")
    on_test_batch_end = _marks("on_test_batch_end")
    on_test_epoch_end = _marks("on_test_epoch_end", phase=2)
    on_test_end = _marks("on_test_end")
    on_predict_start = _marks("on_predict_start", phase=1)
    on_predict_batch_start = _marks("on_predict_batch_start")
    on_predict_batch_end = _marks("on_predict_batch_end")
    on_predict_epoch_end = _marks("on_predict_epoch_end", phase=2)
    on_predict_end = _marks("on_predict_end")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Watch no more: this rank leaves."""
        self._stop()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Watch no more."""
        watched = self._watch
        self._stop()
        if watched is not None:
            watched.clean_up()

    def _stop(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _compare_limits(self, trainer: pl.Trainer) -> None:
        limit = getattr(trainer.strategy, "_timeout", None)
        assert self.minutes is not None
        if (
            isinstance(limit, timedelta)
            and limit.total_seconds() <= 60 * self.minutes
            and trainer.is_global_zero
        ):
            warnings.warn(
                f"Watchdog.minutes is {self.minutes:g}, but the process group gives up after "
                f"{limit.total_seconds() / 60:g} minutes without naming a rank: lower minutes, or raise the timeout of "
                "trainer.strategy",
                stacklevel=2,
            )


class _Watch(threading.Thread):
    """Writes the heartbeat of one rank and looks at those of the others.

    Args:
        folder: of this start of the run; a rank of an earlier one that still hangs writes elsewhere.
        rank: of this process.
        world: number of ranks.
        limit: seconds that a rank may wait.
        state: tells place, hook and seconds since then.
    """

    def __init__(
        self,
        folder: Path,
        rank: int,
        world: int,
        limit: float,
        state: Callable[[], tuple[heartbeats.Place, str, float]],
    ) -> None:
        super().__init__(name="repsynth-watchdog", daemon=True)
        self.folder = folder
        self.rank, self.world, self.limit = rank, world, limit
        self.interval = min(limit / _LOOKS, 10.0)
        self._state = state
        self._watched = threading.get_ident()
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._born = psutil.Process().create_time()
        self._ended = threading.Event()
        self._began_to_wait: tuple[heartbeats.Place, float] | None = None

    def run(self) -> None:
        """Look until the run ends."""
        while True:
            # A disk that fails for a moment must not end the watch, nor the run.
            with suppress(OSError):
                self._look()
            if self._ended.wait(self.interval):
                return

    def stop(self) -> None:
        """End the watch."""
        self._ended.set()
        self.join()

    def clean_up(self) -> None:
        """Remove the folder if no other rank watches any more; to be called after `stop`."""
        with suppress(OSError):
            (self.folder / f"{_ENDED}{self.rank}").touch()
            if len(list(self.folder.glob(f"{_ENDED}*"))) == self.world:
                shutil.rmtree(self.folder, ignore_errors=True)
                self.folder.parent.rmdir()

    def _look(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        mine = self._own()
        heartbeats.write(mine, self.folder)
        if (self.folder / _VERDICT).exists():
            os._exit(EXIT_CODE)
        if mine.still < self.limit:
            return
        beats = heartbeats.read(self.folder, self.world)
        hung = heartbeats.holding_up(beats, self.rank, self.world, self.limit)
        if hung and not self._ended.is_set():
            self._end_run(beats, hung)

    def _own(self) -> Heartbeat:
        place, hook, still = self._state()
        frame = sys._current_frames().get(self._watched)
        return Heartbeat(
            rank=self.rank,
            host=self._host,
            pid=self._pid,
            born=self._born,
            place=place,
            hook=hook,
            still=still,
            waiting=self._waiting(place, frame),
            line=heartbeats.line_of(frame),
            written=time.time(),
        )

    def _waiting(self, place: heartbeats.Place, frame: FrameType | None) -> float | None:
        """Seconds for which every look at this place found the watched thread waiting; None if this one does not."""
        if not heartbeats.is_waiting(frame):
            self._began_to_wait = None
            return None
        now = time.monotonic()
        if self._began_to_wait is None or self._began_to_wait[0] != place:
            self._began_to_wait = place, now
        return now - self._began_to_wait[1]

    def _end_run(self, beats: dict[int, Heartbeat], hung: list[int]) -> None:
        try:
            (self.folder / _VERDICT).touch(exist_ok=False)
        except FileExistsError:
            os._exit(EXIT_CODE)
        text = heartbeats.sentence(beats, hung, self.rank, self.world, self.folder)
        print(f"error: {text}", file=sys.stderr, flush=True)
        # The others see the verdict and leave; a process that is stopped, or keeps Python's lock, cannot.
        time.sleep(3 * self.interval)
        for beat in (beats[r] for r in hung if r in beats and r != self.rank):
            self._kill(beat)
        os._exit(EXIT_CODE)

    def _kill(self, beat: Heartbeat) -> None:
        """Kill a rank of this run on this machine; on others its launcher does."""
        if beat.host != self._host:
            return
        with suppress(psutil.Error):
            process = psutil.Process(beat.pid)
            if abs(process.create_time() - beat.born) < 1.0:
                process.kill()


def _clear(root: Path) -> None:
    """Remove what starts that were killed have left; others may run beside this one, and write every few seconds."""
    for folder in root.glob("*") if root.is_dir() else ():
        try:
            newest = max(path.stat().st_mtime for path in (folder, *folder.glob("*")))
        except FileNotFoundError:  # a rank has just given a file its name
            continue
        if time.time() - newest > _AN_HOUR:
            shutil.rmtree(folder, ignore_errors=True)
