"""When to save: by samples, by minutes, at the best figure, at signals and at the end.

`ModelCheckpoint` keeps the best ones. It cannot do the rest: its time interval never fires under manual
optimisation, its steps count optimisers, and Lightning's handler of SIGTERM talks to other ranks from inside
the signal. Saves here happen at the end of a batch in which an optimiser stepped: no gradient is half there.
"""

import math
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from repsynth.callbacks.determinism import samples_seen
from repsynth.callbacks.progress import (
    flush_curves,
    log_batch,
    mark_validation_pending,
    reopen_epoch,
    training_ends,
    validation_follows,
)
from repsynth.callbacks.ranks import largest
from repsynth.callbacks.requeue import put_back
from repsynth.checkpoints import State, newest_good, use_durable_files
from repsynth.errors import UserError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Stopped(SystemExit):
    """Ends the process after the save that a signal asked for, with exit code 128 + signal."""


class Checkpoint(ModelCheckpoint):
    """Keeps `checkpoints/last.ckpt`, the one before it as `last-1.ckpt`, and the best by a validation figure.

    Saves at the cadence, at the end of training, on SIGTERM or SIGUSR1 (at the end of the batch; then the run
    stops, and under SLURM a SIGUSR1 requeues the job), and on an exception outside of a training step in a
    run of one rank. Only rank 0 writes.

    Args:
        monitor: logged validation figure that chooses the best, for example `val/psnr`; None keeps no best.
        mode: whether the figure is better when larger or smaller.
        save_top_k: how many best checkpoints stay: `best.ckpt`, or `best-<samples>.ckpt` if more than one.
        every_samples: save whenever this many more training samples are done (global, over all ranks).
        every_minutes: save whenever this much time has passed on the clock of rank 0.

    Attributes:
        seconds_saving: time spent on all saves so far.

    Raises:
        UserError: a cadence that is not positive, or `save_top_k` below 1.
    """

    def __init__(
        self,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "max",
        save_top_k: int = 1,
        every_samples: int | None = None,
        every_minutes: float | None = 20.0,
    ) -> None:
        for name, value in {"every_samples": every_samples, "every_minutes": every_minutes}.items():
            if value is not None and value <= 0:
                raise UserError(
                    f"Checkpoint.{name} is {value}: expected a positive number, or null for never"
                )
        if save_top_k < 1:
            raise UserError(
                f"Checkpoint.save_top_k is {save_top_k}: expected 1 or more (monitor: null keeps none)"
            )
        super().__init__(
            filename="best",
            monitor=monitor,
            mode=mode,
            save_top_k=save_top_k if monitor else 0,
            save_on_train_epoch_end=False,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        self.every_samples = every_samples
        self.every_seconds = math.inf if every_minutes is None else 60.0 * every_minutes
        self._samples = 0
        self._due_samples = math.inf
        self._due_time = math.inf
        self._signal = 0
        self._handlers: dict[int, Any] = {}
        self._steps_before = 0
        self._at_boundary = False
        self._validation_pending = False
        self._due_at_epoch_end = False
        self._saved = 0
        self.seconds_saving = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Choose the folder and make sure that files are written durably."""
        self.dirpath = str(folder(trainer.default_root_dir))
        use_durable_files(trainer, pl_module)
        with warnings.catch_warnings():
            # A resumed run finds its own files there.
            warnings.filterwarnings("ignore", message="Checkpoint directory")
            super().setup(trainer, pl_module, stage)
        # The data module's samplers resume by position, which Lightning cannot see.
        warnings.filterwarnings(
            "ignore", message="You're resuming from a checkpoint that ended before the epoch"
        )

    def format_checkpoint_name(self, *args: object, **kwargs: object) -> str:
        """Path of the next best checkpoint."""
        name = "best" if self.save_top_k == 1 else f"best-{self._samples:012d}"
        return str(Path(str(self.dirpath)) / f"{name}{self.FILE_EXTENSION}")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best files, wherever the run directory is now."""
        super().load_state_dict(_in_folder(state_dict, str(self.dirpath)))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to signals from now on: what comes while data are looked through waits for the first step."""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        # Its own handlers would talk to other ranks, or under SLURM save, from inside the signal.
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clocks."""
        self._saved = self._samples = samples_seen(trainer)
        self._schedule_next()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Remember where the optimisers stand; until the batch ends there is nothing whole to save."""
        self._at_boundary = False
        self._steps_before = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Save if it is time or a signal came, and an optimiser stepped."""
        self._samples = samples_seen(trainer)
        self._at_boundary = trainer.global_step != self._steps_before
        overdue = trainer.is_global_zero and time.monotonic() >= self._due_time
        # Every rank asks at every batch: a collective that only some of them reach would hang.
        self._signal, agreed = largest(trainer, self._signal, int(overdue))
        due = self._signal or agreed or self._samples >= self._due_samples
        if due and self._at_boundary:
            self._save_after_batch(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save what fell due on the last batch of an epoch without validation."""
        due, self._due_at_epoch_end = self._due_at_epoch_end, False
        # A run that ends now is saved by `on_train_end`, to which one resumed from here would never come.
        if due and not training_ends(trainer):
            self._save_last(trainer)
            self._stop_if_signalled(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the mark of a pending validation out of the counters again."""
        if trainer.state.fn == TrainerFn.FITTING:
            trainer.fit_loop.epoch_loop.val_loop.batch_progress.total.reset_on_restart()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the best."""
        self._samples = samples_seen(trainer)
        super().on_validation_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the end of the run, with the outcome of its last validation."""
        self._save_last(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Mark a validation that is still to be done, so that a resumed run begins with it."""
        if self._validation_pending:
            mark_validation_pending(checkpoint["loops"]["fit_loop"], trainer.validating)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let a run that ended inside an epoch go on there."""
        # An imported training knows no place in the data: it begins an epoch.
        if trainer.state.fn == TrainerFn.FITTING and "loops" in checkpoint:
            reopen_epoch(checkpoint["loops"]["fit_loop"], by_steps=trainer.max_steps != -1)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save if no step was under way, in a run of one rank: of several, others may be gone."""
        unsaved = self._at_boundary and self._samples > self._saved
        if unsaved and trainer.world_size == 1 and trainer.state.fn == TrainerFn.FITTING:
            self._save_last(trainer, validation_pending=trainer.validating)
        self._give_signals_back()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the signals back."""
        self._give_signals_back()

    def _give_signals_back(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _save_after_batch(self, trainer: pl.Trainer) -> None:
        validation_pending = validation_follows(trainer)
        if not validation_pending and trainer.fit_loop.epoch_loop._num_ready_batches_reached():
            # Resumed from the last batch of an epoch, Lightning would leave out the hooks of the epoch's end.
            self._due_at_epoch_end = True
            return
        log_batch(trainer)
        self._save_last(trainer, validation_pending)
        self._stop_if_signalled(trainer)

    def _stop_if_signalled(self, trainer: pl.Trainer) -> None:
        if self._signal:
            if trainer.is_global_zero:
                print(
                    f"{signal.Signals(self._signal).name}: stopped after {self._samples} samples, which are "
                    f"saved in {Path(str(self.dirpath)) / 'last.ckpt'}; go on with --resume",
                    file=sys.stderr,
                )
                put_back(self._signal)
            # SLURM may kill all ranks as soon as one is gone.
            trainer.strategy.barrier("stopped")
            raise Stopped(128 + self._signal)

    def _save_last(self, trainer: pl.Trainer, validation_pending: bool = False) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        # Before the attempt: a save that fails must not be tried again on the way out.
        self._saved = self._samples
        self._validation_pending = validation_pending
        flush_curves(trainer)
        path = Path(str(self.dirpath)) / "last.ckpt"
        start = time.monotonic()
        try:
            trainer.save_checkpoint(path, storage_options={"previous": path.with_name("last-1.ckpt")})
        finally:
            self._validation_pending = False
        self.seconds_saving += time.monotonic() - start
        self._schedule_next()

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        """Called by the parent for a best one."""
        start = time.monotonic()
        super()._save_checkpoint(trainer, filepath)
        self.seconds_saving += time.monotonic() - start

    def _schedule_next(self) -> None:
        self._due_time = time.monotonic() + self.every_seconds
        if self.every_samples is not None:
            self._due_samples = (self._samples // self.every_samples + 1) * self.every_samples

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal = number


def folder(root: str | Path) -> Path:
    """Where a run keeps its checkpoints."""
    return Path(root) / "checkpoints"


def resume_path(root: str | Path) -> Path | None:
    """The checkpoint from which the run in this directory goes on: the newest good one, if any."""
    return newest_good(folder(root))


def _in_folder(state: State, here: str) -> State:
    """The state of a run directory that was moved, or is named by another path, with its files as they are now.

    Lightning would forget the best figure, and replace the best file by the next one whatever its figure.
    """
    names = {path: Path(here) / Path(path).name for path in state["best_k_models"]}
    if not names or not all(path.is_file() for path in names.values()):
        return state
    changed = {
        key: str(names[state[key]])
        for key in ("best_model_path", "kth_best_model_path")
        if state[key] in names
    }
    best = {str(names[path]): score for path, score in state["best_k_models"].items()}
    return state | changed | {"dirpath": here, "best_k_models": best}
