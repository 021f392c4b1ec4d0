"""Layered meshes: L grids of vertices in front of a reference camera, one depth per vertex.

Layers are stored back to front, each row by row: vertex id = l H W + r W + c. A mesh may be coarser or finer than its
texture: then its vertices are spread evenly from the first texel to the last.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from repsynth.geometry.cameras import Cameras
from repsynth.geometry.grids import pixel_grid
from repsynth.geometry.precision import full_precision

LayerGrid = Literal["corner", "centre", "hexagonal"]
"""Where the vertices lie in the reference image: c / (W - 1) (released models), (c + 0.5) / W, or on a
hexagonal grid over [0, 1] whose odd rows are shifted by half a cell."""


def layer_grid(
    height: int,
    width: int,
    grid: LayerGrid = "corner",
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    texels: Sequence[int] | None = None,
) -> Tensor:
    """Return the relative reference pixel of each vertex of one layer, [height, width, 2].

    Args:
        height: vertices of a column.
        width: vertices of a row.
        grid: see `LayerGrid`.
        device: of the result.
        dtype: of the result.
        texels: height and width of the texture whose outermost texels the outermost vertices lie on; those of the
            mesh when omitted. It matters to the centre grid alone: corner and hexagonal ones fill the image.
    """
    if grid == "centre" and texels is not None and tuple(texels) != (height, width):
        first = 0.5 / torch.tensor(texels, device=device, dtype=dtype).flip(0)  # (u, v) of the first texel
        return first + pixel_grid(height, width, "corner", device, dtype) * (1 - 2 * first)
    if grid != "hexagonal":
        return pixel_grid(height, width, grid, device, dtype)
    column, row = pixel_grid(height, width, "integer", device, dtype).unbind(-1)
    placed = torch.stack([column + 0.5 * (row % 2), row * math.sqrt(3) / 2], dim=-1)
    return placed / placed.amax(dim=(0, 1)).clamp(min=1e-6)


def texture_coordinates(
    height: int,
    width: int,
    texels: Sequence[int],
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return where each vertex of a layer lies in its texture, [height, width, 2].

    0 and 1 are the outer edges of the texture of so many texels (height, width); vertices go from the centre of the
    first texel to that of the last, on corner and centre grids alike.
    """
    return layer_grid(height, width, "centre", device, dtype, texels)


def layer_vertices(
    depth: Tensor, reference: Cameras, grid: LayerGrid = "corner", texels: Sequence[int] | None = None
) -> Tensor:
    """Lift layered depth to world points.

    Args:
        depth: [B, L, H, W] in scene units, back to front.
        reference: cameras [B].
        grid: see `LayerGrid`.
        texels: see `layer_grid`.

    Returns:
        [B, L * H * W, 3].
    """
    batch, layers, height, width = depth.shape
    depth = depth.float() if depth.dtype in (torch.float16, torch.bfloat16) else depth
    pixels = layer_grid(height, width, grid, depth.device, depth.dtype, texels).flatten(0, 1)
    return reference.lift(pixels.repeat(layers, 1), depth.reshape(batch, -1))


@full_precision
def resampled(
    maps: Tensor, size: Sequence[int], grid: LayerGrid, texels: Sequence[int] | None = None
) -> Tensor:
    """Read maps over the reference image at the vertices of a mesh of another size, bilinearly.

    Args:
        maps: [B, C, h, w] at the places of a mesh of h x w vertices on this grid, and of as many texels.
        size: height and width of the mesh to read them at.
        grid: corner or centre.
        texels: see `layer_grid`, of the mesh to read them at.

    Returns:
        [B, C, *size]; beyond its outermost places a map goes on as it is there.
    """
    height, width = size
    if tuple(size) == tuple(maps.shape[-2:]) and (texels is None or tuple(texels) == tuple(size)):
        return maps
    places = layer_grid(height, width, grid, maps.device, maps.dtype, texels)
    places = (2 * places - 1).expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, places, padding_mode="border", align_corners=grid == "corner")


@full_precision
def depth_on_mesh(depth: Tensor, size: Sequence[int]) -> Tensor:
    """Return the depth of the points of a layered mesh that the texels of its textures show.

    Faces are flat, so inverse depth is linear on each of them as the reference camera sees it; see `layer_faces` for
    how they lie.

    Args:
        depth: [B, L, h, w] of the vertices, at least 2 x 2.
        size: height and width of the textures.

    Returns:
        [B, L, *size], `depth` itself where the mesh has a vertex per texel.
    """
    height, width = depth.shape[-2:]
    if tuple(size) == (height, width):
        return depth
    above, down = _cells(height, size[0], depth)
    left, across = _cells(width, size[1], depth)
    down, inverse = down[:, None], 1 / depth
    upper, lower = inverse.index_select(-2, above), inverse.index_select(-2, above + 1)
    on_diagonal = torch.minimum(down, across)
    return 1 / (
        upper.index_select(-1, left) * (1 - torch.maximum(down, across))
        + lower.index_select(-1, left + 1) * on_diagonal
        + lower.index_select(-1, left) * (down - on_diagonal)
        + upper.index_select(-1, left + 1) * (across - on_diagonal)
    )


def _cells(vertices: int, texels: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Of each texel along one side: the vertex before it [texels] int64, and how far it is to the next, 0 to 1."""
    place = torch.linspace(0, vertices - 1, texels, device=like.device, dtype=like.dtype)
    before = place.long().clamp(max=vertices - 2)
    return before, place - before


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
