"""Grids of relative pixels, and bilinear sampling at relative pixels."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from repsynth.geometry.precision import full_precision

Grid = Literal["corner", "centre", "integer"]
"""Where index i out of n lies: corner i / (n - 1), centre (i + 0.5) / n, integer i (absolute pixels)."""


def grid_line(count: int, grid: Grid, device: torch.device | str | None, dtype: torch.dtype) -> Tensor:
    """Return the coordinates [count] of one axis."""
    index = torch.arange(count, device=device, dtype=dtype)
    if grid == "centre":
        return (index + 0.5) / count
    return index if grid == "integer" else index / max(count - 1, 1)


def pixel_grid(
    height: int,
    width: int,
    grid: Grid,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the coordinates (u, v) of every pixel, [height, width, 2]."""
    v, u = torch.meshgrid(
        grid_line(height, grid, device, dtype), grid_line(width, grid, device, dtype), indexing="ij"
    )
    return torch.stack([u, v], dim=-1)


@full_precision
def sample_image(images: Tensor, pixels: Tensor) -> Tensor:
    """Sample images bilinearly; outside of them is zero, and so is half of what is met on their outer edge.

    Args:
        images: [N, C, h, w].
        pixels: [N, ..., 2] relative (u, v); 0 and 1 are the outer edges of the image.

    Returns:
        [N, C, ...].
    """
    flat = pixels.reshape(pixels.shape[0], -1, 1, 2)
    sampled = F.grid_sample(images, 2 * flat - 1, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled.reshape(*images.shape[:2], *pixels.shape[1:-1])
