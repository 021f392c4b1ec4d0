"""Pinhole cameras: projection, lifting, averaging, cropping, checking.

World to camera is `X_c = R X_w + t`, OpenCV axes (x right, y down, z forward). Intrinsics are relative: pixel
`u = fx * x / z + cx`, `v = fy * y / z + cy` is (0, 0) at the outer top-left corner of the image and (1, 1) at
the outer bottom-right one, so that resizing leaves them unchanged. Depth is z, not the length of the ray.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from repsynth.errors import UserError
from repsynth.geometry.precision import full_precision

SMALLEST_DIVISOR = 1e-6
ROTATION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Cameras:
    """Cameras of any leading shape `[...]`, which broadcasts against that of points and pixels.

    Only the diagonal and the last column of the intrinsics are read: `check_cameras` refuses skew.
    """

    extrinsics: Tensor
    """[..., 4, 4] world to camera, in scene units."""
    intrinsics: Tensor
    """[..., 3, 3] relative to the image's width and height."""

    def __getitem__(self, index: Any) -> "Cameras":  # noqa: ANN401 (whatever a tensor can be indexed with)
        """Index the leading dimensions."""
        return Cameras(self.extrinsics[index], self.intrinsics[index])

    @property
    def rotation(self) -> Tensor:
        """[..., 3, 3] world to camera."""
        return self.extrinsics[..., :3, :3]

    @property
    def translation(self) -> Tensor:
        """[..., 3] world to camera."""
        return self.extrinsics[..., :3, 3]

    def centres(self) -> Tensor:
        """Return the optical centres in the world, [..., 3]."""
        exact = turned(self.rotation.mT.double(), self.translation.double()[..., None, :])
        return -exact[..., 0, :].to(self.extrinsics.dtype)

    @full_precision
    def to_camera(self, points: Tensor) -> Tensor:
        """Return world points [..., N, 3] in camera coordinates, [..., N, 3]."""
        return moved(self.rotation, self.translation, points)

    @full_precision
    def to_pixels(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return where points [..., N, 3] in camera coordinates appear: see `project`."""
        depth = points[..., 2]
        plane = points[..., :2] / away_from_zero(depth, SMALLEST_DIVISOR)[..., None]
        return plane * self._focal() + self._principal(), depth

    @full_precision
    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return where world points [..., N, 3] appear.

        Points behind the camera are mirrored through the centre rather than masked.

        Returns:
            Relative pixels (u, v) [..., N, 2] and depths [..., N].
        """
        return self.to_pixels(self.to_camera(points))

    @full_precision
    def lift(self, pixels: Tensor, depth: Tensor) -> Tensor:
        """Return the world points [..., N, 3] at relative pixels [..., N, 2] and depths [..., N]."""
        seen = self._unit_depth(pixels) * depth[..., None]
        return moved(self.rotation.mT, self.centres(), seen)

    @full_precision
    def rays(self, pixels: Tensor) -> Tensor:
        """Return the unit world directions [..., N, 3] of the rays through relative pixels [..., N, 2]."""
        return F.normalize(turned(self.rotation.mT, self._unit_depth(pixels)), dim=-1)

    def _unit_depth(self, pixels: Tensor) -> Tensor:
        plane = (pixels - self._principal()) / self._focal()
        return torch.cat([plane, torch.ones_like(plane[..., :1])], dim=-1)

    def _focal(self) -> Tensor:
        return torch.stack([self.intrinsics[..., 0, 0], self.intrinsics[..., 1, 1]], dim=-1)[..., None, :]

    def _principal(self) -> Tensor:
        return self.intrinsics[..., None, :2, 2]


def turned(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Apply matrices [..., 3, 3] to vectors [..., N, 3].

    Written out because matrix products may run in TF32, whose errors are a visible fraction of a pixel.
    """
    columns = matrices.mT[..., None, :, :]
    x, y, z = (vectors[..., i, None] * columns[..., i, :] for i in range(3))
    return x + y + z


def moved(matrices: Tensor, offsets: Tensor, points: Tensor) -> Tensor:
    """Return `matrices points + offsets`, added up in float64: the sums cancel where cameras look far away.

    Args:
        matrices: [..., 3, 3].
        offsets: [..., 3].
        points: [..., N, 3], whose dtype the result has.
    """
    exact = turned(matrices.double(), points.double()) + offsets.double()[..., None, :]
    return exact.to(points.dtype)


def away_from_zero(values: Tensor, smallest: float) -> Tensor:
    """Return values with their sign kept and their magnitude at least `smallest`; zero becomes positive."""
    magnitude = values.abs().clamp(min=smallest)
    return torch.where(values < 0, -magnitude, magnitude)


def homogeneous(extrinsics: Tensor) -> Tensor:
    """Complete [..., 3, 4] matrices with the row (0, 0, 0, 1) to [..., 4, 4]."""
    row = extrinsics.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*extrinsics.shape[:-2], 1, 4)
    return torch.cat([extrinsics, row], dim=-2)


@full_precision
def mean_pose(extrinsics: Tensor, weights: Tensor | None = None) -> Tensor:
    """Average world-to-camera matrices.

    The centre is the mean of the centres; the rotation's quaternion is the largest eigenvector of the sum of
    the quaternions' outer products, so that the two signs of a quaternion do not matter (official code).

    Args:
        extrinsics: [..., V, 4, 4].
        weights: [V], not negative, sum above 0; equal when omitted.

    Returns:
        [..., 4, 4], of the dtype of `extrinsics`.
    """
    exact = extrinsics.double()
    weight = exact.new_ones(exact.shape[-3]) if weights is None else weights.double()
    weight = (weight / weight.sum())[:, None]
    centres = Cameras(exact, exact[..., :3, :3]).centres()
    products = quaternion_products((weight[..., None] * exact[..., :3, :3]).sum(dim=-3))
    rotation = rotation_of(torch.linalg.eigh(products).eigenvectors[..., -1])
    translation = -turned(rotation, (weight * centres).sum(dim=-2, keepdim=True))
    return homogeneous(torch.cat([rotation, translation.mT], dim=-1)).to(extrinsics.dtype)


def interpolate_pose(first: Tensor, second: Tensor, s: float) -> Tensor:
    """Return the pose at `s` in [0, 1] between two [..., 4, 4]: their mean with weights (1 - s, s)."""
    return mean_pose(torch.stack([first, second], dim=-3), first.new_tensor([1.0 - s, s]))


def quaternion_products(rotations: Tensor) -> Tensor:
    """Return q q^T [..., 4, 4], q = (w, x, y, z) the quaternion of rotations [..., 3, 3].

    Affine in the rotation, so that the mean of products is the product of the mean.
    """
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in rotations.unbind(-2))
    rows = [
        [1 + a + e + i, h - f, c - g, d - b],
        [h - f, 1 + a - e - i, b + d, c + g],
        [c - g, b + d, 1 - a + e - i, f + h],
        [d - b, c + g, f + h, 1 - a - e + i],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2) / 4


def rotation_of(quaternions: Tensor) -> Tensor:
    """Return the rotation matrices [..., 3, 3] of unit quaternions (w, x, y, z) [..., 4]."""
    w, x, y, z = quaternions.unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def crop_intrinsics(intrinsics: Tensor, size: Sequence[int], crop: Sequence[int]) -> Tensor:
    """Return the intrinsics [..., 3, 3] of the centre crop of an image.

    Args:
        intrinsics: [..., 3, 3] of the whole image.
        size: its height and width in pixels.
        crop: height and width of the crop; its offsets are rounded down.
    """
    (height, width), (crop_height, crop_width) = size, crop
    offset = intrinsics.new_tensor([(width - crop_width) // 2, (height - crop_height) // 2])
    whole, part = intrinsics.new_tensor([width, height]), intrinsics.new_tensor([crop_width, crop_height])
    cropped = intrinsics.clone()
    cropped[..., :2, 2] = (intrinsics[..., :2, 2] * whole - offset) / part
    cropped[..., 0, 0] = intrinsics[..., 0, 0] * whole[0] / part[0]
    cropped[..., 1, 1] = intrinsics[..., 1, 1] * whole[1] / part[1]
    return cropped


def check_cameras(extrinsics: Tensor, intrinsics: Tensor, where: str) -> None:
    """Refuse cameras that no pinhole camera can have.

    Args:
        extrinsics: [..., 3 or 4, 4].
        intrinsics: [..., 3, 3].
        where: names the file or the example in the message.

    Raises:
        UserError: for NaN or infinite numbers, a rotation that is none, a mirrored one, a focal length that
            is not positive, or skew; the message names the first bad camera.
    """
    rotation = extrinsics[..., :3, :3].double()
    identity = torch.eye(3, dtype=torch.float64, device=rotation.device)
    error = (rotation @ rotation.mT - identity).abs().amax(dim=(-1, -2))
    focal = torch.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]])
    numbers = torch.cat([extrinsics.flatten(-2), intrinsics.flatten(-2)], dim=-1)
    problems = [
        (~numbers.isfinite().all(dim=-1), "has NaN or infinite numbers", "finite matrices"),
        (
            error > ROTATION_TOLERANCE,
            f"has a rotation R whose R R^T is off the identity by up to {float(error.max()):.2g}",
            f"at most {ROTATION_TOLERANCE} (world-to-camera, without scale)",
        ),
        (torch.linalg.det(rotation) < 0, "has a mirrored rotation (determinant -1)", "determinant +1"),
        ((focal <= 0).any(dim=0), "has a focal length that is not positive", "fx > 0 and fy > 0"),
        (intrinsics[..., 0, 1] != 0, "has skewed intrinsics", "zero in row 0, column 1"),
    ]
    for bad, problem, expected in problems:
        if bad.any():
            index = int(bad.flatten().nonzero()[0])
            raise UserError(
                f"{where}: camera {index} {problem}; expected {expected}: correct it or leave it out."
            )
