"""Progress in samples, and random numbers that depend on nothing else.

Every random number of a training step comes from (seed, rank, samples seen), as in the official code of EDM2.
No generator state is saved: a run resumed at any step draws what the run that never stopped would have drawn.
"""

import random
import warnings
import zlib
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from repsynth.errors import UserError

_TRAINING, _EPOCH, _EVALUATION = range(3)
"""First word of each seed, so that the streams of different uses never meet."""


class Determinism(pl.Callback):
    """The one counter of samples seen, the seeds of every step, and the x-axis of every logger.

    The data module gives the seed (`seed`) and the global batch size (`batch_size`). The callback moves
    itself to the front of the trainer's list, so that all others read a counter that includes the batch just
    ended.

    Attributes:
        samples_seen: training samples that finished a step, over all ranks; kept in the checkpoint.
    """

    def __init__(self) -> None:
        self.samples_seen = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Move to the front of the callbacks.

        Raises:
            UserError: for training without a data module that has `seed` and `batch_size`.
        """
        # Safe while the trainer walks the same list: everything behind this callback keeps its place.
        callbacks = trainer_callbacks(trainer)
        callbacks.remove(self)
        callbacks.insert(0, self)
        if stage == "fit" and not hasattr(_datamodule(trainer), "batch_size"):
            raise UserError(
                "the Determinism callback counts samples by the data module's batch_size and found none: "
                "train with a data module derived from repsynth.datamodules.base.DataModule"
            )
        # `step` is the same number on every rank: the advice to reduce it would cost a collective.
        warnings.filterwarnings("ignore", message=r"It is recommended to use `self.log\('step'")

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the counter."""
        return {"samples_seen": self.samples_seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the counter of a checkpoint."""
        self.samples_seen = int(state_dict["samples_seen"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed what a method draws at the start of an epoch."""
        _seed_all(_EPOCH, _seed(trainer), trainer.global_rank, self.samples_seen)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Seed the step."""
        _seed_all(_TRAINING, _seed(trainer), trainer.global_rank, self.samples_seen)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Count the batch."""
        self.samples_seen += _datamodule(trainer).batch_size
        if trainer.loggers:
            self._log_step(pl_module, on_step=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the epoch's averages their place on the axis."""
        self._log_step(pl_module, on_step=False)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the validation figures their place on the axis."""
        self._log_step(pl_module, on_step=False)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the test figures their place on the axis."""
        self._log_step(pl_module, on_step=False)

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Seed an evaluation step from the ids in its batch: the same noise every time, on any rank."""
        _seed_all(_EVALUATION, _seed(trainer), dataloader_idx, _batch_key(batch, batch_idx))

    on_test_batch_start = on_validation_batch_start
    on_predict_batch_start = on_validation_batch_start

    def _log_step(self, pl_module: pl.LightningModule, on_step: bool) -> None:
        # Lightning takes a logged `step` as the axis. float64 counts exactly to 2 ** 53, float32 to 2 ** 24.
        value = torch.tensor(self.samples_seen, dtype=torch.float64)
        pl_module.log("step", value, on_step=on_step, on_epoch=not on_step, reduce_fx="max", batch_size=1)


def samples_seen(trainer: pl.Trainer) -> int:
    """Training samples seen so far over all ranks; 0 for a trainer without the `Determinism` callback."""
    return next((c.samples_seen for c in trainer_callbacks(trainer) if isinstance(c, Determinism)), 0)


def trainer_callbacks(trainer: pl.Trainer) -> list[pl.Callback]:
    """The trainer's callbacks, in the order in which their hooks run."""
    return trainer.callbacks  # type: ignore[attr-defined]


def _datamodule(trainer: pl.Trainer) -> Any:  # noqa: ANN401
    return trainer.datamodule  # type: ignore[attr-defined]


def _seed(trainer: pl.Trainer) -> int:
    return int(getattr(_datamodule(trainer), "seed", 0))


def _batch_key(batch: object, batch_idx: int) -> int:
    """A number for an evaluation batch, independent of the rank it runs on where the batch has ids."""
    ids = batch.get("ids") if isinstance(batch, Mapping) else None
    return batch_idx if ids is None else zlib.crc32("\n".join(map(str, ids)).encode())


def _seed_all(use: int, seed: int, rank: int, position: int) -> None:
    """Seed torch on all devices, numpy and Python from four non-negative integers."""
    words = np.random.SeedSequence((use, seed, rank, position)).generate_state(6, np.uint32)
    torch.manual_seed(int(words[0]) << 32 | int(words[1]))
    np.random.seed(words[2:4])
    random.seed(int(words[4]) << 32 | int(words[5]))
