"""Runs in mixed precision on the CPU, for the tests.

Lightning takes bf16-mixed where a CPU is asked for 16-mixed. Its plugin does run there when it is built by hand with a
scaler of the CPU, and is then the code that runs on a GPU.
"""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from distributed.experiments import Run, build, counts, smallest, words
from lightning.pytorch.plugins.precision import MixedPrecision
from torch.amp import GradScaler

from repsynth.callbacks.checkpoint import Checkpoint
from repsynth.callbacks.evaluation import Evaluation


def scaler(**options: Any) -> GradScaler:  # noqa: ANN401
    """A scaler whose scale no gradient of the small networks overflows at, unless options change it."""
    return GradScaler("cpu", **({"init_scale": 2.0**12} | options))


def trainer_options(precision: str, with_scaler: GradScaler | None = None) -> dict[str, Any]:
    """Settings of a Trainer for a precision."""
    if precision != "16-mixed":
        return {"precision": precision}
    return {"precision": None, "plugins": [MixedPrecision("16-mixed", "cpu", with_scaler or scaler())]}


def small_run(
    path: Path,
    root: Path,
    extra: tuple[pl.Callback, ...] = (),
    steps: int = 5,
    seed: int = 2,
    shipped: bool = False,
    **trainer: Any,  # noqa: ANN401
) -> Run:
    """A run of an experiment of two samples a step, which saves after each of them.

    Args:
        path: of the experiment.
        root: where it runs.
        extra: callbacks that come before the experiment's own.
        steps: of training, in one epoch.
        seed: of networks, data and steps.
        shipped: with its own networks, in place of the smallest.
        trainer: settings of the Trainer.
    """
    networks = [] if shipped else smallest(path)
    given = [*networks, *counts(path, 2 * steps), "--data.batch_size=2", f"--seed_everything={seed}"]
    options = {"max_epochs": 1, "limit_val_batches": 0, "log_every_n_steps": 1, "logger": False}
    own = (*extra, Checkpoint(every_samples=2))
    return build(root, words(path, *given), own, (Checkpoint, Evaluation), **(options | trainer))
