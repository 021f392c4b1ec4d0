"""What an experiment may choose about the learning of both stages: weights of losses and optimisers."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from repsynth.errors import UserError, require_at_least

StyleChoice = Literal["swapped", "random"]
"""Styles of images without a truth: those of other images of the batch, or draws from N(0, I)."""


@dataclass(frozen=True)
class Weights:
    """Weights of loss terms; a term of weight 0 is neither computed, where that saves anything, nor logged."""

    def check(self) -> None:
        """Raise UserError for a negative weight, or where none is left."""
        for name, weight in asdict(self).items():
            if weight < 0:
                raise UserError(f"model.loss_weights.{name} is {weight}; expected at least 0")
        if not self.any(*(field.name for field in fields(self))):
            raise UserError("model.loss_weights are all 0, so nothing is learned; give a term a weight")

    def any(self, *names: str) -> bool:
        """Whether one of some terms has a weight."""
        return any(getattr(self, name) for name in names)


@dataclass(frozen=True)
class LossWeights(Weights):
    """Weights of the translation network's loss terms (paper section 4.3).

    Terms with `random` are those of images in drawn styles; the others are of images in styles of other images. What a
    term measures stands in `repsynth describe hidt`.
    """

    adversarial: float = 5.0
    random_adversarial: float = 5.0
    reconstruction: float = 2.0
    random_reconstruction: float = 2.0
    cross_cycle: float = 2.0
    segmentation: float = 3.0
    random_segmentation: float = 3.0
    content: float = 1.0
    random_content: float = 1.0
    style: float = 0.1
    random_style: float = 4.0
    style_distribution: float = 1.0


@dataclass(frozen=True)
class EnhancerLossWeights(Weights):
    """Weights of the enhancer's loss terms; the paper's are not known, these are ours.

    The first four are of photos in their own style, which must become the photos again; the last two of photos in other
    styles, which have no truth.
    """

    l1: float = 10.0
    perceptual: float = 10.0
    feature_matching: float = 10.0
    adversarial: float = 1.0
    other_adversarial: float = 1.0
    consistency: float = 10.0


@dataclass(frozen=True)
class LearningOptions:
    """The optimisers: one Adam for the network and one for its discriminators.

    Args:
        learning_rate: of the network.
        discriminator_learning_rate: of the discriminators.
        beta1: of both.
        beta2: of both.
        halve_every: iterations after which both learning rates are halved, again and again; null keeps them.
    """

    learning_rate: float = 1e-4
    discriminator_learning_rate: float = 1e-4
    beta1: float = 0.5
    beta2: float = 0.999
    halve_every: int | None = 200_000

    def check(self) -> None:
        """Raise UserError for an option out of its range."""
        for name in ("learning_rate", "discriminator_learning_rate"):
            if getattr(self, name) <= 0:
                raise UserError(f"model.learning.{name} is {getattr(self, name)}; expected a number above 0")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(
                    f"model.learning.{name} is {getattr(self, name)}; expected at least 0 and less than 1"
                )
        if self.halve_every is not None:
            require_at_least("model", 1, **{"learning.halve_every": self.halve_every})

    def factor(self, iterations: int) -> float:
        """What both learning rates are multiplied by after so many iterations."""
        return 1.0 if self.halve_every is None else 0.5 ** (iterations // self.halve_every)


@dataclass(frozen=True)
class JudgeOptions:
    """The enhancer's discriminator, `nn.patch_discriminator.PatchDiscriminator`.

    Args:
        width: channels of its first convolution; doubles with every level, up to eight times.
        levels: convolutions of stride 2 of each scale.
        scales: how many sizes are judged, each half of the one before.
        spectral: spectral normalisation of every convolution.
    """

    width: int = 64
    levels: int = 3
    scales: int = 2
    spectral: bool = False


def weighted(terms: dict[str, Tensor], weights: Weights) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted sum of loss terms, and what is to be logged of those that have a weight.

    Args:
        terms: scalars by the names of the weights.
        weights: of at least one of them.
    """
    given = {name: weight for name, weight in asdict(weights).items() if weight and name in terms}
    total = torch.stack([weight * terms[name] for name, weight in given.items()]).sum()
    values = {**{name: terms[name] for name in given}, "loss": total}
    return total, {f"train/{name}": value.detach() for name, value in values.items()}


def adams(network: nn.Module, discriminator: nn.Module, learning: LearningOptions) -> list[Optimizer]:
    """Return the optimisers of a network and of what judges it."""
    betas = learning.beta1, learning.beta2
    return [
        torch.optim.Adam(network.parameters(), lr=learning.learning_rate, betas=betas),
        torch.optim.Adam(discriminator.parameters(), lr=learning.discriminator_learning_rate, betas=betas),
    ]


def set_rates(optimizers: Iterable[Optimizer], learning: LearningOptions, iterations: int) -> None:
    """Give the optimisers of `adams` the learning rates after so many iterations."""
    rates = learning.learning_rate, learning.discriminator_learning_rate
    for optimizer, rate in zip(optimizers, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * learning.factor(iterations)
