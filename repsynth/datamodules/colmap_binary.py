"""COLMAP's binary files cameras.bin, images.bin and points3D.bin, as its documentation describes them."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from repsynth.datamodules.colmap_model import (
    MODELS,
    Camera,
    Photograph,
    Points,
    make_camera,
    make_photograph,
    places_of_parts,
    require_finite,
)
from repsynth.errors import UserError

_LENGTH = struct.Struct("<Q")
_POINT = np.dtype(
    [("id", "<u8"), ("position", "<f8", 3), ("colour", "u1", 3), ("error", "<f8"), ("length", "<u8")]
)
_SIGHTING = np.dtype([("image", "<i4"), ("index", "<i4")])


def read_cameras(path: Path) -> dict[int, Camera]:
    """Cameras by id; raises as `colmap.read_cameras`."""
    data = _Reader(path)
    cameras = {}
    for _ in range(data.count()):
        key, model, width, height = data.take("<iiQQ")
        if model not in MODELS:
            raise UserError(
                f"{path}: camera {key} has the unknown model {model}; expected 0 to {max(MODELS)}"
            )
        values = data.take(f"<{MODELS[model][1]}d")
        cameras[key] = make_camera(f"{path}: camera {key}", model, width, height, values)
    data.finish()
    return cameras


def read_photographs(path: Path) -> dict[int, Photograph]:
    """Poses by image id; raises as `colmap.read_photographs`."""
    data = _Reader(path)
    photographs = {}
    for _ in range(data.count()):
        key, *pose, camera = data.take("<i7di")
        name = data.text()
        (observations,) = data.take("<Q")
        data.skip(24 * observations)
        photographs[key] = make_photograph(f"{path}: image {key} ({name})", name, camera, pose)
    data.finish()
    return photographs


def read_points(path: Path) -> Points:
    """The sparse points and which images see them; raises as `colmap.read_points`."""
    data = _Reader(path)
    count = data.count()
    starts, lengths = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    for index in range(count):
        starts[index] = data.skip(_POINT.itemsize)
        (lengths[index],) = _LENGTH.unpack_from(data.data, data.place - _LENGTH.size)
        data.skip(int(lengths[index]) * _SIGHTING.itemsize)
    data.finish()
    entries = data.at(starts, _POINT)
    require_finite(entries["position"], lambda row: f"{path}: point {entries['id'][row]}")
    tracks = places_of_parts(starts + _POINT.itemsize, lengths, _SIGHTING.itemsize)
    images = data.at(tracks, _SIGHTING)["image"].astype(np.int64)
    return Points(entries["position"], entries["colour"], np.repeat(np.arange(count), lengths), images)


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
        return int(count)

    def at(self, places: np.ndarray, kind: np.dtype) -> np.ndarray:
        """The records of one kind that begin at these places."""
        if not len(places):
            return np.empty(0, kind)
        anywhere = np.ndarray((len(self.data) - kind.itemsize + 1,), kind, self.data, strides=(1,))
        return anywhere[places]

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
