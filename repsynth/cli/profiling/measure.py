"""Trains an experiment for some steps, evaluates some batches and reads its loader, with a clock at hand."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, ModelSummary, ProgressBar
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.model_helpers import is_overridden

from repsynth.callbacks.evaluation import Evaluation
from repsynth.callbacks.status import Status
from repsynth.cli.profiling.actions import ActionClock, unnamed_actions
from repsynth.cli.profiling.clock import PartClock
from repsynth.cli.profiling.results import Evaluated, Loader, Profile
from repsynth.cli.profiling.windows import EvaluationWindows, TrainingWindows
from repsynth.cli.quiet import quiet_lightning
from repsynth.errors import UserError

_LEFT_OUT = (EarlyStopping, ModelCheckpoint, ModelSummary, ProgressBar, Status)
"""Callbacks that write, print or end a training."""
_EVALUATED = 5
"""Batches of an evaluation."""
_SILENT: dict[str, Any] = {
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}

Building = Callable[[dict[str, Any]], Trainer]
"""Makes a Trainer of settings."""


@dataclass(frozen=True)
class Experiment:
    """What is profiled.

    Attributes:
        model: the module; its weights are trained a little.
        data: the data module.
        settings: of the experiment's Trainer, with the callbacks of every run.
        trainer: makes a Trainer of settings.
        check: looks at a module and its Trainer before anything runs.
    """

    model: LightningModule
    data: LightningDataModule
    settings: dict[str, Any]
    trainer: Building
    check: Callable[[LightningModule, Trainer], None]


def profile(experiment: Experiment, steps: int, warm_up: int) -> Profile:
    """Measure training, evaluation and the loader; what callbacks write goes to a folder that is deleted.

    Args:
        experiment: what is profiled.
        steps: steps of training that are measured, at least 1.
        warm_up: steps before them that are not.

    Raises:
        UserError: the trainer's settings or the data are refused.
    """
    with TemporaryDirectory(prefix="repsynth-profile-") as folder, quiet_lightning():
        trainer, windows = _trained(experiment, steps, warm_up, folder)
        evaluated = _evaluated(experiment, folder)
        loader = _alone(experiment.data, warm_up, steps)
    return Profile(
        rank=trainer.global_rank,
        devices=f"{trainer.world_size} x {type(trainer.accelerator).__name__.removesuffix('Accelerator')}",
        precision=str(trainer.precision),
        ranks=trainer.world_size,
        batch=experiment.data.batch_size,  # type: ignore[attr-defined]  # Determinism has asked for it
        warm_up=warm_up,
        free=windows.free,
        steps=windows.steps,
        memory=windows.memory,
        loader=loader,
        evaluated=evaluated,
    )


def _trained(
    experiment: Experiment, steps: int, warm_up: int, folder: str
) -> tuple[Trainer, TrainingWindows]:
    clock = PartClock(_wait_for_device)
    windows = TrainingWindows(clock, warm_up, steps)
    callbacks = [
        callback
        for callback in experiment.settings["callbacks"]
        if not isinstance(callback, Evaluation)  # it would look for its weights, and has nothing to do here
    ]
    unlimited = {"max_time": None, "min_epochs": None, "min_steps": None, "limit_val_batches": 0}
    trainer = _trainer(experiment, folder, clock, [*callbacks, windows], **unlimited)
    experiment.check(experiment.model, trainer)
    with unnamed_actions(clock, trainer, experiment.model):
        trainer.fit(experiment.model, datamodule=experiment.data)
    if not windows.steps.laps:
        raise UserError(
            "no training step was measured: the run ended before; see that the training set has batches "
            "(`repsynth fit ... --dry-run`) and that limit_train_batches is not 0"
        )
    return trainer, windows


def _trainer(
    experiment: Experiment, folder: str, clock: PartClock, callbacks: list[Callback], **changes: object
) -> Trainer:
    kept = [callback for callback in callbacks if not isinstance(callback, _LEFT_OUT)]
    settings = {**experiment.settings, **_SILENT, "default_root_dir": folder, "logger": DummyLogger()}
    return experiment.trainer({**settings, "callbacks": kept, "profiler": ActionClock(clock), **changes})


def _evaluated(experiment: Experiment, folder: str) -> Evaluated | str:
    if not is_overridden("validation_step", experiment.model):
        return f"{type(experiment.model).__name__} has no validation_step"
    clock = PartClock(_wait_for_device)
    windows = EvaluationWindows(clock)
    # A rehearsal also computes the statistics of a real set on as many batches only.
    callbacks = [*experiment.settings["callbacks"], windows]
    trainer = _trainer(experiment, folder, clock, callbacks, fast_dev_run=_EVALUATED)
    try:
        with warnings.catch_warnings():
            # Of figures of so few samples, which nobody gets to see.
            warnings.simplefilter("ignore", UserWarning)
            trainer.validate(experiment.model, datamodule=experiment.data, verbose=False)
    except UserError as error:
        return str(error)
    return windows.evaluated()


def _alone(data: LightningDataModule, warm_up: int, steps: int) -> Loader:
    """Read the training loader, epoch after epoch, as if nobody trained."""
    loader = data.train_dataloader()
    batches = _endless(loader)
    for _ in islice(batches, max(1, warm_up)):  # the first one waits for the processes to start
        pass
    start = time.perf_counter()
    count = sum(1 for _ in islice(batches, steps))
    return Loader(count, time.perf_counter() - start, getattr(loader, "num_workers", 0))


def _endless(loader: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
