"""Where on the generator's surface the pixels of pictures are."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from repsynth.modules.cips.coordinates import WHOLE, Surface, on_cylinder, pixel_coordinates
from repsynth.modules.cips.sampling.options import NoiseOption, Window


@dataclass(frozen=True)
class Canvas:
    """What the images of training and evaluation are to the generator: all of [-1, 1], or a window of the cylinder.

    Args:
        size: (height, width) in pixels.
        turn: part of the whole turn that one shows, on a cylinder.
        noise: of evaluation's images.
    """

    size: tuple[int, int]
    turn: float = 0.25
    noise: NoiseOption = "random"

    def coordinates(
        self,
        surface: Surface,
        size: tuple[int, int],
        window: Window = WHOLE,
        starts: Tensor | None = None,
    ) -> Tensor:
        """Return the coordinates of the pixels of a window of an image.

        Args:
            surface: the generator's.
            size: (height, width) to place on the window, its outermost pixels on the window's edges.
            window: of the image; it may reach beyond.
            starts: [B] angles of the images' first columns in radians, for a cylinder.

        Returns:
            [1, height, width, 2] on the plane, [B, height, width, 3] on the cylinder, float32.
        """
        flat = pixel_coordinates(*size, window)[None]
        if surface == "plane":
            return flat
        assert starts is not None
        columns = (_evenly(window[0], window[2], size[1]) + 1) / 2 * (self.size[1] - 1)
        angles = starts.double().cpu()[:, None, None] + 2 * math.pi * self.turn * columns / self.size[1]
        along, down = torch.broadcast_tensors(angles, flat[..., 1].double())
        return on_cylinder(torch.stack((along, down), dim=-1)).float()

    def size_for(self, window: Window) -> tuple[int, int]:
        """Return the size of the largest picture of a window with square pixels that fits into an image's size."""
        left, top, right, bottom = window
        height, width = (side - 1 for side in self.size)  # steps between pixels
        down, across = (bottom - top) / 2 * height, (right - left) / 2 * width
        scale = min(height / down, width / across)
        return round(scale * down) + 1, round(scale * across) + 1

    def panorama_size(self) -> tuple[int, int]:
        """Return the size of a whole turn whose pixels are as an image's."""
        height, width = self.size
        return height, max(1, round(width / self.turn))


def _evenly(first: float, last: float, count: int) -> Tensor:
    """Numbers from first to last [count], float64: noise belongs to places, so these must not differ by rounding."""
    if count == 1:
        return torch.tensor([(first + last) / 2], dtype=torch.float64)
    return torch.linspace(first, last, count, dtype=torch.float64)
