"""The numbers of a camera as RealEstate10K writes them, in files and in chunks, as matrices.

18 columns: fx fy cx cy as fractions of width and height, two numbers that are 0, and a 3 x 4 world-to-camera matrix row
by row, OpenCV axes (publisher's documentation). Messages count them from 2, because a file puts the time stamp first.
"""

from collections.abc import Callable

import numpy as np

from repsynth.errors import UserError
from repsynth.geometry.cameras import ROTATION_TOLERANCE

_SMALLEST_RESOLUTION = 16
"""Columns 6 and 7 hold a resolution, not lens distortion, when they are whole numbers from here on."""


def camera_matrices(values: np.ndarray, where: Callable[[int], str]) -> tuple[np.ndarray, np.ndarray]:
    """Columns 2 to 19 of rows as matrices, checked.

    Args:
        values: [N, 18].
        where: names a row, by its number, in messages.

    Returns:
        World to camera [N, 4, 4] and normalised intrinsics [N, 3, 3], float64.

    Raises:
        UserError: NaN, lens distortion, a matrix that is no rotation or a mirrored one, a focal length that is not
            positive.
    """
    values = np.asarray(values, dtype=np.float64)
    extrinsics, intrinsics = as_matrices(values[:, 6:].reshape(-1, 3, 4), values[:, :4])
    _check(values, extrinsics[:, :3, :3], where)
    return extrinsics, intrinsics


def as_matrices(rows: np.ndarray, lens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return world to camera [N, 4, 4] and intrinsics [N, 3, 3], float64, of [N, 3, 4] and of fx fy cx cy [N, 4]."""
    extrinsics, intrinsics = np.zeros((len(rows), 4, 4)), np.zeros((len(rows), 3, 3))
    extrinsics[:, :3] = rows
    extrinsics[:, 3, 3] = 1
    intrinsics[:, [0, 1, 0, 1], [0, 1, 2, 2]] = lens
    intrinsics[:, 2, 2] = 1
    return extrinsics, intrinsics


def _check(values: np.ndarray, rotation: np.ndarray, where: Callable[[int], str]) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(rotation @ rotation.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2))
        mirrored = np.linalg.det(rotation) < 0
    faults = (
        (~np.isfinite(values), _not_finite),
        (_distortion(values[:, 4:6]), _distorted),
        (off > ROTATION_TOLERANCE, _no_rotation),
        (mirrored, _mirrored),
        (values[:, :2] <= 0, _no_focal_length),
    )
    for bad, sentence in faults:
        if bad.any():
            row = int(np.argwhere(bad)[0, 0])
            raise UserError(f"{where(row)}: {sentence(values[row], float(off[row]))}")


def _distortion(lens: np.ndarray) -> np.ndarray:
    """Which numbers of columns 6 and 7 [N, 2] are neither 0 nor of a resolution."""
    if not lens.any():
        return np.zeros_like(lens, dtype=bool)
    resolution = (lens >= _SMALLEST_RESOLUTION) & (lens == np.floor(lens))
    return (lens != 0) & ~resolution.all(axis=1, keepdims=True)


def _not_finite(row: np.ndarray, off: float) -> str:
    column = int(np.argmin(np.isfinite(row))) + 2
    return (
        f"column {column} is {row[column - 2]}; expected finite numbers: correct the row or remove the file"
    )


def _distorted(row: np.ndarray, off: float) -> str:
    return (
        f"columns 6 and 7 (lens distortion) are {row[4]:g} and {row[5]:g}, expected 0; undistort the pictures, or see "
        "whether the columns are shifted by one"
    )


def _no_rotation(row: np.ndarray, off: float) -> str:
    return (
        f"columns 8 to 19 hold no rotation: R R^T is off the identity by up to {off:.2g}, expected at most "
        f"{ROTATION_TOLERANCE:g}; see whether the columns are shifted by one, or the matrix has a scale"
    )


def _mirrored(row: np.ndarray, off: float) -> str:
    return (
        "columns 8 to 19 hold a mirrored rotation (determinant -1), expected +1; the axes must be x right, y down, "
        "z forward"
    )


def _no_focal_length(row: np.ndarray, off: float) -> str:
    return f"fx and fy are {row[0]:g} and {row[1]:g}; expected focal lengths above 0, as fractions of width and height"
