"""The least-squares form of adversarial losses (Mao et al. 2017): a critic regresses 1 for real, 0 for generated.

Scores are as in `losses.adversarial`, one map per scale of a critic, but scales are summed here, as in MUNIT and what
follows it; the means of `losses.adversarial` are these sums divided by the number of scales.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def least_squares_discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return `sum over scales of mean((D(real) - 1)^2) / 2 + mean(D(fake)^2) / 2`, a float32 scalar.

    Args:
        real: scores of real images, one tensor of any shape per scale.
        fake: scores of generated images, as many.
    """
    return _halved_squares(real, 1.0) + _halved_squares(fake, 0.0)


def least_squares_generator_loss(fake: Sequence[Tensor]) -> Tensor:
    """Return `sum over scales of mean((D(fake) - 1)^2) / 2`, a float32 scalar; argument as above."""
    return _halved_squares(fake, 1.0)


def _halved_squares(maps: Sequence[Tensor], target: float) -> Tensor:
    return torch.stack([(scores.float() - target).square().mean() for scores in maps]).sum() / 2
