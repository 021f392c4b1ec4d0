"""Barycentrics and depths of visible faces, with gradients: the same code for every back end."""

from collections.abc import Sequence

import torch
from torch import Tensor

from repsynth.geometry.rasterizers.coverage import edge_functions, interpolated_depth, total
from repsynth.geometry.rasterizers.interface import Fragments, Interpolation
from repsynth.geometry.rasterizers.rows import gather_rows


def pixel_positions(vertices: Tensor, size: Sequence[int]) -> Tensor:
    """Return vertices [B, V, 3] with relative pixels turned into pixels."""
    return vertices * vertices.new_tensor([size[1], size[0], 1.0])


def fragments_of(positions: Tensor, faces: Tensor, shown: Tensor, interpolation: Interpolation) -> Fragments:
    """Compute the fragments of visible faces, differentiable in the positions.

    Args:
        positions: [B, V, 3] of the vertices in pixels, and depth.
        faces: [F, 3].
        shown: [B, H, W, K] visible face, -1 for none.
        interpolation: see `Interpolation`.
    """
    _, height, width, slots = shown.shape
    flat = shown.flatten()
    place = (flat >= 0).nonzero()[:, 0]
    face, pixel = flat[place], place // slots
    image = pixel // (height * width)
    centre = torch.stack([pixel % width, pixel // width % height]).to(positions.dtype) + 0.5
    corners = gather_rows(positions.flatten(0, 1), faces[face] + (image * positions.shape[1])[:, None])
    weights, depth = barycentrics(corners, centre, interpolation == "perspective")
    return Fragments(
        shown,
        weights.new_zeros(flat.numel(), 3).index_put((place,), weights).view(*shown.shape, 3),
        depth.new_zeros(flat.numel()).index_put((place,), depth).view(shown.shape),
    )


def barycentrics(corners: Tensor, centre: Tensor, perspective: bool) -> tuple[Tensor, Tensor]:
    """Return barycentrics [N, 3] and depths [N] at the centres [2, N] of pixels in faces.

    Every back end rounds positions before it decides which face covers a pixel, so that the centre may lie
    outside of the exact face by as little: barycentrics are kept in [0, 1].

    Args:
        corners: [N, 3 corners, 3 (x, y in pixels, depth)].
        centre: [2, N] x and y in pixels.
        perspective: interpolate the inverse of the depth rather than the depth.
    """
    x, y, z = corners.permute(2, 1, 0).contiguous()
    edges = torch.stack(edge_functions(x - centre[0], y - centre[1]))
    area = total(edges)
    affine = edges / torch.where(area == 0, 1.0, area)
    affine = affine + (inside(affine.detach()) - affine.detach())
    depth = interpolated_depth(affine, z, perspective)
    weights = affine * depth / z if perspective else affine
    return weights.T, depth


def inside(affine: Tensor) -> Tensor:
    """Return the barycentrics [3, N] moved to the nearest valid ones; the middle of a face without area."""
    positive = affine.clamp(min=0)
    whole = total(positive)
    return torch.where(whole > 0, positive / whole, 1 / 3)
