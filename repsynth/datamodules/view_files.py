"""Camera files of RealEstate10K and of data sets that took over its rows (SWORD, ACID, exports of video tools).

Line 1 is the address of the video or another header, every further line a view in 19 columns: its name (a time stamp
in microseconds, or the stem of a picture), fx fy cx cy as fractions of width and height, two numbers that are 0, and
a 3 x 4 world-to-camera matrix row by row, OpenCV axes (publisher's documentation).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from repsynth.datamodules.camera_rows import camera_matrices
from repsynth.datamodules.decimals import fixed_decimals
from repsynth.errors import UserError

COLUMNS = 19
_EXPECTED = "expected a name or time stamp, fx fy cx cy, two zeros and a 3 x 4 world-to-camera matrix"


@dataclass(frozen=True)
class ViewFile:
    """The N views of a camera file, checked."""

    path: Path
    head: str
    """Line 1: the address of the video, or any header."""
    names: list[str]
    """N first columns as they are written."""
    times: np.ndarray
    """[N] int64 first columns as numbers, strictly rising; [0] when they were not asked for."""
    rows: np.ndarray
    """[N] int64 place of each view among all rows of the file, from 0; rows that are left out leave holes."""
    extrinsics: np.ndarray
    """[N, 4, 4] float64 world to camera, in units of the file."""
    intrinsics: np.ndarray
    """[N, 3, 3] float64, normalised."""
    repeated: int
    """Rows left out because their name came before or, where times were asked for, their time does not rise."""


def read_views(path: Path, dataset: str, *, times: bool = False) -> ViewFile:
    """Read and check a camera file.

    Lines after the first that start with `#` and empty lines are skipped; Windows line ends and a missing last one
    are accepted. Columns 6 and 7 must be 0, or a resolution, which some tools write there and which is not used.

    Args:
        path: of the file.
        dataset: its name, for messages.
        times: the first column holds whole microseconds.

    Raises:
        UserError: no such file, no rows, a row in place of the header, a row that is no camera; names file and line.
    """
    where = f"{dataset}: {path}"
    head, lines, numbers = _lines(where, _text(where, path))
    names, cells = _columns(lines)
    values = _values(where, cells, numbers)
    extrinsics, intrinsics = camera_matrices(values, lambda row: f"{where} line {numbers[row]}")
    stamps = _stamps(where, names, numbers) if times else np.empty(0, dtype=np.int64)
    rows = rising(stamps) if times else _first_of_each(names)
    if len(rows) == len(names):
        return ViewFile(path, head, names, stamps, rows, extrinsics, intrinsics, 0)
    return ViewFile(
        path,
        head,
        [names[row] for row in rows],
        stamps[rows] if times else stamps,
        rows,
        extrinsics[rows],
        intrinsics[rows],
        len(names) - len(rows),
    )


def video_id(address: str) -> str | None:
    """The id in the address of a video, as in `https://www.youtube.com/watch?v=<id>`; None for words that are none.

    An address without `v=` gives its last part: `https://youtu.be/<id>`, `<id>`.
    """
    found = re.search(r"[?&]v=([^&#\s]+)", address)
    if found:
        return found[1]
    words = address.lstrip("#").split()
    if len(words) != 1:
        return None
    path = re.split(r"[?&#]", re.sub(r"^\w+://", "", words[0]))[0]
    return re.split(r"[/=]", path.rstrip("/"))[-1] or None


def video_of(file: ViewFile, dataset: str) -> str:
    """The id of the video in line 1 of a camera file.

    Raises:
        UserError: line 1 holds words that are no address.
    """
    video = video_id(file.head)
    if video is None:
        raise UserError(
            f"{dataset}: {file.path} line 1: found {file.head[:40]!r}; expected the address of the video, as in "
            "https://www.youtube.com/watch?v=ID: it tells which clips come from one video"
        )
    return video


def rising(times: np.ndarray) -> np.ndarray:
    """Places [M] int64 of those of N times that are later than all before them: the first of equal ones."""
    later = np.ones(len(times), dtype=bool)
    later[1:] = times[1:] > np.maximum.accumulate(times)[:-1]
    return np.flatnonzero(later)


def _text(where: str, path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{where} cannot be read ({error.strerror}); expected a camera file") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where} is not a text file (byte {error.start}); expected a camera file: get it again or remove it"
        ) from error


def _lines(where: str, text: str) -> tuple[str, list[str], list[int]]:
    """The header, the rows, and the line number of each row."""
    head, *rest = text.splitlines() or [""]
    numbered = [(line, number) for number, line in enumerate(rest, 2) if line and not line.isspace()]
    kept = [(line, number) for line, number in numbered if line[0] != "#"]
    if head.startswith("#") and kept and len(kept[0][0].split()) == 1:
        head, _ = kept.pop(0)  # comments above the address
    if not kept and not head.strip():
        raise UserError(f"{where} is empty; expected a camera file: get it again or remove it")
    if len(head.split()) == COLUMNS:
        raise UserError(
            f"{where} line 1: found {COLUMNS} numbers where the address of the video (or another header) is expected; "
            "put one above them, or the first view would be lost"
        )
    if not kept:
        raise UserError(f"{where} has no rows below line 1; get it again or remove it")
    return head.strip(), [line for line, _ in kept], [number for _, number in kept]


def _columns(lines: list[str]) -> tuple[list[str], list[str]]:
    """The first column, and the other columns of each line as one text."""
    parts = [line.split(None, 1) for line in lines]
    return [part[0] for part in parts], [part[1].rstrip() if len(part) > 1 else "" for part in parts]


def _values(where: str, cells: list[str], numbers: Sequence[int]) -> np.ndarray:
    """[N, 18]."""
    if all(cell.count(" ") == COLUMNS - 2 for cell in cells):
        quick = fixed_decimals(" ".join(cells))
        if quick is not None:
            return quick.reshape(-1, COLUMNS - 1)
    rows = [cell.split() for cell in cells]
    for row, number in zip(rows, numbers, strict=True):
        if len(row) != COLUMNS - 1:
            raise UserError(
                f"{where} line {number}: expected {COLUMNS} numbers, found {len(row) + 1}; {_EXPECTED}"
            )
    try:
        flat = np.fromiter(map(_number, chain.from_iterable(rows)), np.float64)
    except ValueError:
        raise _not_a_number(where, rows, numbers) from None
    return flat.reshape(-1, COLUMNS - 1)


def _number(text: str) -> float:
    if "_" in text:  # Python's grouping of digits, which no file means
        raise ValueError
    return float(text)


def _not_a_number(where: str, rows: list[list[str]], numbers: Sequence[int]) -> UserError:
    for row, number in zip(rows, numbers, strict=True):
        for column, text in enumerate(row, 2):
            try:
                _number(text)
            except ValueError:
                return UserError(
                    f"{where} line {number}: column {column} is {text[:20]!r}, not a number; {_EXPECTED}"
                )
    raise AssertionError("all are numbers")


def _stamps(where: str, names: list[str], numbers: Sequence[int]) -> np.ndarray:
    for name, number in zip(names, numbers, strict=True):
        if not (name.isascii() and name.isdigit()) or len(name) > 18:
            raise UserError(
                f"{where} line {number}: the time stamp is {name[:20]!r}; expected whole microseconds from the start "
                "of the video"
            )
    return np.fromiter(map(int, names), np.int64, len(names))


def _first_of_each(names: list[str]) -> np.ndarray:
    if len(set(names)) == len(names):
        return np.arange(len(names))
    _, places = np.unique(names, return_index=True)
    return np.sort(places)
