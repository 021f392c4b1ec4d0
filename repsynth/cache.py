"""Work that is done once per machine: results in files of a cache folder, under keys that change with their causes.

A file is written beside its place and moved there, so that readers see all of it or nothing. Processes that want the
same result wait for the one that computes it.
"""

import fcntl
import hashlib
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

T = TypeVar("T")


def default_cache() -> Path:
    """`REPSYNTH_CACHE`, else repsynth below `XDG_CACHE_HOME` or ~/.cache."""
    given = os.environ.get("REPSYNTH_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "repsynth"


def key_of(*words: object, files: Iterable[Path] = ()) -> str:
    """32 hexadecimal digits that change with the words, and with path, size and time of change of the files."""
    digest = hashlib.sha256(" ".join(map(str, words)).encode())
    for file in files:
        try:
            state = file.stat()
            digest.update(f"{file.absolute()} {state.st_size} {state.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{file.absolute()} missing\n".encode())
    return digest.hexdigest()[:32]


def cached(
    path: Path,
    read: Callable[[Path], T | None],
    build: Callable[[], T],
    write: Callable[[T, BinaryIO], object],
) -> T:
    """What the file of a key holds; built and written when it is not there or cannot be read.

    A folder that cannot be written costs the work again at the next start, and a warning.

    Args:
        path: of the file, its name with the key.
        read: returns None when the file is not there, or damaged.
        build: does the work; of the processes of a machine one at a time.
        write: the result to the open file.
    """
    with _alone(path) as writable:
        known = read(path)
        if known is None:
            known = build()
            if not (writable and _written(path, known, write)):
                warnings.warn(
                    f"{path} cannot be written: what it should hold is computed again at every start; set "
                    "REPSYNTH_CACHE to a folder with room",
                    stacklevel=2,
                )
        return known


def from_arrays(path: Path, build: Callable[[Mapping[str, np.ndarray]], T]) -> T | None:
    """Return what `build` makes of the arrays that `numpy.savez` wrote; None when they are not there, or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return build(arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _written(path: Path, known: T, write: Callable[[T, BinaryIO], object]) -> bool:
    part = None
    try:
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, suffix=".part", delete=False) as file:
            part = Path(file.name)
            write(known, file)  # type: ignore[arg-type]  # the wrapper of a BinaryIO
        part.replace(path)
    except OSError:
        return False
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return True


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Hold the lock of a cache file; yields whether the cache can be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w")
    except OSError:
        yield False
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield True
