"""Pictures inside a zip archive, read at random without unpacking it."""

import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repsynth.datamodules.byte_ranges import FileState
from repsynth.datamodules.picture_names import is_picture, packed, require_unique, unpacked
from repsynth.errors import UserError

_HEAD, _SIGNATURE = 30, b"PK\x03\x04"
"""Bytes of an entry's own head before its name, and how it begins."""
_TABLES = 512
"""Bytes that a deflated entry may hold before its content begins, and more."""
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True, eq=False)
class ZipStore:
    """Entries in the order of their names; see `image_stores.ImageStore`."""

    archive: FileState
    names: np.ndarray
    """[N] packed, sorted."""
    places: np.ndarray
    """[N, 4] int64: where each entry's head is, its bytes in the archive, its method, and its check sum."""

    @classmethod
    def of(cls, path: Path, dataset: str) -> "ZipStore":
        """List an archive.

        Raises:
            UserError: no zip archive, no pictures in it, or entries that cannot be read at random.
        """
        archive = FileState.of(path)
        where = f"{dataset}: {path}"
        entries = _entries(path, where)
        pictures = [entry for entry in entries if is_picture(entry.filename)]
        if not pictures:
            raise UserError(_without_pictures(where, [entry.filename for entry in entries]))
        pictures.sort(key=lambda entry: entry.filename)
        for entry in pictures:
            _check(entry, where)
        require_unique((entry.filename for entry in pictures), where)
        places = [(each.header_offset, each.compress_size, each.compress_type, each.CRC) for each in pictures]
        return cls(archive, packed(each.filename for each in pictures), np.array(places, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The name inside the archive."""
        return unpacked(self.names, index)

    def label(self, index: int) -> str:
        """The archive and the name inside it."""
        return f"{self.archive.path}: {self.name(index)}"

    def encoded(self, index: int, most: int | None = None) -> bytes:
        """The picture's bytes, unpacked, or the first of them."""
        label = self.label(index)
        start, size, method, check = self.places[index].tolist()
        head = self.archive.read(start, _HEAD, label)
        if not head.startswith(_SIGNATURE):
            raise UserError(f"{label}: does not lie where the archive says; get the archive again")
        name, extra = struct.unpack("<HH", head[-4:])
        length = size if most is None else min(size, most + _TABLES)
        content = self.archive.read(start + _HEAD + name + extra, length, label)
        if method == zipfile.ZIP_DEFLATED:
            content = _inflated(content, most, label)
        if most is None and zlib.crc32(content) != check:
            raise UserError(f"{label}: its check sum is another; the archive is damaged, get it again")
        return content[:most]

    @property
    def files(self) -> list[Path]:
        """The archive."""
        return [self.archive.path]


def _entries(path: Path, where: str) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [entry for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise UserError(
            f"{where} cannot be read as a zip archive ({error}); an interrupted download is cut off: get it again"
        ) from error


def _check(entry: zipfile.ZipInfo, where: str) -> None:
    if entry.flag_bits & _ENCRYPTED:
        raise UserError(
            f"{where}: {entry.filename} is encrypted; unpack the archive and name the folder instead"
        )
    if entry.compress_type not in _METHODS:
        method = zipfile.compressor_names.get(entry.compress_type, entry.compress_type)  # type: ignore[attr-defined]
        raise UserError(
            f"{where}: {entry.filename} is compressed by {method}, expected entries that are stored or deflated; "
            "unpack the archive and name the folder instead"
        )


def _without_pictures(where: str, names: list[str]) -> str:
    if any(name.endswith("data.mdb") for name in names):
        return f"{where} holds no pictures but a packed LMDB; unpack it and name the folder with data.mdb instead"
    return f"{where}: {len(names)} files inside but no image (suffixes: .jpg .jpeg .png .webp)"


def _inflated(content: bytes, most: int | None, label: str) -> bytes:
    try:
        unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
        return unpacking.decompress(content, most or 0)
    except zlib.error as error:
        raise UserError(
            f"{label}: cannot be unpacked ({error}); the archive is damaged, get it again"
        ) from error
