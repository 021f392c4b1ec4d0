"""Freed memory that a process keeps: pages that it does not get from the kernel again."""

import platform
import resource
from pathlib import Path

import numpy as np
import pytest
from processes import started

from repsynth.memory import keep_freed_memory

SIDE, PICTURES, TURNS = 256, 24, 8


def fill_and_free(kept: int | None, out: Path) -> None:
    """Fill memory for pictures again and again, and write how many pages the kernel gave after the first time."""
    if kept is not None:
        keep_freed_memory(kept)
    before = 0
    for turn in range(TURNS + 1):
        if turn == 1:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        pictures = [np.full((3, SIDE, SIDE), 1, np.uint8) for _ in range(PICTURES)]
        del pictures
    out.write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))


def pages(kept: int | None, folder: Path) -> int:
    process = started(fill_and_free, kept, folder / "pages", output=folder / "log")
    process.join()
    assert process.exitcode == 0, (folder / "log").read_text()
    return int((folder / "pages").read_text())


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_kept_for_the_next_use(tmp_path: Path) -> None:
    once = PICTURES * 3 * SIDE**2 / resource.getpagesize()
    assert pages(None, tmp_path) > 2 * once
    # The kernel may take pages back at any moment: the quietest of a few tries tells.
    assert min(pages(64 * 2**20, tmp_path) for _ in range(4)) < 0.5 * once


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_no_more_is_kept_than_was_asked_for(tmp_path: Path) -> None:
    once = PICTURES * 3 * SIDE**2 / resource.getpagesize()
    assert pages(2**20, tmp_path) > 2 * once
