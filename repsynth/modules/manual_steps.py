"""Several optimisers stepped by hand: what Lightning does by itself for one optimiser, done right for all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor

from repsynth.errors import require_at_least
from repsynth.modules.counted_steps import CountedSteps, check_clip, listed


@dataclass(frozen=True)
class StepOptions:
    """How gradients become steps; Lightning refuses its own options for this with more than one optimiser.

    Args:
        gradient_clip: largest norm of the gradients of one optimiser, all its parameters together; null clips nothing.
        accumulate: batches whose mean gradient makes one step of every optimiser. An epoch's last batches make a step
            too when they are fewer.
    """

    gradient_clip: float | None = None
    accumulate: int = 1

    def check(self) -> None:
        """Raise UserError for an option out of its range."""
        require_at_least("model", 1, **{"steps.accumulate": self.accumulate})
        check_clip(self.gradient_clip)


class ManualSteps(CountedSteps):
    """A module whose optimisers learn in turn from the same batch, and then step together.

    `training_step` calls `learn` once for every optimiser and then `step_all`. All gradients are those of the networks
    as they were before the step, so that k accumulated batches make the step that one k times larger would make.
    """

    steps: StepOptions = StepOptions()
    instead_of_accumulation: ClassVar[str] = "accumulate"

    def learn(self, optimizer: LightningOptimizer, loss: Callable[[], Tensor], batch_idx: int) -> None:
        """Add the gradient of one optimiser's loss for this batch; the parameters of all others stand still.

        Args:
            optimizer: one of `own_optimizers`.
            loss: computes a mean over the batch. What it needs of this optimiser's own networks may be computed before.
            batch_idx: as `training_step` gets it.
        """
        with optimizer.toggle_model(sync_grad=self._ends_group(batch_idx)):
            self.manual_backward(loss() / self._group_size(batch_idx))

    def step_all(self, batch_idx: int) -> None:
        """Step all optimisers and their learning rates if this batch is the last of those that make a step."""
        if not self._ends_group(batch_idx):
            return
        # A bad gradient comes first, for `callbacks.nonfinite` to stop the run before any weight has moved.
        for optimizer in sorted(self.own_optimizers(), key=_has_finite_gradients):
            scale = self._loss_scale()
            optimizer.step()
            optimizer.zero_grad()
            self._follow_loss_scale(scale)
        for scheduler in listed(self.lr_schedulers()):
            for _ in range(self._group_size(batch_idx)):  # its steps are batches
                scheduler.step()
        self.iterations += 1

    def _group_size(self, batch_idx: int) -> int:
        """How many batches make the step that this one belongs to."""
        size = self.steps.accumulate
        return int(min(size, self.trainer.num_training_batches - batch_idx // size * size))

    def _ends_group(self, batch_idx: int) -> bool:
        done = batch_idx + 1
        return done % self.steps.accumulate == 0 or done == self.trainer.num_training_batches

    def _loss_scale(self) -> float:
        plugin = self.trainer.precision_plugin
        scaler = plugin.scaler if isinstance(plugin, MixedPrecision) else None
        return 1.0 if scaler is None else float(scaler.get_scale())

    def _follow_loss_scale(self, before: float) -> None:
        """Bring the gradients that wait for their optimiser to fp16's loss scale, which each step may change."""
        factor = self._loss_scale() / before
        if factor != 1:
            for parameter in self.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)


def _has_finite_gradients(optimizer: LightningOptimizer) -> bool:
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return not gradients or bool(torch.stack([gradient.sum() for gradient in gradients]).isfinite().all())
