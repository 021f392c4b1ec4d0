"""RealEstate10K as files, whose clips are parsed once: a table of them in the folder of caches.

To parse the camera file of a clip and to list its frames takes longer than to decode a picture, and an epoch comes to
each of 65,000 clips before it comes to one again. Of the table only the pages that are looked at come into memory,
once for all processes of a machine. A file of the records of all clips, an index, and the size of that:

    record: N rows (`_row_of`), as wide as the longest name of a picture asks for
    index: JSON {"names": C clips, "videos": their ids, "counts": their N, "starts": C + 1 places of records in bytes}
"""

import fcntl
import json
import mmap
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self, overload

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from repsynth.cache import cached, key_of
from repsynth.datamodules.camera_rows import as_matrices
from repsynth.datamodules.folder_clips import FolderClip, FolderClips
from repsynth.datamodules.posed_scene import PosedScene
from repsynth.errors import UserError

_VERSION = 1
"""Of the kept form; a change makes older files useless."""
_MANY, _PROCESSES = 1000, 8
_WORD = 8
"""Bytes: every number of a row lies at a multiple of them."""
_END = struct.Struct("<8sQ")
"""What a whole file ends with: these bytes and the size of the index."""
_MARK = b"repclips"


@dataclass(frozen=True)
class KeptClips:
    """Reads what `FolderClips` reads, from a table once it is `prepared`."""

    clips: FolderClips
    table: Path | None = None
    """Holds the clips that can be read; None leaves all of them to `clips`."""

    def prepared(self) -> Self:
        """With the table, made first where there is none of these files; as it is where none can be written."""
        names = self.clips.names()
        path = self._place(names)
        if cached(path, _table, lambda: None, lambda _, file: self._write(names, file)) is None:
            _remove_others(path)
        return self if _table(path) is None else replace(self, table=path)

    def names(self) -> list[str]:
        """The clips of the part, sorted."""
        return self.clips.names()

    def files(self, name: str) -> list[Path]:
        """The table, whose name changes with the files of the clips."""
        return self.clips.files(name) if self.table is None else [self.table]

    def rows(self, name: str) -> int:
        """Number of rows of its camera file."""
        return self.clips.rows(name)

    def read(self, name: str) -> PosedScene:
        """Cameras of the rows whose frame is there; see `posed_scene.SceneReader`."""
        table = None if self.table is None else _table(self.table)
        clip = None if table is None else table.clip(name)
        return self.clips.read(name) if clip is None else self.clips.scene(name, clip)

    def _place(self, names: list[str]) -> Path:
        """Named by the choice of clips, and by the state of their files."""
        clips, within = self.clips, self.clips.options.within
        choice = key_of(clips.cameras.absolute(), clips.frames.absolute(), clips.selection, within)
        state = key_of(_VERSION, choice, files=(file for name in names for file in clips.files(name)))
        return clips.options.cache / f"clips-{choice[:12]}-{state}.table"

    def _write(self, names: list[str], file: BinaryIO) -> None:
        """One clip after the other: the table of a large set does not fit into memory everywhere."""
        options = self.clips.options
        if len(names) > _MANY:
            rank_zero_info(
                f"{options.dataset}: reading the cameras of {len(names)} clips, once; what is found is kept in "
                f"{options.cache}"
            )
        _write_records(zip(names, _records(self.clips, names), strict=True), file)


@dataclass(frozen=True, eq=False)
class _Table:
    """The clips of a file."""

    mapped: mmap.mmap
    places: dict[str, int]
    """Of the clips in the lists below, by their names."""
    videos: list[str]
    counts: list[int]
    starts: list[int]
    file: BinaryIO
    """Open and locked, which says that the table is in use."""

    def clip(self, name: str) -> FolderClip | None:
        """A clip; None for one that is not here."""
        place = self.places.get(name)
        if place is None:
            return None
        start, end = self.starts[place : place + 2]
        count = self.counts[place]
        rows = np.frombuffer(self.mapped, _row_of((end - start) // count), count, start)
        extrinsics, intrinsics = as_matrices(rows["extrinsics"], rows["intrinsics"])
        pictures = _Names(rows["picture"])
        return FolderClip(self.videos[place], pictures, rows["row"].copy(), extrinsics, intrinsics)


@dataclass(frozen=True, eq=False)
class _Names(Sequence[str]):
    """Names where they lie in the table: an example needs three of a hundred."""

    encoded: np.ndarray
    """[N] bytes."""

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> "_Names": ...

    def __getitem__(self, place: int | slice) -> "str | _Names":
        if isinstance(place, slice):
            return _Names(self.encoded[place])
        return str(self.encoded[place].decode())

    def __len__(self) -> int:
        return len(self.encoded)


_NUMBERS = [("row", "i8"), ("intrinsics", "f8", 4), ("extrinsics", "f8", (3, 4))]
"""The row of the camera file, fx fy cx cy and world to camera as it has them."""


@lru_cache
def _row_of(size: int) -> np.dtype[Any]:
    """The rows of clips whose rows take `size` bytes."""
    return np.dtype([*_NUMBERS, ("picture", f"S{size - np.dtype(_NUMBERS).itemsize}")])


def _table(path: Path) -> _Table | None:
    """The table of a file; None where it is not there, or damaged."""
    try:
        return _opened(path)
    except (OSError, ValueError, KeyError):
        return None


@lru_cache(maxsize=8)
def _opened(path: Path) -> _Table:
    """Once per process."""
    file = path.open("rb")
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        end = len(mapped) - _END.size
        mark, size = _END.unpack(mapped[max(end, 0) :])
        if mark != _MARK:
            raise ValueError
        index = json.loads(mapped[end - size : end])
    except (OSError, ValueError, struct.error) as error:
        file.close()
        raise ValueError(f"{path} is no table of clips") from error
    places = {name: place for place, name in enumerate(index["names"])}
    return _Table(mapped, places, index["videos"], index["counts"], index["starts"], file)


def _remove_others(path: Path) -> None:
    """Remove tables of the same clips that the one at `path` takes the place of, but for those in use."""
    choice, _, _ = path.name.rpartition("-")
    for other in set(path.parent.glob(f"{choice}-*.table")) - {path}:
        with suppress(OSError), other.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            other.unlink()


class _Record(NamedTuple):
    """A clip of N rows, ready to be written."""

    video: str
    frames: int
    """N."""
    rows: bytes


def _write_records(records: Iterable[tuple[str, _Record | None]], file: BinaryIO) -> None:
    index: dict[str, list[Any]] = {"names": [], "videos": [], "counts": [], "starts": [0]}
    for name, record in records:
        if record is not None:
            file.write(record.rows)
            index["names"].append(name)
            index["videos"].append(record.video)
            index["counts"].append(record.frames)
            index["starts"].append(index["starts"][-1] + len(record.rows))
    content = json.dumps(index).encode()
    file.write(content)
    file.write(_END.pack(_MARK, len(content)))


def _records(clips: FolderClips, names: list[str]) -> Iterator[_Record | None]:
    """The record of each clip, None for those that cannot be read, many on all cores."""
    if len(names) <= _MANY:
        yield from map(partial(_record, clips), names)
        return
    processes = min(_PROCESSES, os.cpu_count() or 1)
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        yield from pool.map(partial(_record, clips), names, chunksize=64)


def _record(clips: FolderClips, name: str) -> _Record | None:
    try:
        clip = clips.clip(name)
    except (UserError, OSError):  # whoever reads the clip is told
        return None
    names = np.char.encode(clip.pictures, "ascii")
    words = -(-names.itemsize // _WORD)
    rows = np.zeros(len(names), dtype=_row_of(np.dtype(_NUMBERS).itemsize + words * _WORD))
    rows["row"] = clip.rows
    rows["intrinsics"] = clip.intrinsics[:, [0, 1, 0, 1], [0, 1, 2, 2]]
    rows["extrinsics"] = clip.extrinsics[:, :3]
    rows["picture"] = names
    return _Record(clip.video, len(rows), rows.tobytes())
