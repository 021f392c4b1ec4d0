"""Pictures inside an LMDB: those of LSUN, and those that the official CIPS code prepares."""

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from repsynth.cache import cached, from_arrays, key_of
from repsynth.datamodules.byte_ranges import FileState
from repsynth.datamodules.picture_names import is_encoded_picture, packed, unpacked
from repsynth.errors import UserError

DATA = "data.mdb"
_VERSION = 1
"""Of the cached form; a change makes older files useless."""
_LENGTH = "length"
"""The entry that only the LMDB of CIPS has: the number of its pictures."""
_LSUN_KEY = re.compile(r"[0-9a-fA-F]{40}")
_SHOWN_BYTES = 8


@dataclass(frozen=True, eq=False)
class LmdbStore:
    """Pictures in the order of their keys; see `image_stores.ImageStore`."""

    data: FileState
    """Of the file data.mdb."""
    names: np.ndarray
    """[N] keys of the pictures, packed, sorted."""
    is_numbered: bool
    """Whether this is the LMDB of CIPS, whose keys are the numbers of the pictures; else it is one of LSUN."""

    @classmethod
    def of(cls, folder: Path, dataset: str, cache: Path) -> "LmdbStore":
        """List the folder of an LMDB, from the cache where it has not changed.

        Args:
            folder: with data.mdb.
            dataset: for messages.
            cache: folder where the outcome is kept.

        Raises:
            UserError: the package lmdb is missing, the file is damaged, or holds no pictures or not all of them.
        """
        data = FileState.of(folder / DATA)
        _package(data, dataset)
        place = cache / f"lmdb-{key_of(_VERSION, files=[data.path])}.npz"
        keys = cached(place, _read, lambda: _keys(data, dataset), _write)
        names = [unpacked(keys, index) for index in range(len(keys))]
        is_numbered = _LENGTH in names
        wanted = _numbered(names, data, dataset) if is_numbered else _hexadecimal(names, data, dataset)
        store = cls(data, packed(wanted), is_numbered)
        start = store.encoded(0, _SHOWN_BYTES + 4)
        if not is_encoded_picture(start):
            raise _no_images(data, dataset, wanted[0], start)
        return store

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The key."""
        return unpacked(self.names, index)

    def label(self, index: int) -> str:
        """The folder and the key."""
        return f"{self.data.path.parent}: {self.name(index)}"

    def encoded(self, index: int, most: int | None = None) -> bytes:
        """The picture's bytes, or the first of them."""
        content = _value(self.data, self.name(index), most)
        if content is None:
            raise UserError(f"{self.label(index)}: the LMDB has lost this key; get it again")
        return content

    @property
    def files(self) -> list[Path]:
        """The file of the LMDB."""
        return [self.data.path]


def _numbered(names: Sequence[str], data: FileState, dataset: str) -> list[str]:
    """The keys of CIPS' own preparation, by their number."""
    content = _value(data, _LENGTH) or b""
    if not content.isdigit() or int(content) == 0:
        raise UserError(
            f"{dataset}: {data.path.parent}: its entry {_LENGTH} is {content[:20]!r}, expected the number of pictures; "
            "prepare it again"
        )
    wanted = [f"{number:07d}" for number in range(int(content))]
    there = set(names)
    missing = [name for name in wanted if name not in there]
    if missing:
        raise UserError(
            f"{dataset}: {data.path.parent} holds {len(wanted) - len(missing)} of {len(wanted)} pictures, first "
            f"missing {missing[0]}; its preparation was interrupted: prepare it again"
        )
    return wanted


def _hexadecimal(names: Sequence[str], data: FileState, dataset: str) -> list[str]:
    """The keys of LSUN."""
    if not names:
        raise UserError(f"{dataset}: opened an LMDB without images: {data.path.parent} has no entry at all")
    strange = next((name for name in names if not _LSUN_KEY.fullmatch(name)), None)
    if strange is not None:
        raise _no_images(data, dataset, strange, _value(data, strange) or b"")
    return sorted(names)


def _no_images(data: FileState, dataset: str, key: str, content: bytes) -> UserError:
    return UserError(
        f"{dataset}: opened an LMDB without images: first key {key!r}, first bytes {content[:_SHOWN_BYTES].hex(' ')} "
        f"(in {data.path.parent}); expected keys of 40 hexadecimal digits (LSUN) or numbers with an entry {_LENGTH} "
        "(CIPS), and JPEG, PNG or WebP"
    )


def _keys(data: FileState, dataset: str) -> np.ndarray:
    """All keys of an LMDB, in its order."""
    lmdb = _package(data, dataset)
    try:
        with _environment(data).begin() as transaction:
            return packed(os.fsdecode(key) for key in transaction.cursor().iternext(values=False))
    except lmdb.Error as error:
        raise _damaged(data, error) from error


def _value(data: FileState, key: str, most: int | None = None) -> bytes | None:
    lmdb = _package(data, "LMDB")
    try:
        with _environment(data).begin(buffers=True) as transaction:
            content = transaction.get(os.fsencode(key))
            return None if content is None else bytes(content[:most])
    except lmdb.Error as error:
        raise _damaged(data, error) from error


_open: dict[Path, tuple[int, FileState, Any]] = {}
"""The environments of this process: opening one twice is an error, using one that another process opened undefined."""
_opening = threading.Lock()


def _environment(data: FileState) -> Any:  # noqa: ANN401  of an optional package
    """The environment of a file, opened by this process."""
    place = data.path.parent.resolve()
    with _opening:
        known = _open.get(place)
        if known is None or known[:2] != (os.getpid(), data):
            if known is not None:
                known[2].close()
            _open[place] = os.getpid(), data, _opened(data)
        return _open[place][2]


def _opened(data: FileState) -> Any:  # noqa: ANN401  of an optional package
    import lmdb

    if data.size == 0:  # lmdb takes it for a new one
        raise _damaged(data, "it is empty")
    environment = lmdb.open(
        str(data.path.parent), readonly=True, lock=False, readahead=False, meminit=False, create=False
    )
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if needed > data.size:  # reading there would end the process
        environment.close()
        raise _damaged(data, f"it has {data.size} bytes of {needed}")
    return environment


def _damaged(data: FileState, words: object) -> UserError:
    return UserError(f"{data.path} cannot be read as an LMDB ({words}); get it again")


def _package(data: FileState, dataset: str) -> Any:  # noqa: ANN401  an optional package
    try:
        import lmdb
    except ImportError as error:
        raise UserError(
            f"{dataset}: {data.path.parent} is an LMDB, and the lmdb package is missing: pip install repsynth[lmdb]"
        ) from error
    return lmdb


def _read(place: Path) -> np.ndarray | None:
    return from_arrays(place, lambda arrays: arrays["keys"])


def _write(keys: np.ndarray, file: BinaryIO) -> None:
    np.savez(file, keys=keys)
