"""Visibility by nvdiffrast's depth peeler; barycentrics and gradients are ours, as in every back end.

It needs a CUDA device, and snaps vertices to 1/16 pixel: single pixels at silhouettes differ from the others.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.geometry.precision import full_precision
from repsynth.geometry.rasterizers.interface import Fragments, Interpolation
from repsynth.geometry.rasterizers.interpolation import fragments_of, pixel_positions

MARGIN = 1.001
"""The depth range of the screen is this much larger than that of the vertices, so that none is clipped."""


@functools.cache
def cuda_context(device: torch.device) -> Any:  # noqa: ANN401 (a class of an optional package)
    """Return the one rasteriser context of a device."""
    import nvdiffrast.torch as dr

    return dr.RasterizeCudaContext(device=device)


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
    """Rasterise; see `interface.Rasterizer`.

    Raises:
        UserError: for tensors that are not on a CUDA device.
    """
    if vertices.device.type != "cuda":
        raise UserError(
            f"rasterizer: nvdiffrast draws on CUDA devices only, the vertices are on {vertices.device}: "
            "choose the back end torch, or an accelerator with CUDA."
        )
    with torch.no_grad():
        clip = clip_positions(vertices, interpolation == "perspective", far)
        if drawn is None:
            shown = peel_faces(clip, faces, size, fragments)
        else:
            pairs = zip(clip, drawn, strict=True)
            shown = torch.cat([_peel_some(item[None], faces, size, fragments, row) for item, row in pairs])
    return fragments_of(pixel_positions(vertices, size), faces, shown, interpolation)


def clip_positions(vertices: Tensor, perspective: bool, far: float | None) -> Tensor:
    """Return homogeneous clip positions [B, V, 4] float32.

    The row of an image runs along y, as nvdiffrast's row 0 is y = -1. With w = 1 everything is affine on the
    screen, depth too; with w = depth the normalised depth is linear in the inverse of depth: the same order.

    Args:
        vertices: [B, V, 3] relative pixels and depth.
        perspective: give w the depth.
        far: what is beyond is clipped.
    """
    place, depth = 2 * vertices[..., :2] - 1, vertices[..., 2:]
    if not perspective:
        reach = far if far is not None else float(depth.abs().max()) * MARGIN
        return torch.cat([place, depth / reach, torch.ones_like(depth)], dim=-1).float()
    near = float(depth[depth > 0].min()) / MARGIN if bool((depth > 0).any()) else 1.0
    end = far if far is not None else float(depth.max()) * MARGIN
    ratio = (end + near) / (end - near)
    return torch.cat([place * depth, ratio * depth - (ratio + 1) * near, depth], dim=-1).float()


def peel_faces(clip: Tensor, faces: Tensor, size: Sequence[int], fragments: int) -> Tensor:
    """Return the visible faces [B, H, W, fragments], nearest first, -1 for none."""
    import nvdiffrast.torch as dr

    layers = []
    with dr.DepthPeeler(cuda_context(clip.device), clip.contiguous(), faces.int(), list(size)) as peeler:
        for _ in range(fragments):
            found, _ = peeler.rasterize_next_layer()
            layers.append(found[..., 3].long() - 1)
    return torch.stack(layers, dim=-1)


def _peel_some(clip: Tensor, faces: Tensor, size: Sequence[int], fragments: int, drawn: Tensor) -> Tensor:
    ids = drawn.nonzero()[:, 0]
    shown = peel_faces(clip, faces[ids], size, fragments)
    return torch.cat([ids, ids.new_tensor([-1])])[shown]
