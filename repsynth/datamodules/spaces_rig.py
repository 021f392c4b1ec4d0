"""models.json of a Spaces capture: the calibration of 16 cameras at each position of their rig."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from repsynth.errors import UserError
from repsynth.geometry.cameras import check_cameras

CAMERAS = 16
"""Of the rig."""

_NUMBERS = {
    "focal_length": None,
    "pixel_aspect_ratio": None,
    "width": None,
    "height": None,
    "principal_point": 2,
    "position": 3,
    "orientation": 3,
}
"""Field -> length of its list; None for a single number."""
_POSITIVE = ("focal_length", "pixel_aspect_ratio", "width", "height")

_NO_TURN = 1e-7
"""Axis-angle vectors that are shorter have no axis and turn nothing (official reader)."""


@dataclass(frozen=True)
class Rig:
    """P positions of a rig of C cameras, in metres, with the conventions of `geometry.cameras`."""

    pictures: tuple[tuple[str, ...], ...]
    """P x C paths, relative to the scene."""
    sizes: np.ndarray
    """[P, C, 2] float64 (height, width) of the calibrated pictures; those of one rig differ."""
    extrinsics: np.ndarray
    """[P, C, 4, 4] float64 world to camera."""
    intrinsics: np.ndarray
    """[P, C, 3, 3] float64, normalised by each picture's own width and height."""

    @property
    def positions(self) -> int:
        """Number of rig positions."""
        return len(self.pictures)


def read_rig(path: Path, cameras: int = CAMERAS) -> Rig:
    """Read and check a models.json.

    Args:
        path: of the file; its folder names the scene in messages.
        cameras: that each rig position must have.

    Raises:
        UserError: damaged JSON (with its line), rig positions with another number of cameras, missing fields,
            numbers that are none, not finite or not positive where they must be.
    """
    where = f"Spaces: {path.parent.name}/{path.name}"
    positions = _lists(path, where)
    rows, pictures = [], []
    for number, position in enumerate(positions):
        if not isinstance(position, list) or len(position) != cameras:
            found = f"{len(position)} cameras" if isinstance(position, list) else "no list of cameras"
            raise UserError(
                f"{where}: rig position {number} has {found}, expected {cameras}; take the file from the "
                "data set again or remove the scene"
            )
        places = [f"{where}: rig position {number}, camera {camera}" for camera in range(cameras)]
        rows.append([_row(entry, place) for entry, place in zip(position, places, strict=True)])
        pictures.append(tuple(_picture(entry, place) for entry, place in zip(position, places, strict=True)))
        _require_different(pictures[-1], f"{where}: rig position {number}")
    sizes, extrinsics, intrinsics = convert(np.array(rows))
    check_cameras(torch.from_numpy(extrinsics), torch.from_numpy(intrinsics), where)
    return Rig(tuple(pictures), sizes, extrinsics, intrinsics)


def convert(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cameras of models.json in the conventions of `geometry.cameras`, in metres (official reader).

    The position is the camera's centre; the orientation is the axis of the world-to-camera rotation times its
    angle; the pixel's aspect ratio is that of the focal lengths along y and x.

    Args:
        rows: [..., 12] focal length, aspect ratio, width, height, principal point (x, y), position (x, y, z),
            orientation (x, y, z); lengths in the picture in pixels.

    Returns:
        (height, width) [..., 2], world to camera [..., 4, 4], normalised intrinsics [..., 3, 3].
    """
    focal, aspect, width, height, x, y = (rows[..., column] for column in range(6))
    intrinsics = np.zeros((*rows.shape[:-1], 3, 3))
    intrinsics[..., 0, 0], intrinsics[..., 1, 1] = focal / width, focal * aspect / height
    intrinsics[..., 0, 2], intrinsics[..., 1, 2], intrinsics[..., 2, 2] = x / width, y / height, 1
    extrinsics = np.zeros((*rows.shape[:-1], 4, 4))
    turns = rotations(rows[..., 9:12])
    extrinsics[..., :3, :3], extrinsics[..., 3, 3] = turns, 1
    extrinsics[..., :3, 3] = -np.einsum("...ij,...j->...i", turns, rows[..., 6:9])
    return np.stack([height, width], axis=-1), extrinsics, intrinsics


def rotations(vectors: np.ndarray) -> np.ndarray:
    """The rotation matrices [..., 3, 3] of axis-angle vectors [..., 3] (Rodrigues' formula)."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    axis = np.where(angle[..., 0] < _NO_TURN, 0, vectors) / np.maximum(angle[..., 0], _NO_TURN)
    x, y, z = np.moveaxis(axis, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _lists(path: Path, where: str) -> list[Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{where} line {error.lineno}: is no JSON ({error.msg}); the file is damaged, take it from the data "
            "set again"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: cannot be read ({error}); take it from the data set again") from error
    if not isinstance(found, list) or not found:
        raise UserError(
            f"{where}: holds {'no rig position' if found == [] else type(found).__name__}, expected a list of rig "
            "positions, each a list of cameras; take the file from the data set again"
        )
    return found


def _row(entry: object, place: str) -> list[float]:
    """The numbers of one camera in the order of `convert`."""
    if not isinstance(entry, dict):
        raise UserError(f"{place}: is {type(entry).__name__}, expected a mapping of its calibration")
    row: list[float] = []
    for field, length in _NUMBERS.items():
        value = entry.get(field)
        numbers = value if length else [value]
        if not isinstance(numbers, list) or len(numbers) != (length or 1) or not all(map(_finite, numbers)):
            expected = f"a list of {length} finite numbers" if length else "a finite number"
            given = "is missing" if field not in entry else f"is {value!r}"
            raise UserError(f"{place}: {field} {given}, expected {expected}; correct it or remove the scene")
        if field in _POSITIVE and numbers[0] <= 0:
            raise UserError(
                f"{place}: {field} is {value:g}, expected more than 0; correct it or remove the scene"
            )
        row += map(float, numbers)
    return row


def _finite(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max


def _picture(entry: dict[str, object], place: str) -> str:
    path = entry.get("relative_path")
    if not isinstance(path, str):
        given = "is missing" if path is None else f"is {path!r}"
        raise UserError(
            f"{place}: relative_path {given}, expected the picture's path; correct it or remove the scene"
        )
    return path


def _require_different(paths: tuple[str, ...], place: str) -> None:
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise UserError(
            f"{place}: names {twice} for {paths.count(twice)} cameras, expected a picture for each; correct it or "
            "remove the scene"
        )
