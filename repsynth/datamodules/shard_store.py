"""Pictures inside tar archives (the shards of WebDataset), found once and then read at random."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from repsynth.cache import cached, from_arrays, key_of
from repsynth.datamodules.byte_ranges import FileState
from repsynth.datamodules.picture_names import SUFFIXES, is_picture, packed, require_unique, unpacked
from repsynth.errors import UserError

_VERSION = 1
"""Of the cached form; a change makes older files useless."""
_BLOCK = 512
_END = bytes(_BLOCK)

_Member = tuple[str, int, int, int]
"""Name, number of its archive, first byte, bytes."""


@dataclass(frozen=True, eq=False)
class ShardStore:
    """Members in the order of their names; see `image_stores.ImageStore`."""

    archives: list[FileState]
    names: np.ndarray
    """[N] packed, sorted."""
    places: np.ndarray
    """[N, 3] int64: the archive of each member, where it begins, and its bytes."""

    @classmethod
    def of(cls, root: Path, shards: list[str], dataset: str, cache: Path) -> "ShardStore":
        """List archives, from the cache where they have not changed.

        Args:
            root: their folder, or the only one.
            shards: their names below the folder; empty for the only one.
            dataset: for messages.
            cache: folder where the outcome is kept.

        Raises:
            UserError: no tar archive, a damaged one, or no pictures in any.
        """
        paths = [root / name for name in sorted(shards)] or [root]
        prefixes = [name.removesuffix(".tar") + "/" for name in sorted(shards)] or [""]
        place = cache / f"tar-{key_of(_VERSION, root, files=paths)}.npz"
        names, places = cached(place, _read, lambda: _listed(paths, prefixes, dataset), _write)
        return cls([FileState.of(path) for path in paths], names, places)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The name inside the archive, below that of the archive where there are several."""
        return unpacked(self.names, index)

    def label(self, index: int) -> str:
        """The archive and the name of the picture."""
        return f"{self.archives[self.places[index, 0]].path}: {self.name(index)}"

    def encoded(self, index: int, most: int | None = None) -> bytes:
        """The picture's bytes, or the first of them."""
        archive, start, size = self.places[index].tolist()
        return self.archives[archive].read(start, min(size, most or size), self.label(index))

    @property
    def files(self) -> list[Path]:
        """The archives."""
        return [archive.path for archive in self.archives]


def _listed(paths: list[Path], prefixes: list[str], dataset: str) -> tuple[np.ndarray, np.ndarray]:
    members = [
        (prefix + name, number, start, size)
        for number, (path, prefix) in enumerate(zip(paths, prefixes, strict=True))
        for name, start, size in _members(path, f"{dataset}: {path}")
    ]
    where = f"{dataset}: {paths[0]}" + (f" (and {len(paths) - 1} more)" if len(paths) > 1 else "")
    if not members:
        raise UserError(f"{where}: no image inside (suffixes: {' '.join(SUFFIXES)})")
    members.sort()
    require_unique((member[0] for member in members), where)
    return packed(each[0] for each in members), np.array([each[1:] for each in members], dtype=np.int64)


def _members(path: Path, where: str) -> Iterator[tuple[str, int, int]]:
    """The pictures of one archive: name, first byte, bytes."""
    try:
        with tarfile.open(path, "r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it keeps all that it saw
                if not is_picture(member.name) or member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise UserError(
                        f"{where}: {member.name} is no plain file; write the archive without links or holes"
                    )
                yield member.name, member.offset_data, member.size
            end = archive.offset
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(
            f"{where} cannot be read as a tar archive ({error}); expected one without compression, whole: get it "
            "again, or unpack a compressed one"
        ) from error
    with path.open("rb") as file:
        file.seek(end)
        if file.read(_BLOCK) != _END:  # tarfile takes a broken head for the end
            raise UserError(f"{where} is cut off or damaged at byte {end}; get it again")


def _read(place: Path) -> tuple[np.ndarray, np.ndarray] | None:
    return from_arrays(place, lambda arrays: (arrays["names"], arrays["places"]))


def _write(listed: tuple[np.ndarray, np.ndarray], file: BinaryIO) -> None:
    np.savez(file, names=listed[0], places=listed[1])
