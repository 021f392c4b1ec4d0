"""What the C library does with memory that a process frees."""

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""The names of glibc's `mallopt` for: memory that may lie idle, and the size from which a piece gets its own pages."""
_LARGEST = 2**31 - 1
"""Of a setting of `mallopt`."""


def keep_freed_memory(at_most: int) -> None:
    """Let the C library keep the memory that this process frees, for what it allocates next.

    By default large pieces go back to the kernel at once, and come back page by page, each filled with zeros. Does
    nothing where the library is not glibc.

    Args:
        at_most: bytes that may lie idle; pieces larger than a quarter of it are given back nevertheless.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_TRIM_THRESHOLD, min(at_most, _LARGEST))
        library.mallopt(_MMAP_THRESHOLD, min(at_most // 4, _LARGEST))
