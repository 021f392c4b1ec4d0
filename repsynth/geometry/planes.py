"""Planes parallel to a reference camera's image: their depths, plane sweep volumes, views of plane stacks."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras, turned
from repsynth.geometry.grids import Grid, pixel_grid, sample_image
from repsynth.geometry.precision import full_precision

Spacing = Literal["inverse", "uniform", "random", "quasi-random"]
"""Where planes lie: evenly in inverse depth, evenly in depth, random in inverse depth, or random within each
of `count` equal intervals of inverse depth."""

RAY_EPSILON = 1e-7
"""Added to the cosine of a ray and the planes' normal (official code)."""


def plane_depths(
    count: int,
    near: float,
    far: float,
    spacing: Spacing = "inverse",
    rng: torch.Generator | None = None,
) -> Tensor:
    """Return the depths [count] of planes, farthest first.

    Args:
        count: number of planes.
        near: depth of the nearest plane (of the nearest possible one if random).
        far: depth of the farthest plane.
        spacing: see `Spacing`.
        rng: source of the random spacings; PyTorch's default generator when omitted.
    """
    if spacing == "uniform":
        return torch.linspace(far, near, count)
    if spacing == "inverse":
        return 1 / torch.linspace(1 / far, 1 / near, count)
    drawn = torch.rand(count, generator=rng)
    places = drawn.sort().values if spacing == "random" else (torch.arange(count) + drawn) / count
    return 1 / (1 / far + places * (1 / near - 1 / far))


@full_precision
def plane_sweep(
    images: Tensor,
    source: Cameras,
    reference: Cameras,
    depths: Tensor,
    size: Sequence[int],
    grid: Grid = "corner",
    mask_behind: bool = False,
) -> Tensor:
    """Project source images on planes in front of the reference camera.

    Args:
        images: [B, C, H, W].
        source: cameras [B] of the images.
        reference: cameras [B].
        depths: [P] of the planes, or [B, P].
        size: height and width of the volume, which need not be those of the images.
        grid: where the volume's pixels lie; "integer" expects absolute intrinsics and divides the absolute
            source pixel by (W - 1, H - 1) (StereoMag).
        mask_behind: zero what is behind a source camera, where the official code puts a mirrored image.

    Returns:
        [B, P, C, *size].
    """
    height, width = size
    pixels = pixel_grid(height, width, grid, images.device, depths.dtype).flatten(0, 1)
    # A point at depth d is at d * direction + origin in the source camera: no detour through the world.
    centre = reference.centres()[:, None]
    origin = source.to_camera(centre)
    direction = turned(source.rotation, reference.lift(pixels, torch.ones_like(pixels[:, 0])) - centre)
    depths = depths.expand(images.shape[0], -1)
    points = depths[:, :, None, None] * direction[:, None] + origin[:, None]
    seen, depth = Cameras(source.extrinsics[:, None], source.intrinsics[:, None]).to_pixels(points)
    if grid == "integer":
        seen = seen / seen.new_tensor([images.shape[-1] - 1, images.shape[-2] - 1])
    volume = sample_image(images, seen)
    if mask_behind:
        volume = volume * (depth > 0)[:, None]
    return volume.transpose(1, 2).unflatten(-1, (height, width))


@full_precision
def view_planes(
    planes: Tensor,
    reference: Cameras,
    novel: Cameras,
    depths: Tensor,
    size: Sequence[int],
    mask_behind: bool = False,
) -> tuple[Tensor, Tensor]:
    """See a stack of planes from novel cameras by casting a ray through each pixel's centre.

    Args:
        planes: [B, P, C, H, W] of any features.
        reference: cameras [B] to whose image the planes are parallel.
        novel: cameras [B].
        depths: [P] of the planes, or [B, P].
        size: height and width of the views.
        mask_behind: zero what is behind the novel camera.

    Returns:
        What each ray meets on each plane [B, P, C, *size], to be composed, and the ray parameters [B, P,
        *size]: the distance from the novel camera along the unit ray.
    """
    height, width = size
    pixels = pixel_grid(height, width, "centre", planes.device, depths.dtype).flatten(0, 1)
    origin = reference.to_camera(novel.centres()[:, None])[:, None]
    rays = turned(reference.rotation, novel.rays(pixels))[:, None]
    depths = depths.expand(planes.shape[0], -1)[..., None]
    parameter = (depths - origin[..., 2]) / (rays[..., 2] + RAY_EPSILON)
    hits = origin + parameter[..., None] * rays
    met, _ = Cameras(reference.extrinsics[:, None], reference.intrinsics[:, None]).to_pixels(hits)
    seen = sample_image(planes.flatten(0, 1), met.flatten(0, 1)).unflatten(0, planes.shape[:2])
    if mask_behind:
        seen = seen * (parameter > 0)[:, :, None]
    return seen.unflatten(-1, (height, width)), parameter.unflatten(-1, (height, width))
