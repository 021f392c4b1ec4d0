"""Where prepared pictures go: files in a folder, or the same files inside a zip archive; see `lmdb_target` too.

Processes prepare pictures in any order, and whoever started them takes them in the order of the source. What is there
when a run starts is kept, so that a broken run goes on.
"""

import secrets
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from repsynth.datamodules.picture_names import SUFFIXES, packed, unpacked
from repsynth.errors import UserError

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The time of every file in an archive, so that equal pictures make equal archives."""


@dataclass(frozen=True)
class Done:
    """What became of one picture of the source."""

    index: int
    made: bool = False
    """Whether any size was not there yet."""
    contents: dict[int, bytes] | None = None
    """The encoded pictures by size that are still to be stored."""
    complaint: str | None = None
    """Why it cannot be used, in a sentence."""


class Target(Protocol):
    """Takes the prepared pictures; can be pickled."""

    def first(self) -> int:
        """The first picture of the source that some size lacks, as far as that is known at once."""

    def lacking(self, index: int) -> list[int]:
        """The sizes that a picture of the source is still wanted in."""

    def keep(self, index: int, contents: dict[int, bytes]) -> dict[int, bytes]:
        """Called where a picture was prepared: what is left for `accept` to store.

        Raises:
            OSError: it cannot be written.
        """

    def accept(self, done: Done) -> None:
        """Called once for each picture from `first` on, in their order.

        Raises:
            OSError: it cannot be written.
        """

    def left_out(self) -> dict[int, str]:
        """Pictures before `first` that cannot be used, with their sentences."""

    def finish(self) -> None:
        """Called when all pictures have been accepted.

        Raises:
            OSError: it cannot be written.
        """


@dataclass(frozen=True, eq=False)
class FolderTarget:
    """A file for each picture, below a folder for each size."""

    places: dict[int, Path]
    """The folders by size."""
    names: np.ndarray
    """[N] packed, relative names of the files."""
    unfinished: Path
    """A folder on the same file system for files that are not yet whole."""

    def first(self) -> int:
        """Files may be missing anywhere."""
        return 0

    def lacking(self, index: int) -> list[int]:
        """The sizes without a file; an empty one is what a power cut leaves."""
        return [size for size in self.places if not _has_content(self.path(size, index))]

    def keep(self, index: int, contents: dict[int, bytes]) -> dict[int, bytes]:
        """Write the files, each under a temporary name first."""
        for size, content in contents.items():
            path = self.path(size, index)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.unfinished / secrets.token_hex(8)
            temporary.write_bytes(content)
            temporary.replace(path)
        return {}

    def accept(self, done: Done) -> None:
        """Nothing is left to do."""

    def left_out(self) -> dict[int, str]:
        """They are found again."""
        return {}

    def finish(self) -> None:
        """Remove what broken runs left behind."""
        shutil.rmtree(self.unfinished, ignore_errors=True)

    def path(self, size: int, index: int) -> Path:
        """The file of a picture."""
        return self.places[size] / unpacked(self.names, index)


@dataclass(frozen=True, eq=False)
class ZipTarget:
    """A zip archive for each size, packed when all its files are there."""

    archives: dict[int, Path]
    """By size."""
    files: FolderTarget
    """For the sizes whose archive is not there, and only until it is."""

    @classmethod
    def of(cls, archives: dict[int, Path], names: np.ndarray, unfinished: Path) -> "ZipTarget":
        """Archives that hold files with these names."""
        places = {size: _files_of(path) for size, path in archives.items() if not path.exists()}
        return cls(archives, FolderTarget(places, names, unfinished))

    def first(self) -> int:
        """Files may be missing anywhere."""
        return 0 if self.files.places else len(self.files.names)

    def lacking(self, index: int) -> list[int]:
        """The sizes without a file."""
        return self.files.lacking(index)

    def keep(self, index: int, contents: dict[int, bytes]) -> dict[int, bytes]:
        """Write the files."""
        return self.files.keep(index, contents)

    def accept(self, done: Done) -> None:
        """Nothing is left to do."""

    def left_out(self) -> dict[int, str]:
        """They are found again."""
        return {}

    def finish(self) -> None:
        """Pack the files and remove them."""
        for size in self.files.places:
            part = self.files.unfinished / f"{size}.zip"
            with zipfile.ZipFile(part, "w") as archive:
                for index in range(len(self.files.names)):
                    path = self.files.path(size, index)
                    if path.exists():  # pictures that cannot be used have none
                        _add(archive, unpacked(self.files.names, index), path)
            part.replace(self.archives[size])
        for path in self.archives.values():
            shutil.rmtree(_files_of(path), ignore_errors=True)
        self.files.finish()


def file_names(names: Iterable[str], suffix: str) -> np.ndarray:
    """The names of prepared files, [N] packed: those of the source with another suffix.

    Raises:
        UserError: two would be the same, or one would lie outside its folder.
    """
    made: dict[str, str] = {}
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if name.startswith("/") or "" in parts or ".." in parts or "." in parts:
            raise UserError(
                f"{name}: the source gives a picture this name, which may lead out of TARGET; rename it, or use "
                "--to lmdb, which numbers pictures"
            )
        stem = next((name[: -len(end)] for end in SUFFIXES if name.lower().endswith(end)), name)
        file = stem + suffix
        if file in made:
            raise UserError(
                f"{made[file]} and {name} would both become {file}; rename one, or use --to lmdb, which numbers "
                "pictures"
            )
        made[file] = name
    return packed(made)


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _files_of(archive: Path) -> Path:
    """The folder of what goes into an archive."""
    return archive.with_name(f".{archive.stem}.files")


def _add(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    entry = zipfile.ZipInfo(name, _LONG_AGO)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, path.read_bytes())
