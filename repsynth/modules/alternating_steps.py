"""Several optimisers stepped one after the other in every iteration, each seeing what the one before has learned."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor

from repsynth.errors import UserError, require_at_least
from repsynth.modules.counted_steps import CountedSteps, check_clip


@dataclass(frozen=True)
class AlternatingOptions:
    """How gradients become steps; Lightning refuses its own options for this with more than one optimiser.

    Args:
        gradient_clip: largest norm of the gradients of one optimiser, all its parameters together; null clips nothing.
        split: parts that each rank's batch is computed in, one after the other, their gradients added up before the
            step: the same step in less memory. (Except for what a network makes of the batch as a whole, such as a
            minibatch standard deviation, which is then of the part.)
    """

    gradient_clip: float | None = None
    split: int = 1

    def check(self) -> None:
        """Raise UserError for an option out of its range."""
        require_at_least("model", 1, **{"steps.split": self.split})
        check_clip(self.gradient_clip)


class AlternatingSteps(CountedSteps):
    """A module whose `training_step` calls `step` for one optimiser after the other, and then counts the iteration.

    Every step is made at once, so that the next loss is computed with the networks as they are after it. An optimiser
    may step more than once in an iteration.
    """

    steps: AlternatingOptions = AlternatingOptions()
    instead_of_accumulation: ClassVar[str] = "split"

    def step(self, optimizer: LightningOptimizer, loss: Callable[[slice], Tensor], samples: int) -> None:
        """Step one optimiser on the batch of this rank; the parameters of all others stand still.

        Args:
            optimizer: one of `own_optimizers`.
            loss: the mean over a part of the batch, given as a slice of its samples.
            samples: of the batch.

        Raises:
            UserError: the batch cannot be split into so many parts of one size.
        """
        split = self.steps.split
        if samples % split:
            raise UserError(
                f"model.steps.split is {split}, but a rank gets {samples} samples at a time, which it does not divide; "
                "change it or data.batch_size."
            )
        size = samples // split
        for number in range(split):
            with optimizer.toggle_model(sync_grad=number == split - 1):
                part = slice(number * size, (number + 1) * size)
                self.manual_backward(loss(part) / split)
        optimizer.step()
        optimizer.zero_grad()
