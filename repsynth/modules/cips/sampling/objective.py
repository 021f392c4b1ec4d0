"""What an inversion brings down: the error at the known pixels of one photograph."""

from dataclasses import dataclass

import torch
from torch import Tensor

from repsynth.losses.perceptual import PerceptualLoss
from repsynth.modules.cips.generator import CIPSGenerator
from repsynth.modules.cips.sampling.options import SamplingOptions
from repsynth.modules.cips.sampling.sampler import Sampler, to_unit


@dataclass
class Objective:
    """The error of images of styles against the known pixels of a photograph.

    Args:
        generator: frozen.
        options: of sampling.
        places: [1, H, W, 2 or 3], of all pixels.
        image: [3, H, W] in [0, 1].
        known: [N] places of the known pixels in the image row by row.
        perceptual: compared too where all pixels are known; None leaves it out.
        rng: draws the pixels of every step.
    """

    generator: CIPSGenerator
    options: SamplingOptions
    places: Tensor
    image: Tensor
    known: Tensor
    perceptual: PerceptualLoss | None
    rng: torch.Generator

    def loss(self, w: Tensor) -> Tensor:
        """Return the mean squared error of colours in [0, 1], plus the weighted perceptual distance."""
        chosen = self._chosen()
        places = self.places.flatten(1, 2)[:, chosen]
        made = (self._synthesize(w, places)[0] + 1) / 2
        error = (made - self.image.flatten(1)[:, chosen]).square().mean()
        if self.perceptual is None:
            return error
        height, width = self.image.shape[1:]  # here all pixels are known, and computed in their order
        distance: Tensor = self.perceptual(made.view(1, 3, height, width), self.image[None])
        return error + self.options.inversion.perceptual_weight * distance

    @torch.no_grad()
    def whole(self, w: Tensor) -> Tensor:
        """Return the image [3, H, W] of a style, clamped to [0, 1]."""
        return to_unit(self._synthesize(w, self.places)[0])

    def terms(self) -> dict[str, float]:
        """The weights of the terms, a stand-in's under its own name."""
        own = self.options.inversion
        weighted = {"squared_error": 1.0, "mean_w": own.mean_w_weight}
        return (
            weighted if self.perceptual is None else weighted | {self.perceptual.name: own.perceptual_weight}
        )

    def _synthesize(self, w: Tensor, places: Tensor) -> Tensor:
        return self.generator.synthesize(
            w[None], places, noise="none", points_at_once=self.options.points_at_once
        )

    def _chosen(self) -> Tensor:
        count = self.options.inversion.pixels_per_step
        if count is None or count >= len(self.known):
            return self.known
        drawn = torch.randperm(len(self.known), generator=self.rng)[:count]
        return self.known[drawn.to(self.known.device)]


def objective(sampler: Sampler, image: Tensor, known: Tensor, perceptual: PerceptualLoss | None) -> Objective:
    """Prepare the objective of one photograph [3, H, W] in [0, 1] whose known pixels are true in [1, H, W]."""
    height, width = image.shape[1:]
    surface = sampler.generator.surface
    places = sampler.canvas.coordinates(surface, (height, width), starts=torch.zeros(1)).to(image.device)
    return Objective(
        sampler.generator,
        sampler.options,
        places,
        image.to(sampler.generator.mean_w.dtype),
        known.flatten().nonzero()[:, 0],
        perceptual,
        torch.Generator().manual_seed(0),
    )
