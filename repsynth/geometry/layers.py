"""Layered meshes: L grids of vertices in front of a reference camera, one depth per vertex.

Layers are stored back to front, each row by row: vertex id = l H W + r W + c.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras
from repsynth.geometry.grids import pixel_grid

LayerGrid = Literal["corner", "centre", "hexagonal"]
"""Where the vertices lie in the reference image: c / (W - 1) (released models), (c + 0.5) / W, or on a
hexagonal grid over [0, 1] whose odd rows are shifted by half a cell."""


def layer_grid(
    height: int,
    width: int,
    grid: LayerGrid = "corner",
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the relative reference pixel of each vertex of one layer, [height, width, 2]."""
    if grid != "hexagonal":
        return pixel_grid(height, width, grid, device, dtype)
    column, row = pixel_grid(height, width, "integer", device, dtype).unbind(-1)
    placed = torch.stack([column + 0.5 * (row % 2), row * math.sqrt(3) / 2], dim=-1)
    return placed / placed.amax(dim=(0, 1)).clamp(min=1e-6)


def layer_vertices(depth: Tensor, reference: Cameras, grid: LayerGrid = "corner") -> Tensor:
    """Lift layered depth to world points.

    Args:
        depth: [B, L, H, W] in scene units, back to front.
        reference: cameras [B].
        grid: see `LayerGrid`.

    Returns:
        [B, L * H * W, 3].
    """
    batch, layers, height, width = depth.shape
    depth = depth.float() if depth.dtype in (torch.float16, torch.bfloat16) else depth
    pixels = layer_grid(height, width, grid, depth.device, depth.dtype).flatten(0, 1)
    return reference.lift(pixels.repeat(layers, 1), depth.reshape(batch, -1))


def vertex_features(images: Tensor) -> Tensor:
    """Turn images of the layers [B, L, C, H, W] into features of the vertices [B, L * H * W, C]."""
    return images.permute(0, 1, 3, 4, 2).flatten(1, 3)


def layer_faces(
    layers: int,
    height: int,
    width: int,
    device: torch.device | str | None = None,
    grid: LayerGrid = "corner",
) -> Tensor:
    """Return the triangles [2 L (H - 1) (W - 1), 3] int64 of a layered mesh.

    Each quad with top-left vertex b gives (b, b + W, b + W + 1) and (b, b + W + 1, b + 1), so that diagonals
    run from top left to bottom right; on the hexagonal grid even rows take the other diagonal, the shorter
    one there.
    """
    row = torch.arange(height - 1, device=device)[:, None]
    corner = row * width + torch.arange(width - 1, device=device)
    below, right, across = corner + width, corner + 1, corner + width + 1
    falling = torch.stack([corner, below, across, corner, across, right], dim=-1)
    rising = torch.stack([corner, below, right, right, below, across], dim=-1)
    quads = torch.where((row % 2 == 0)[..., None], rising, falling) if grid == "hexagonal" else falling
    first = torch.arange(layers, device=device)[:, None, None] * (height * width)
    return (first + quads.reshape(-1, 3)).flatten(0, 1)


def layer_of_face(layers: int, height: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """Return the layer [F] int64 of each triangle of `layer_faces`."""
    return torch.arange(layers, device=device).repeat_interleave(2 * (height - 1) * (width - 1))
