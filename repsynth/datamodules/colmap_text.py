"""COLMAP's text files cameras.txt, images.txt and points3D.txt, as its documentation describes them."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

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

_CAMERA = "CAMERA_ID MODEL WIDTH HEIGHT PARAMS"
_IMAGE = "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
_SIGHTINGS = (
    "the line X Y POINT3D_ID X Y POINT3D_ID ... of the image above, which may be empty but not missing"
)
_FIRST_SIGHTING = 8
_POINT = "POINT3D_ID X Y Z R G B ERROR and pairs IMAGE_ID POINT2D_IDX"


def read_cameras(path: Path) -> dict[int, Camera]:
    """Cameras by id; raises as `colmap.read_cameras`."""
    numbers = {name: key for key, (name, *_) in MODELS.items()}
    cameras: dict[int, Camera] = {}
    for where, line in _entries(path):
        key, model, width, height, *values = _columns(where, line, _CAMERA, 4)
        if model not in numbers:
            raise UserError(
                f"{where}: camera {key} has the unknown model {model}; expected one of {', '.join(numbers)}"
            )
        number = numbers[model]
        if len(values) != MODELS[number][1]:
            raise UserError(
                f"{where}: {model} has {MODELS[number][1]} parameters, found {len(values)}; expected {_CAMERA}"
            )
        camera, across, down = _integers(where, [key, width, height], _CAMERA)
        _require_new(where, camera, cameras)
        cameras[camera] = make_camera(
            f"{where}: camera {camera}", number, across, down, _numbers(where, values, _CAMERA)
        )
    return cameras


def read_photographs(path: Path) -> dict[int, Photograph]:
    """Poses by image id; raises as `colmap.read_photographs`."""
    photographs: dict[int, Photograph] = {}
    entries = _entries(path, in_pairs=True)
    for where, line in entries:
        key, *pose, camera, name = _columns(where, line, _IMAGE, 10, 9)
        image, of = _integers(where, [key, camera], _IMAGE)
        _require_new(where, image, photographs)
        photographs[image] = make_photograph(
            f"{where}: image {image} ({name})", name, of, _numbers(where, pose, _IMAGE)
        )
    return photographs


def read_points(path: Path) -> Points:
    """The sparse points and which images see them; raises as `colmap.read_points`."""
    entries = list(_entries(path))
    values, counts = _table(entries)
    for row in np.flatnonzero((counts < _FIRST_SIGHTING) | (counts % 2 == 1)):
        raise UserError(f"{entries[row][0]}: found {counts[row]} columns; expected {_POINT}")
    starts = np.cumsum(counts) - counts
    positions, colours = (values[starts[:, None] + columns] for columns in ([1, 2, 3], [4, 5, 6]))
    require_finite(positions, lambda row: entries[row][0])
    for row in np.flatnonzero((~np.isin(colours, np.arange(256))).any(axis=1)):
        raise UserError(
            f"{entries[row][0]}: the colour is {' '.join(f'{value:g}' for value in colours[row])}; expected R G B, "
            "whole numbers from 0 to 255"
        )
    lengths = (counts - _FIRST_SIGHTING) // 2
    images = values[places_of_parts(starts + _FIRST_SIGHTING, lengths, 2)]
    numbers = np.repeat(np.arange(len(entries)), lengths)
    for place in np.flatnonzero(images != np.floor(images)):
        raise UserError(
            f"{entries[numbers[place]][0]}: the track names the image {images[place]:g}; expected {_POINT}"
        )
    return Points(positions, colours.astype(np.uint8), numbers, images.astype(np.int64))


def _table(entries: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of lines [sum of counts] float64, and how many each line has [N]."""
    lines = [line.strip() for _, line in entries]
    counts = np.array([line.count(" ") + 1 for line in lines], dtype=np.int64)
    values = _numbers_at_once(" ".join(lines))
    if len(values) == counts.sum():
        return values, counts
    rows = [_numbers(where, line.split(), _POINT) for where, line in entries]
    counts = np.array([len(row) for row in rows], dtype=np.int64)
    return np.array([value for row in rows for value in row]), counts


def _numbers_at_once(text: str) -> np.ndarray:
    """The numbers of a text with single blanks between them; fewer or none of any other text."""
    if "  " in text or "\t" in text or not text:
        return np.empty(0)
    with warnings.catch_warnings(), suppress(ValueError):
        # Older versions of NumPy only warn of what is no number and stop there.
        warnings.simplefilter("ignore", DeprecationWarning)
        return np.fromstring(text, sep=" ")
    return np.empty(0)


def _entries(path: Path, in_pairs: bool = False) -> Iterator[tuple[str, str]]:
    """File and line number for messages, and the line, of each entry; of images every second line is left out."""
    lines = iter(enumerate(_text(path).split("\n"), 1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        yield f"{path} line {number}", line
        if in_pairs:
            _check_sightings(path, *next(lines, (number + 1, "")))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a COLMAP file") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: is not a text file (byte {error.start}); export the model in text form, or name it .bin"
        ) from error


def _check_sightings(path: Path, number: int, line: str) -> None:
    """The line below an image: without it, the next image would be taken for it and be lost."""
    words = line.split()
    if len(words) % 3 or (words and not _is_integer(words[-1])):
        raise UserError(
            f"{path} line {number}: found {line.strip()[:40]!r}; expected {_SIGHTINGS}: export the model anew"
        )


def _columns(where: str, line: str, expected: str, least: int, splits: int = -1) -> list[str]:
    words = line.strip().split(maxsplit=splits)
    if len(words) < least:
        raise UserError(f"{where}: found {len(words)} columns; expected {expected}")
    return words


def _numbers(where: str, words: Sequence[str], expected: str) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:
        raise UserError(
            f"{where}: {' '.join(words)[:60]!r} are not all numbers; expected {expected}"
        ) from None


def _integers(where: str, words: Sequence[str], expected: str) -> list[int]:
    try:
        return [int(word) for word in words]
    except ValueError:
        raise UserError(
            f"{where}: {' '.join(words)[:60]!r} are not all whole numbers; expected {expected}"
        ) from None


def _is_integer(word: str) -> bool:
    return word.lstrip("+-").isdigit()


def _require_new(where: str, key: int, known: dict[int, Camera] | dict[int, Photograph]) -> None:
    if key in known:
        raise UserError(f"{where}: the id {key} came before; expected each once: export the model anew")
