"""Sources of prepared images, and what a preparation leaves."""

from pathlib import Path

import numpy as np
from PIL import Image

CONTAINERS = ("folder", "lmdb", "zip")


def write_source(folder: Path, count: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        small.resize((40, 30)).save(folder / f"{number}.jpg", quality=95)
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def cut_off(path: Path) -> bytes:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    return whole
