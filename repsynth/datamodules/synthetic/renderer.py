"""Exact pictures of flat textured pieces: rays against planes, no triangles and no rasteriser of `geometry`.

A ray of camera space d = (x, y, 1) meets the piece p + a e1 + b e2 where t d = [e1 e2 p] (a, b, 1), that is
at (a, b, 1) / t = [e1 e2 p]^-1 d. All three are linear in the pixel, and the last is the inverse of the depth
t: whether a ray hits, and what is nearest, needs no division.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from repsynth.datamodules.synthetic.scenes import Piece

SAMPLES = 2
"""Rays per pixel and direction whose colours are averaged."""


@dataclass(frozen=True)
class Picture:
    """Views of a scene."""

    images: np.ndarray
    """[V, 3, H, W] uint8."""
    depth: np.ndarray
    """[V, 1, H, W] float32, z-depth at the pixel centre; infinite where nothing is hit."""


def render(
    pieces: list[Piece],
    extrinsics: np.ndarray,
    intrinsics: np.ndarray,
    size: tuple[int, int],
    samples: int = SAMPLES,
) -> Picture:
    """Render every camera.

    Args:
        pieces: the scene.
        extrinsics: [V, 4, 4] world to camera.
        intrinsics: [3, 3] normalised, the same for all cameras.
        size: (H, W) in pixels.
        samples: rays per pixel and direction for the colours; depths are exact at the centres.
    """
    height, width = size
    atlas = _Atlas.build(pieces)
    fine_size = (height * samples, width * samples)
    hits = _trace(pieces, extrinsics, intrinsics, fine_size)
    colours = F.avg_pool2d(atlas.sample(hits).view(3, len(extrinsics), *fine_size), samples)
    images = colours.mul_(255).round_().to(torch.uint8).transpose(0, 1)
    with np.errstate(divide="ignore"):
        depth = 1 / _trace(pieces, extrinsics, intrinsics, size).inverse
    return Picture(images.contiguous().numpy(), depth[:, None])


@dataclass(frozen=True)
class _Hits:
    """What rays meet first; arrays [..., H, W]."""

    inverse: np.ndarray
    """1 / depth, 0 for nothing."""
    a: np.ndarray
    """a / depth."""
    b: np.ndarray
    """b / depth."""
    piece: np.ndarray
    """Index of the piece."""


def _trace(pieces: list[Piece], poses: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> _Hits:
    """First hits of the rays through the centres of a grid of `size` over the image of each camera."""
    height, width = size
    planes, corners = _to_camera(pieces, poses)
    boxes = _bounds(corners @ intrinsics.T, size)
    # Rays from relative pixel coordinates: (x, y, 1) = K^-1 (u, v, 1).
    planes = planes @ np.linalg.inv(intrinsics)
    u, v = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    across = (planes[..., :1] * u).astype(np.float32)
    down = (planes[..., 1:2] * v + planes[..., 2:]).astype(np.float32)
    shape = (len(poses), height, width)
    inverse, a, b = np.zeros((3, *shape), dtype=np.float32)
    hits = _Hits(inverse, a, b, np.zeros(shape, dtype=np.int16))
    for view, index in np.ndindex(len(poses), len(pieces)):
        left, top, right, bottom = boxes[view][index]
        if left < right and top < bottom:
            window = (view, slice(top, bottom), slice(left, right))
            rays = down[view, index, :, top:bottom, None] + across[view, index, :, None, left:right]
            _enter(hits, window, index, rays, is_round=pieces[index].round)
    return hits


def _to_camera(pieces: list[Piece], poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[V, Q, 3, 3] from rays to (a, b, 1) / depth, and the corners [V, Q, 4, 3] in camera space."""
    turned = poses[:, None, :3, :3].swapaxes(-1, -2)
    edges = np.stack([piece.edges for piece in pieces]) @ turned
    origins = np.stack([piece.origin for piece in pieces])[:, None] @ turned + poses[:, None, None, :3, 3]
    columns = np.concatenate([edges, origins], axis=2).swapaxes(-1, -2)
    unit = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    return np.linalg.inv(columns), origins + unit @ edges


def _bounds(corners: np.ndarray, size: tuple[int, int]) -> list[list[list[int]]]:
    """The pixels that pieces with these projected homogeneous corners [V, Q, 4, 3] can touch.

    Returns:
        [V][Q][4]: left, top, right, bottom; empty boxes for what lies outside or behind.
    """
    limit = np.array(size[::-1])
    depth = corners[..., 2:]
    points = corners[..., :2] / np.maximum(depth, 1e-3) * limit
    low, high = np.floor(points.min(axis=2)), np.ceil(points.max(axis=2))
    # What reaches behind the camera has no bounded projection.
    crosses, behind = (depth < 1e-3).any(axis=2), (depth <= 0).all(axis=2)
    low = np.where(crosses, 0, np.clip(low, 0, limit))
    high = np.where(behind, 0, np.where(crosses, limit, np.clip(high, 0, limit)))
    return np.concatenate([low, high], axis=-1).astype(int).tolist()


def _enter(
    hits: _Hits, window: tuple[int, slice, slice], index: int, rays: np.ndarray, *, is_round: bool
) -> None:
    """Enter a piece where it is nearer than what was hit before; rays [3, h, w] are its (a, b, 1) / depth."""
    a, b, inverse = rays
    if is_round:
        inside = (a - inverse / 2) ** 2 + (b - inverse / 2) ** 2 <= (inverse / 2) ** 2
    else:
        inside = (np.minimum(a, b) >= 0) & (np.maximum(a, b) <= inverse)
    inside &= inverse > hits.inverse[window]
    np.copyto(hits.inverse[window], inverse, where=inside)
    np.copyto(hits.a[window], a, where=inside)
    np.copyto(hits.b[window], b, where=inside)
    np.copyto(hits.piece[window], np.int16(index), where=inside)


@dataclass(frozen=True)
class _Atlas:
    """All textures below one another in one image, so that one call samples them."""

    image: torch.Tensor
    """[1, 3, H, W] float32."""
    sizes: np.ndarray
    """[Q, 2] float32 width and height of each texture."""
    tops: np.ndarray
    """[Q] float32 first row of each texture."""

    @classmethod
    def build(cls, pieces: list[Piece]) -> "_Atlas":
        """Stack the textures of the pieces."""
        sizes = np.array([piece.texture.shape[1::-1] for piece in pieces])
        tops = np.concatenate([[0], np.cumsum(sizes[:, 1])])
        image = np.zeros((tops[-1], sizes[:, 0].max(), 3), dtype=np.float32)
        for piece, top in zip(pieces, tops, strict=False):
            height, width = piece.texture.shape[:2]
            image[top : top + height, :width] = piece.texture
        planar = torch.from_numpy(image).permute(2, 0, 1).contiguous()[None]
        return cls(planar, sizes.astype(np.float32), tops[:-1].astype(np.float32))

    def sample(self, hits: _Hits) -> torch.Tensor:
        """Colours [3, ...] of hits, bilinear between texel centres; black where nothing was hit."""
        depth = 1 / np.maximum(hits.inverse, 1e-9)
        width, height = self.sizes[hits.piece, 0], self.sizes[hits.piece, 1]
        x = np.clip(hits.a * depth * width - 0.5, 0, width - 1)
        y = np.clip(hits.b * depth * height - 0.5, 0, height - 1) + self.tops[hits.piece]
        last = np.array(self.image.shape[:1:-1], dtype=np.float32) - 1
        grid = torch.from_numpy(np.stack([x, y], axis=-1).reshape(1, 1, -1, 2) * (2 / last) - 1)
        colours = F.grid_sample(self.image, grid, mode="bilinear", padding_mode="border", align_corners=True)
        return colours[0, :, 0] * torch.from_numpy((hits.inverse > 0).ravel())
