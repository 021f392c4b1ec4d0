"""Multiplane images: planes of RGBA parallel to a reference camera's image, and how novel cameras see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras
from repsynth.geometry.composition import Background, compose_planes
from repsynth.geometry.grids import pixel_grid
from repsynth.geometry.planes import view_planes
from repsynth.geometry.precision import full_precision
from repsynth.geometry.rendering import Rendering

PlaneGrid = Literal["centre", "integer"]
"""Where pixel i out of n lies: at (i + 0.5) / n; or, as in the official code, at i / n when rays are cast while i is
read at i / (n - 1), which shifts by half a pixel and stretches by n / (n - 1)."""


@dataclass(frozen=True)
class MultiplaneImage:
    """B scenes of P planes in front of a reference camera, back to front."""

    rgba: Tensor
    """[B, P, 4, H, W] RGB in [-1, 1], alpha in [0, 1]."""
    depths: Tensor
    """[B, P] z in front of the reference camera, scene units, falling."""
    reference: Cameras
    """The B reference cameras."""
    grid: PlaneGrid
    """Where the planes' pixels lie."""


def casting_cameras(cameras: Cameras, size: Sequence[int], grid: PlaneGrid) -> Cameras:
    """Cameras whose rays through pixel centres are those of a grid of (height, width) pixels."""
    if grid == "centre":
        return cameras
    height, width = size
    shift = cameras.intrinsics.new_zeros(3, 3)
    shift[0, 2], shift[1, 2] = 0.5 / width, 0.5 / height
    return Cameras(cameras.extrinsics, cameras.intrinsics + shift)


def reading_cameras(cameras: Cameras, size: Sequence[int], grid: PlaneGrid) -> Cameras:
    """Cameras whose pixels are where a grid reads an image of (height, width)."""
    if grid == "centre":
        return cameras
    stretch = cameras.intrinsics.new_tensor([[n / (n - 1)] for n in reversed(size)] + [[1.0]])
    return Cameras(cameras.extrinsics, cameras.intrinsics * stretch)


def read_pixels(pixels: Tensor, size: Sequence[int], grid: PlaneGrid) -> Tensor:
    """Where an image of (height, width) is read at relative pixels [..., 2] of its casting camera."""
    if grid == "centre":
        return pixels
    count = pixels.new_tensor([size[1], size[0]])
    return (pixels * count - 0.5) / (count - 1)


@full_precision
def render_planes(
    planes: MultiplaneImage,
    cameras: Cameras,
    size: Sequence[int],
    background: Background = "masked",
    mask_behind: bool = True,
) -> Rendering:
    """See B multiplane images from B cameras at (height, width) by casting a ray through every pixel.

    Args:
        planes: B scenes.
        cameras: B cameras.
        size: of the views.
        background: what is behind the planes, see `geometry.composition.Background`.
        mask_behind: planes behind a camera are not seen; the official code shows them mirrored, before all others.

    Returns:
        RGB in [-1, 1], opacity, depth and, as the count, the planes of alpha above 0.
    """
    novel = casting_cameras(cameras, size, planes.grid)
    reference = reading_cameras(planes.reference, planes.rgba.shape[-2:], planes.grid)
    seen, distance = view_planes(planes.rgba, reference, novel, planes.depths, size, mask_behind)
    # Along a ray planes follow one another as stored, or the other way round where it comes from behind them: so
    # they are sorted by the distance, as in the official code.
    from_behind = distance[:, 0] < distance[:, -1]
    if bool(from_behind.any()):
        distance = torch.where(from_behind[:, None], distance.flip(1), distance)
        seen = torch.where(from_behind[:, None, None], seen.flip(1), seen)
    composed = compose_planes(seen, background)
    depth = distance / _lengths(novel, size)[:, None]
    return Rendering(
        features=composed.values,
        opacity=composed.opacity,
        depth=(composed.weights[:, :, 0] * depth).sum(1, keepdim=True),
        count=(seen[:, :, 3] > 0).sum(1),
    )


def _lengths(cameras: Cameras, size: Sequence[int]) -> Tensor:
    """Distance from the centre for a depth of one, along the ray of every pixel; [B, H, W]."""
    height, width = size
    pixels = pixel_grid(height, width, "centre", device=cameras.intrinsics.device).flatten(0, 1)
    towards = cameras.lift(pixels, torch.ones_like(pixels[:, 0])) - cameras.centres()[:, None]
    return towards.norm(dim=-1).unflatten(1, (height, width))
