"""The built-in rasteriser: plain vectorised PyTorch, the same on CPU and GPU.

Faces are expanded into the pixels of their boxes, the pixels inside are kept, visibility is resolved by
scatter-min over packed (depth, index) keys, and only the winners' barycentrics are computed again with
gradients.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from repsynth.geometry.precision import full_precision
from repsynth.geometry.rasterizers.coverage import edge_functions, find_hits, interpolated_depth
from repsynth.geometry.rasterizers.interface import Fragments, Interpolation
from repsynth.geometry.rasterizers.peeling import peel
from repsynth.geometry.rasterizers.rows import gather_rows


@full_precision
def rasterize(
    vertices: Tensor,
    faces: Tensor,
    size: Sequence[int],
    *,
    fragments: int = 1,
    interpolation: Interpolation = "perspective",
    drawn: Tensor | None = None,
    far: float | None = None,
) -> Fragments:
    """Rasterise; see `interface.Rasterizer`."""
    batch, (height, width) = vertices.shape[0], size
    perspective = interpolation == "perspective"
    screen = vertices * vertices.new_tensor([width, height, 1.0])
    with torch.no_grad():
        hits = find_hits(screen.detach(), faces, (height, width), perspective, drawn, far)
        shown = peel(hits, batch * height * width, fragments)
        place = (shown.flatten() >= 0).nonzero()[:, 0]
        hit = shown.flatten()[place]
        pixel, face = hits.pixel[hit], hits.face[hit]
        corners = faces[face] + (pixel // (height * width) * vertices.shape[1])[:, None]
    weights, depth = interpolate(gather_rows(screen.flatten(0, 1), corners), pixel, size, perspective)
    shape = (batch, height, width, shown.shape[-1])
    return Fragments(
        torch.full_like(shown, -1).flatten().index_put((place,), face).reshape(shape),
        weights.new_zeros(shown.numel(), 3).index_put((place,), weights).reshape(*shape, 3),
        depth.new_zeros(shown.numel()).index_put((place,), depth).reshape(shape),
    )


def interpolate(
    corners: Tensor, pixel: Tensor, size: Sequence[int], perspective: bool
) -> tuple[Tensor, Tensor]:
    """Return barycentrics [N, 3] and depths [N] at pixel centres, differentiable in the corners.

    Args:
        corners: [N, 3 corners, 3 (x, y in pixels, depth)].
        pixel: [N] int64 (image * H + row) * W + column.
        size: height and width.
        perspective: interpolate the inverse of the depth rather than the depth.
    """
    x, y, z = corners.permute(2, 1, 0).contiguous()
    column, row = pixel % size[1], pixel // size[1] % size[0]
    edges = torch.stack(edge_functions(x - (column + 0.5).to(x.dtype), y - (row + 0.5).to(y.dtype)))
    affine = edges / edges.sum(0)
    depth = interpolated_depth(affine, z, perspective)
    weights = affine * depth / z if perspective else affine
    return weights.T, depth
