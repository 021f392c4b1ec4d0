"""Stops a run at the first NaN or Inf, before it reaches a weight."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor

from repsynth.callbacks.checkpoint import folder
from repsynth.callbacks.determinism import samples_seen
from repsynth.callbacks.ranks import largest
from repsynth.errors import UserError


class NonFiniteError(UserError):
    """The loss or a gradient became NaN or Inf."""


LEAST_SCALE = 1e-4
"""Of fp16: thirty skipped steps below the usual first one. What overflows here is no matter of precision."""


class NonFiniteGuard(pl.Callback):
    """Checks each loss before its backward pass and the gradients before each optimiser step.

    At the first bad value all ranks save `checkpoints/last_good.ckpt` with the weights before the bad
    update, from which the run can be resumed (with the optimiser's learning rate, whatever the configuration
    says then), and stop with one sentence. Under the fp16 gradient scaler
    gradients are left alone: it skips such steps by itself and halves its scale. Only when that has fallen
    below `LEAST_SCALE` a further such step stops the run, which would skip steps for ever.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Remember which samples the step is about."""
        ids = batch.get("ids") if isinstance(batch, Mapping) else None
        self._ids = [] if ids is None else [str(i) for i in ids]

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Check the loss.

        Raises:
            NonFiniteError: on every rank, if it is NaN or Inf on any of them.
        """
        bad = not bool(torch.isfinite(loss).all())
        if largest(trainer, int(bad))[0]:
            names = [f"{name} = {value:g}" for name, value in _bad_terms(trainer.callback_metrics).items()]
            self._stop(trainer, bad, "the loss is not finite", names)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Check the gradients, which DDP has made equal on all ranks.

        Raises:
            NonFiniteError: if any is NaN or Inf, with the name of its parameter; in fp16 see the class.
        """
        plugin = trainer.precision_plugin
        scaler = plugin.scaler if isinstance(plugin, MixedPrecision) else None
        if scaler is not None and scaler.get_scale() >= LEAST_SCALE:
            return
        gradients = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        # A sum is finite only if all its terms are, and the cheapest thing to ask of a tensor: one number, one wait
        # for the device. It may overflow, so only the exact look below blames a parameter.
        if not gradients or torch.stack([gradient.sum() for gradient in gradients]).isfinite().all():
            return
        named = [(name, p.grad) for name, p in pl_module.named_parameters() if p.grad is not None]
        names = [f"gradient of {name}" for name, gradient in named if not gradient.isfinite().all()]
        if names:
            scale = (
                "" if scaler is None else f", though fp16's loss scale is down to {scaler.get_scale():.1e},"
            )
            self._stop(trainer, True, f"a gradient is not finite{scale}", names)

    def _stop(self, trainer: pl.Trainer, bad: bool, what: str, names: list[str]) -> None:
        path = folder(trainer.default_root_dir) / "last_good.ckpt"
        trainer.save_checkpoint(path)
        reports = _gather(trainer, (names, self._ids) if bad else ([], []))
        where = ", ".join(sorted({name for names, _ in reports for name in names})[:5])
        ids = ", ".join(i for _, ids in reports for i in ids)
        raise NonFiniteError(
            f"{what} after {samples_seen(trainer)} samples ({where or 'no logged term is to blame'}; "
            f"batch of samples {ids or 'without ids'}): the state before this step is in {path}; look at "
            "these samples, or start another run from its weights (--init_from) with a lower learning rate"
        )


def _bad_terms(metrics: Mapping[str, Tensor]) -> dict[str, float]:
    """The logged training figures that are NaN or Inf, the single terms before their total."""
    bad = {
        name: float(v) for name, v in metrics.items() if name.startswith("train/") and not v.isfinite().all()
    }
    terms = {name: value for name, value in bad.items() if name != "train/loss"}
    return terms or bad


def _gather(trainer: pl.Trainer, mine: tuple[list[str], list[str]]) -> list[tuple[list[str], list[str]]]:
    if trainer.world_size == 1:
        return [mine]
    gathered: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(gathered, mine)
    return gathered
