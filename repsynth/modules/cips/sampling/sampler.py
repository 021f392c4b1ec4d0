"""A generator with its sampling options: styles, noise and places of numbers, and pictures as bytes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from repsynth.modules.cips.coordinates import WHOLE
from repsynth.modules.cips.generator import SAMPLING_IMAGES, CIPSGenerator
from repsynth.modules.cips.sampling.canvas import Canvas
from repsynth.modules.cips.sampling.draws import SettledNoise, angles, noises, styles_of
from repsynth.modules.cips.sampling.options import NoiseOption, SamplingOptions, Window


@dataclass(frozen=True)
class Sampler:
    """What all tasks share.

    Args:
        generator: in evaluation mode; with a mean style where styles are truncated.
        options: of sampling.
        canvas: what an image of the training set is to the generator.
    """

    generator: CIPSGenerator
    options: SamplingOptions
    canvas: Canvas

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of whole images."""
        return self.options.size or self.canvas.size

    def styles(self, seeds: Tensor, numbers: Tensor) -> Tensor:
        """Return the truncated styles [B, style_size] of [B] seeds and numbers."""
        return self.generator.truncate(styles_of(self.generator, seeds, numbers), self.options.truncation)

    def noise(self, seeds: Tensor, numbers: Tensor, default: NoiseOption | None = None) -> SettledNoise:
        """Return the noise of [B] seeds and numbers; where the options leave it open the default or evaluation's."""
        for option in (self.options.noise, default):
            if option is not None:
                return noises(option, seeds, numbers)
        return noises(self.canvas.noise, seeds, numbers)

    def places(
        self, seeds: Tensor, numbers: Tensor, size: tuple[int, int] | None = None, window: Window = WHOLE
    ) -> Tensor:
        """Return where the pixels of the images of [B] seeds and numbers are, [1 or B, height, width, 2 or 3].

        Around a cylinder every number has its own angle.
        """
        surface = self.generator.surface
        starts = angles(seeds, numbers) if surface == "cylinder" else None
        return self.canvas.coordinates(surface, size or self.size, window, starts).to(numbers.device)

    def is_full_grid(self, coordinates: Tensor) -> bool:
        """Whether the coordinates of whole images are the generator's training grid."""
        side = self.generator.grid_size
        return self.generator.surface == "plane" and tuple(coordinates.shape[1:3]) == (side, side)

    @torch.no_grad()
    def colours(self, w: Tensor, coordinates: Tensor, noise: SettledNoise, full_grid: bool = False) -> Tensor:
        """Return the colours of styles, float32, about [-1, 1]; arguments are those of `CIPSGenerator.synthesize`."""
        return self.generator.synthesize(w, coordinates, full_grid, noise, self.options.points_at_once)

    def pictures(
        self, w: Tensor, coordinates: Tensor, noise: SettledNoise, full_grid: bool = False
    ) -> Tensor:
        """Return pictures [B, 3, H, W] as bytes on the CPU; of many, few exist as floats at a time."""
        made = torch.empty(len(w), 3, *coordinates.shape[1:3], dtype=torch.uint8)
        for start in range(0, len(w), SAMPLING_IMAGES):
            part = slice(start, start + SAMPLING_IMAGES)
            places = coordinates if len(coordinates) == 1 else coordinates[part]
            own = noise[part] if isinstance(noise, Tensor) else noise
            made[part] = to_bytes(self.colours(w[part], places, own, full_grid))
        return made


def to_unit(colours: Tensor) -> Tensor:
    """From about [-1, 1] to [0, 1], clamped."""
    return ((colours + 1) / 2).clamp(0, 1)


def to_bytes(colours: Tensor) -> Tensor:
    """From about [-1, 1] to uint8 on the CPU, clamped, rounded to the nearest level."""
    return to_unit(colours).mul(255).round().byte().cpu()


def keys_of(numbers: Tensor, count: int) -> Tensor:
    """Return the numbers [B, count] of the samples that go into each of B pictures or videos."""
    return numbers[:, None] * count + torch.arange(count, device=numbers.device)
