"""Barycentrics and depths of visible faces, with gradients: the same code for every back end."""

from collections.abc import Sequence

import torch
from torch import Tensor

from repsynth.geometry.rasterizers.coverage import edge_functions, interpolated_depth
from repsynth.geometry.rasterizers.interface import Fragments, Interpolation
from repsynth.geometry.rasterizers.rows import gather_rows


def pixel_positions(vertices: Tensor, size: Sequence[int]) -> Tensor:
    """Return vertices [B, V, 3] with relative pixels turned into pixels."""
    return vertices * vertices.new_tensor([size[1], size[0], 1.0])


def fragments_of(
    positions: Tensor, faces: Tensor, shown: Tensor, interpolation: Interpolation, clamp: bool = False
) -> Fragments:
    """Compute the fragments of visible faces, differentiable in the positions.

    Args:
        positions: [B, V, 3] of the vertices in pixels, and depth.
        faces: [F, 3].
        shown: [B, H, W, K] visible face, -1 for none.
        interpolation: see `Interpolation`.
        clamp: keep barycentrics in [0, 1], for back ends whose faces may miss the pixel's centre by a little.
    """
    _, height, width, slots = shown.shape
    flat = shown.flatten()
    place = (flat >= 0).nonzero()[:, 0]
    face, pixel = flat[place], place // slots
    image = pixel // (height * width)
    centre = torch.stack([pixel % width, pixel // width % height]).to(positions.dtype) + 0.5
    corners = gather_rows(positions.flatten(0, 1), faces[face] + (image * positions.shape[1])[:, None])
    weights, depth = barycentrics(corners, centre, interpolation == "perspective", clamp)
    return Fragments(
        shown,
        weights.new_zeros(flat.numel(), 3).index_put((place,), weights).view(*shown.shape, 3),
        depth.new_zeros(flat.numel()).index_put((place,), depth).view(shown.shape),
    )


def barycentrics(corners: Tensor, centre: Tensor, perspective: bool, clamp: bool) -> tuple[Tensor, Tensor]:
    """Return barycentrics [N, 3] and depths [N] at the centres [2, N] of pixels in faces.

    Args:
        corners: [N, 3 corners, 3 (x, y in pixels, depth)].
        centre: [2, N] x and y in pixels.
        perspective: interpolate the inverse of the depth rather than the depth.
        clamp: see `fragments_of`.
    """
    x, y, z = corners.permute(2, 1, 0).contiguous()
    edges = torch.stack(edge_functions(x - centre[0], y - centre[1]))
    affine = edges / edges.sum(0)
    if clamp:
        affine = affine.clamp(min=0)
        affine = affine / affine.sum(0)
    depth = interpolated_depth(affine, z, perspective)
    weights = affine * depth / z if perspective else affine
    return weights.T, depth
