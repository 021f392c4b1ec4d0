"""What a sparse model of COLMAP holds, whether its files are binary or text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from repsynth.errors import UserError

MODELS = {
    0: ("SIMPLE_PINHOLE", 3, 3),
    1: ("PINHOLE", 4, 4),
    2: ("SIMPLE_RADIAL", 4, 3),
    3: ("RADIAL", 5, 3),
    4: ("OPENCV", 8, 4),
    5: ("OPENCV_FISHEYE", 8, 4),
    6: ("FULL_OPENCV", 12, 4),
    7: ("FOV", 5, 4),
    8: ("SIMPLE_RADIAL_FISHEYE", 4, 3),
    9: ("RADIAL_FISHEYE", 5, 3),
    10: ("THIN_PRISM_FISHEYE", 12, 4),
}
"""Id: name, number of parameters, how many of them are focal lengths and principal point."""

_UNIT = 0.01
"""How far the length of a quaternion may be off 1: rounded text is, shifted columns are more."""


@dataclass(frozen=True)
class Camera:
    """An entry of cameras."""

    model: str
    width: int
    height: int
    parameters: tuple[float, ...]
    """Focal length(s), principal point, distortion, in pixels."""
    distortion: tuple[float, ...]
    """The part of `parameters` that distorts; empty for pinhole models."""

    @property
    def distorted(self) -> str | None:
        """Numbers that a pinhole camera cannot express, in words; None for none.

        A fisheye model with zeros is no pinhole camera either.
        """
        if not any(self.distortion) and "FISHEYE" not in self.model:
            return None
        return ", ".join(f"{value:.4g}" for value in self.distortion)

    @property
    def intrinsics(self) -> np.ndarray:
        """[3, 3] float64 of its pinhole part, normalised by width and height."""
        *focal, across, down = self.parameters[: len(self.parameters) - len(self.distortion)]
        return np.array(
            [
                [focal[0] / self.width, 0, across / self.width],
                [0, focal[-1] / self.height, down / self.height],
                [0, 0, 1],
            ]
        )


@dataclass(frozen=True)
class Photograph:
    """An entry of images."""

    name: str
    camera: int
    """Key into the cameras."""
    extrinsics: np.ndarray
    """[4, 4] float64 world to camera, OpenCV axes."""


@dataclass(frozen=True)
class Points:
    """All of points3D."""

    positions: np.ndarray
    """[N, 3] float64, world."""
    colours: np.ndarray
    """[N, 3] uint8 RGB."""
    track_points: np.ndarray
    """[T] int64, rising: the point of each observation."""
    track_images: np.ndarray
    """[T] int64: the image id of each observation."""

    def seen_by(self, image: int) -> np.ndarray:
        """Numbers of the points whose tracks hold the image id."""
        return np.unique(self.track_points[self.track_images == image])

    def seen_by_each(self, images: Sequence[int]) -> list[np.ndarray]:
        """`seen_by` of many images, in one pass over the tracks."""
        order = np.argsort(self.track_images, kind="stable")
        images_in_order = self.track_images[order]
        sides = [np.searchsorted(images_in_order, images, side) for side in ("left", "right")]
        return [np.unique(self.track_points[order[start:end]]) for start, end in zip(*sides, strict=True)]


def make_camera(where: str, model: int, width: int, height: int, values: Sequence[float]) -> Camera:
    """A camera of a known model with the right number of parameters.

    Args:
        where: names file and entry in messages.
        model: key into `MODELS`.
        width: in pixels.
        height: in pixels.
        values: the parameters.

    Raises:
        UserError: NaN, or a size or focal length that is not positive.
    """
    name, _, pinhole = MODELS[model]
    camera = Camera(name, width, height, tuple(values), tuple(values[pinhole:]))
    if width < 1 or height < 1 or not np.isfinite(values).all() or min(values[: pinhole - 2]) <= 0:
        raise UserError(
            f"{where} is of {width}x{height} pixels with the parameters {', '.join(f'{v:g}' for v in values)}; "
            "expected a size and focal lengths above 0 and finite numbers: make the model anew"
        )
    return camera


def make_photograph(where: str, name: str, camera: int, pose: Sequence[float]) -> Photograph:
    """A posed image.

    Args:
        where: names file and entry in messages.
        name: path of the picture below the folder of pictures.
        camera: its camera's id.
        pose: quaternion w, x, y, z and translation.

    Raises:
        UserError: NaN, or a quaternion that is not of length 1.
    """
    quaternion, translation = np.array(pose[:4]), np.array(pose[4:])
    length = float(np.linalg.norm(quaternion))
    if not np.isfinite(pose).all() or abs(length - 1) > _UNIT:
        raise UserError(
            f"{where} has the quaternion {', '.join(f'{v:g}' for v in pose[:4])} and the translation "
            f"{', '.join(f'{v:g}' for v in pose[4:])}; expected finite numbers and a quaternion w, x, y, z of length "
            "1: make the model anew"
        )
    return Photograph(name, camera, _extrinsics(quaternion / length, translation))


def require_finite(positions: np.ndarray, where: Callable[[int], str]) -> None:
    """Raise UserError when a row of [N, 3] positions has NaN or infinite numbers; `where` names it."""
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(bad):
        raise UserError(
            f"{where(int(bad[0]))} has NaN or infinite coordinates; expected finite numbers: make the model anew"
        )


def places_of_parts(starts: np.ndarray, lengths: np.ndarray, step: int) -> np.ndarray:
    """Where the parts of N runs begin: `lengths` [N] of them from `starts` [N] on, `step` apart."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - step * before, lengths) + step * np.arange(lengths.sum())


def _extrinsics(quaternion: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """World to camera [4, 4] from a unit quaternion (w, x, y, z) and the translation."""
    w, x, y, z = quaternion
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = translation
    return pose
