"""Chunks of clips as the papers on 3D Gaussians store them: where in a `.torch` file each picture lies.

A chunk is a list of dicts `{url, timestamps [N], cameras [N, 18], images: N uint8 tensors with JPEG bytes, key}`. To
open one takes a quarter of a second (thousands of tensors), far too long for each example of a shuffled epoch. So
each chunk is opened once, and a table of its clips is kept in the folder of caches.
"""

import os
import struct
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from repsynth.cache import cached, from_arrays, key_of
from repsynth.errors import UserError

_VERSION = 1
"""Of the kept form; a change makes older files useless."""
_KEPT_TABLES = 16
_PARALLEL_FROM, _PROCESSES = 16, 8
_KEYS = ("key", "url", "timestamps", "cameras", "images")
_FORM = (
    "expected a list of {key, url, timestamps [N], cameras [N, 18], images: N uint8 tensors with JPEG bytes}"
)
_AGAIN = "get it again, or remove its clips from index.json"
_CHECKED_BYTES = 8


@dataclass(frozen=True, eq=False)
class ChunkTable:
    """The C clips of a chunk and their T pictures."""

    keys: np.ndarray
    """[C] texts."""
    addresses: np.ndarray
    """[C] texts: the video of each clip."""
    starts: np.ndarray
    """[C + 1] int64: the pictures of clip c are starts[c] to starts[c + 1]."""
    times: np.ndarray
    """[T] int64 microseconds."""
    cameras: np.ndarray
    """[T, 18] float32: columns 2 to 19 of a camera file."""
    offsets: np.ndarray
    """[T] int64: place of each picture in the file, in bytes."""
    lengths: np.ndarray
    """[T] int64 bytes."""

    def clip(self, key: str) -> tuple[str, slice] | None:
        """The address and the pictures of a clip; None for one that is not here."""
        found = np.flatnonzero(self.keys == key)
        if not len(found):
            return None
        return str(self.addresses[found[0]]), slice(*self.starts[found[0] : found[0] + 2])


@lru_cache(maxsize=_KEPT_TABLES)
def table_of(path: Path, dataset: str, folder: Path) -> ChunkTable:
    """The table of a chunk.

    Args:
        path: of the chunk.
        dataset: its name, for messages.
        folder: of the cache.

    Raises:
        UserError: no such file, or no chunk of the form above.
    """
    where = f"{dataset}: {path}"
    place = _place(where, path, folder)
    known = _read(place)  # without the lock that `cached` takes: loader processes read all the time
    return cached(place, _read, partial(_table, where, path), _write) if known is None else known


def prepare_tables(paths: Sequence[Path], dataset: str, folder: Path) -> None:
    """Make the tables of many chunks that are not kept yet, on all cores.

    Raises:
        UserError: see `table_of`.
    """
    missing = [path for path in paths if not _place(f"{dataset}: {path}", path, folder).is_file()]
    if len(missing) < _PARALLEL_FROM:
        return
    rank_zero_info(f"{dataset}: looking into {len(missing)} chunks, once; what is found is kept in {folder}")
    processes = min(_PROCESSES, os.cpu_count() or 1)
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        for _ in pool.map(partial(_make, dataset, folder), missing, chunksize=4):
            pass


def _make(dataset: str, folder: Path, path: Path) -> None:
    table_of.__wrapped__(path, dataset, folder)


def _place(where: str, path: Path, folder: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{where} is not there, but index.json names it; {_AGAIN}")
    return folder / f"chunk-{key_of(_VERSION, files=[path])}.npz"


def _read(place: Path) -> ChunkTable | None:
    return from_arrays(
        place, lambda arrays: ChunkTable(**{field.name: arrays[field.name] for field in fields(ChunkTable)})
    )


def _write(table: ChunkTable, file: BinaryIO) -> None:
    np.savez(file, **vars(table))


def _table(where: str, path: Path) -> ChunkTable:
    clips = _loaded(where, path)
    for number, clip in enumerate(clips):
        _check(where, number, clip)
    pictures = [picture for clip in clips for picture in clip["images"]]
    if not pictures:
        raise UserError(f"{where} has clips without any picture; {_FORM}")
    return ChunkTable(
        keys=np.array([str(clip["key"]) for clip in clips]),
        addresses=np.array([str(clip["url"]) for clip in clips]),
        starts=np.cumsum([0, *(len(clip["images"]) for clip in clips)]),
        times=np.concatenate([np.asarray(clip["timestamps"], dtype=np.int64) for clip in clips]),
        cameras=np.concatenate([np.asarray(clip["cameras"], dtype=np.float32) for clip in clips]),
        offsets=_offsets(where, path, clips),
        lengths=np.array([len(picture) for picture in pictures], dtype=np.int64),
    )


def _loaded(where: str, path: Path) -> list[dict[str, Any]]:
    """Mapped, not read: only the pages that are looked at come into memory."""
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"{where} is no archive of torch.save (or one that is cut off, or in torch's old form); {_AGAIN}"
        )
    try:
        clips = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, UnpicklingError, OSError, EOFError, ValueError, KeyError) as error:
        words = str(error).strip().split(". ")[0].splitlines()[0][:100]
        raise UserError(f"{where} cannot be read as a chunk ({words}); {_FORM}: {_AGAIN}") from error
    if not isinstance(clips, list) or not clips or not all(isinstance(clip, dict) for clip in clips):
        raise UserError(f"{where} holds {_words(clips)}; {_FORM}")
    return clips


def _words(content: Any) -> str:  # noqa: ANN401  whatever the file holds
    return f"a {type(content).__name__}" + (" without clips" if isinstance(content, list) else "")


def _check(where: str, number: int, clip: dict[str, Any]) -> None:
    missing = [key for key in _KEYS if key not in clip]
    if missing:
        raise UserError(f"{where}: clip {number} has no {', '.join(missing)}; {_FORM}")
    where = f"{where}: clip {clip['key']}"
    images, cameras = clip["images"], clip["cameras"]
    if not isinstance(images, list) or not all(map(_is_encoded, images)):
        raise UserError(f"{where}: its images are not encoded; {_FORM}")
    times, pictures = len(clip["timestamps"]), len(images)
    shape = list(cameras.shape) if isinstance(cameras, Tensor) else f"that are a {type(cameras).__name__}"
    if times != pictures or shape != [pictures, 18]:
        raise UserError(f"{where}: has {times} timestamps, {pictures} images and cameras {shape}; {_FORM}")


def _is_encoded(image: Any) -> bool:  # noqa: ANN401  whatever the file holds
    return isinstance(image, Tensor) and image.dtype == torch.uint8 and image.dim() == 1


def _offsets(where: str, path: Path, clips: list[dict[str, Any]]) -> np.ndarray:
    """[T] where in the file each picture begins.

    The file is mapped as a whole, so that places in the file differ like addresses in memory.
    """
    lowest = min(tensor.untyped_storage().data_ptr() for tensor in _tensors(clips))
    pictures = [picture for clip in clips for picture in clip["images"]]
    addresses = np.array([picture.data_ptr() for picture in pictures], dtype=np.int64)
    offsets = addresses - lowest + _first_record(path)
    with path.open("rb") as file:
        for number in {0, len(pictures) // 2, len(pictures) - 1}:
            file.seek(offsets[number])
            expected = pictures[number][:_CHECKED_BYTES].numpy().tobytes()
            if file.read(len(expected)) != expected:
                raise UserError(
                    f"{where}: its pictures do not lie where they should; save it with torch.save again"
                )
    return offsets


def _tensors(clips: list[dict[str, Any]]) -> Iterator[Tensor]:
    """All that occupy a place in the file."""
    for clip in clips:
        for value in clip.values():
            for tensor in value if isinstance(value, list) else [value]:
                if isinstance(tensor, Tensor) and tensor.untyped_storage().nbytes():
                    yield tensor


def _first_record(path: Path) -> int:
    """Where the bytes of the first tensor begin: after the head of its entry in the archive."""
    with zipfile.ZipFile(path) as archive:
        records = [entry for entry in archive.infolist() if "/data/" in entry.filename and entry.file_size]
    start = min(entry.header_offset for entry in records)
    with path.open("rb") as file:
        file.seek(start + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    return start + 30 + int(name) + int(extra)
