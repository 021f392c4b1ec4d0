"""Reading parts of large files at random: opened once in each process, after it was forked."""

import os
import weakref
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from repsynth.errors import UserError

_KEPT_OPEN = 128
"""Fewer than the 1024 files that a process may have open by default."""


@dataclass(frozen=True)
class FileState:
    """A file as it was when its content was listed."""

    path: Path
    size: int
    changed: int
    """Nanoseconds."""

    @classmethod
    def of(cls, path: Path) -> "FileState":
        """The file as it is now.

        Raises:
            UserError: it cannot be looked at.
        """
        try:
            state = path.stat()
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}); put it there or see to its rights"
            ) from error
        return cls(path, state.st_size, state.st_mtime_ns)

    def read(self, offset: int, size: int, label: str) -> bytes:
        """The bytes from `offset` on.

        Args:
            offset: of the first.
            size: their number.
            label: what they are, for the message.

        Raises:
            UserError: there are not so many, or the file cannot be read any more.
        """
        try:
            file = _opened(self, os.getpid())
            content = os.pread(file.number, size, offset)
            while 0 < len(content) < size:  # one call reads 2 GiB at most
                more = os.pread(file.number, size - len(content), offset + len(content))
                if not more:
                    break
                content += more
        except OSError as error:
            raise UserError(f"{label}: cannot be read ({error.strerror}); see to the archive") from error
        if len(content) < size:
            raise UserError(f"{label}: the file ends before it; get the archive again")
        return content


class _Descriptor:
    """An open file; closed when nobody holds it any more."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.number).atexit = False


@lru_cache(maxsize=_KEPT_OPEN)
def _opened(state: FileState, process: int) -> _Descriptor:
    """One per state and process."""
    return _Descriptor(state.path)
