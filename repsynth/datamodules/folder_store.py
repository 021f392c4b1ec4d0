"""Pictures as files below a folder."""

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repsynth.datamodules.picture_names import is_hidden, packed, unpacked
from repsynth.errors import UserError


@dataclass(frozen=True, eq=False)
class FolderStore:
    """Files in the order of their names; see `image_stores.ImageStore`."""

    root: Path
    names: np.ndarray
    """[N] relative names, sorted and packed."""

    @classmethod
    def of(cls, root: Path, names: list[str]) -> "FolderStore":
        """The named files below `root`."""
        return cls(root, packed(sorted(names)))

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The path below the folder."""
        return unpacked(self.names, index)

    def label(self, index: int) -> str:
        """The path."""
        return str(self.root / self.name(index))

    def encoded(self, index: int, most: int | None = None) -> bytes:
        """The content of the file, or its first bytes."""
        path = self.label(index)
        try:
            descriptor = os.open(path, os.O_RDONLY)  # half the time of a file object
            try:
                return os.read(descriptor, most or os.fstat(descriptor).st_size)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; an image was expected here") from None
        except OSError as error:
            raise UserError(
                f"{path}: cannot be read ({error.strerror}); see to its rights or remove it"
            ) from error

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return [self.root / self.name(index) for index in range(len(self))]


def files_below(root: Path) -> list[str]:
    """The relative names of all files below a folder that are not hidden, in any order.

    Links are followed, but no folder is read twice, so that links in a circle end; its own name counts before that of
    a link to it.

    Raises:
        UserError: a folder cannot be read.
    """
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    folders = deque([""])
    while folders:
        prefix = folders.popleft()
        try:
            state = (root / prefix).stat()
            if (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
            with os.scandir(root / prefix) as entries:
                visible = sorted(
                    (entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name
                )
        except OSError as error:
            raise UserError(
                f"{root / prefix} cannot be read ({error.strerror}); see to its rights"
            ) from error
        for entry in visible:
            name = prefix + entry.name
            if not entry.is_dir():
                found.append(name)  # a link that leads nowhere too: whoever reads it says so
            elif entry.is_symlink():
                folders.append(f"{name}/")
            else:
                folders.appendleft(f"{name}/")
    return found
