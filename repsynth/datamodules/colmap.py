"""COLMAP's binary models: cameras.bin, images.bin, points3D.bin, as its documentation describes them."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from repsynth.errors import UserError

_MODELS = {
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


@dataclass(frozen=True)
class Camera:
    """An entry of cameras.bin."""

    model: str
    width: int
    height: int
    parameters: tuple[float, ...]
    """Focal length(s), principal point, distortion, in pixels."""
    distortion: tuple[float, ...]
    """The part of `parameters` that distorts; empty for pinhole models."""


@dataclass(frozen=True)
class Photograph:
    """An entry of images.bin."""

    name: str
    camera: int
    """Key into the cameras."""
    extrinsics: np.ndarray
    """[4, 4] float64 world to camera, OpenCV axes."""


@dataclass(frozen=True)
class Points:
    """All of points3D.bin."""

    positions: np.ndarray
    """[N, 3] float64, world."""
    colours: np.ndarray
    """[N, 3] uint8 RGB."""
    track_points: np.ndarray
    """[T] int64: the point of each observation."""
    track_images: np.ndarray
    """[T] int64: the image id of each observation."""

    def seen_by(self, image: int) -> np.ndarray:
        """Numbers of the points whose tracks hold the image id."""
        return np.unique(self.track_points[self.track_images == image])


def read_cameras(path: Path) -> dict[int, Camera]:
    """Cameras by id.

    Raises:
        UserError: for a missing, truncated or overlong file or an unknown camera model.
    """
    data = _Reader(path)
    cameras = {}
    for _ in range(data.count()):
        key, model, width, height = data.take("<iiQQ")
        if model not in _MODELS:
            raise UserError(
                f"{path}: camera {key} has the unknown model {model}; expected 0 to {max(_MODELS)}"
            )
        name, parameters, pinhole = _MODELS[model]
        values = data.take(f"<{parameters}d")
        cameras[key] = Camera(name, width, height, values, values[pinhole:])
    data.finish()
    return cameras


def read_photographs(path: Path) -> dict[int, Photograph]:
    """Poses by image id.

    Raises:
        UserError: for a missing, truncated or overlong file.
    """
    data = _Reader(path)
    photographs = {}
    for _ in range(data.count()):
        key, *pose, camera = data.take("<i7di")
        name = data.text()
        (observations,) = data.take("<Q")
        data.skip(24 * observations)
        photographs[key] = Photograph(name, camera, _extrinsics(np.array(pose[:4]), np.array(pose[4:])))
    data.finish()
    return photographs


def read_points(path: Path) -> Points:
    """The sparse points and which images see them.

    Raises:
        UserError: for a missing, truncated or overlong file.
    """
    data = _Reader(path)
    count = data.count()
    positions, colours, images = np.empty((count, 3)), np.empty((count, 3), dtype=np.uint8), []
    for index in range(count):
        _, x, y, z, red, green, blue, _, length = data.take("<Q3d3BdQ")
        positions[index], colours[index] = (x, y, z), (red, green, blue)
        images.append(data.integers(2 * length)[::2])
    data.finish()
    lengths = [len(track) for track in images]
    joined = np.concatenate(images) if images else np.empty(0)
    return Points(positions, colours, np.repeat(np.arange(count), lengths), joined.astype(np.int64))


class _Reader:
    """A binary file read from front to back."""

    def __init__(self, path: Path) -> None:
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); expected a COLMAP file") from error
        self.path = path
        self.place = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        start = self.skip(struct.calcsize(layout))
        return struct.unpack_from(layout, self.data, start)

    def count(self) -> int:
        (count,) = self.take("<Q")
        if count > len(self.data):  # each entry has more than one byte
            raise self._damaged(f"its head announces {count} entries")
        return count

    def integers(self, count: int) -> np.ndarray:
        return np.frombuffer(self.data, "<i4", count, self.skip(4 * count))

    def text(self) -> str:
        end = self.data.find(b"\0", self.place)
        if end < 0:
            raise self._damaged("a name has no end")
        return self.data[self.skip(end + 1 - self.place) : end].decode("utf-8", errors="replace")

    def skip(self, size: int) -> int:
        """Step over `size` bytes and return where they began."""
        start = self.place
        if size > len(self.data) - start:
            raise self._damaged("its entries go on after its end")
        self.place += size
        return start

    def finish(self) -> None:
        if self.place != len(self.data):
            raise self._damaged(f"{len(self.data) - self.place} bytes follow its last entry")

    def _damaged(self, why: str) -> UserError:
        return UserError(
            f"{self.path}: is no whole COLMAP file of {len(self.data)} bytes ({why}); copy it again or "
            "export the model in binary form"
        )


def _extrinsics(quaternion: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """World to camera [4, 4] from (w, x, y, z) and the translation."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = translation
    return pose
