"""What all modules do alike whose optimisers are stepped by hand: clipping, one counter, options refused in words."""

from typing import Any, ClassVar, Protocol

import lightning.pytorch as pl
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Optimizer

from repsynth.errors import UserError


class Clipping(Protocol):
    """Options of steps that may clip."""

    @property
    def gradient_clip(self) -> float | None:
        """Largest norm of the gradients of one optimiser, all its parameters together; None clips nothing."""


class CountedSteps(pl.LightningModule):
    """A module with several optimisers, which count and clip alike however their steps alternate.

    A subclass sets `automatic_optimization = False` and `steps`, and steps. Under DDP it needs unused parameters to be
    looked for, which `cli.checks` sees to. `trainer.max_steps` counts the steps of all optimisers.

    Attributes:
        iterations: rounds in which every optimiser has stepped; kept in the checkpoint. (`trainer.global_step` counts
            the steps of all, and samples do not tell how batches were joined.)
    """

    steps: Clipping
    iterations: int = 0
    last_r1: Tensor | float | None = None
    """The last gradient penalty of a discriminator: it is logged until the next one, also by a run that goes on."""
    instead_of_accumulation: ClassVar[str]
    """The option that stands for `trainer.accumulate_grad_batches` here."""

    def own_optimizers(self) -> list[LightningOptimizer]:
        """The optimisers, in the order of `configure_optimizers`."""
        return listed(self.optimizers())

    def configure_callbacks(self) -> list[pl.Callback]:
        """Give none, but say before Lightning does in its own words which options are others here.

        Raises:
            UserError: the trainer is to clip or to accumulate gradients.
        """
        trainer: Any = self.trainer
        clip, accumulate = trainer.gradient_clip_val, trainer.accumulate_grad_batches
        for wanted, option, ours in (
            (clip, f"gradient_clip_val is {clip}", "gradient_clip"),
            (accumulate != 1, f"accumulate_grad_batches is {accumulate}", self.instead_of_accumulation),
        ):
            if wanted:
                raise UserError(
                    f"trainer.{option}, which {type(self).__name__} with its several optimisers cannot have; remove "
                    f"it, and set model.steps.{ours}."
                )
        return []

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip: here gradients are whole, summed over the ranks, and free of fp16's loss scale."""
        if self.steps.gradient_clip is not None:
            self.clip_gradients(optimizer, self.steps.gradient_clip, "norm")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the counter and the last penalty."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["iterations"] = self.iterations
        checkpoint["last_r1"] = None if self.last_r1 is None else float(self.last_r1)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the counter and the last penalty; weights alone have none."""
        super().on_load_checkpoint(checkpoint)
        self.iterations = int(checkpoint.get("iterations", 0))
        self.last_r1 = checkpoint.get("last_r1")


def check_clip(gradient_clip: float | None) -> None:
    """Raise UserError for a norm that is not positive."""
    if gradient_clip is not None and gradient_clip <= 0:
        raise UserError(
            f"model.steps.gradient_clip is {gradient_clip}; expected a norm above 0, or null for no clipping."
        )


def listed(found: Any) -> list[Any]:  # noqa: ANN401  Lightning gives one, several or none
    """What Lightning gives as a list."""
    if found is None:
        return []
    return list(found) if isinstance(found, list | tuple) else [found]
