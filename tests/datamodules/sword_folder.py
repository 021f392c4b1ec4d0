"""Writes a small data set in the SWORD layout: flat pictures whose grey level tells the frame."""

import csv
import struct
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 64)
FIELDS = {"num_points": "9", "num_views": "6", "p_1": "18", "p_10": "20", "p_50": "30", "p_90": "60"}


def level(frame: int) -> int:
    """The grey level of a frame."""
    return 20 * frame


def write_clip(
    root: Path, name: str, frames: int = 6, suffix: str = ".png", step: float = 16.0
) -> dict[str, str]:
    """Frames and cameras in a row along x, `step` apart in units of the file; returns the row of the list."""
    write_pictures(root / "videos" / name, frames, SIZE, suffix)
    (root / "views").mkdir(exist_ok=True)
    rows = [camera_row(f"{frame:06d}", step * frame) for frame in range(frames)]
    (root / "views" / f"{name}.txt").write_text("\n".join([f"# {name}", *rows, ""]))
    return {"scene_name": name, "images_path": f"videos/{name}", "views_path": f"views/{name}.txt", **FIELDS}


def write_pictures(folder: Path, frames: int, size: tuple[int, int], suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(frames):
        picture = Image.fromarray(np.full((*size, 3), level(frame), dtype=np.uint8))
        picture.save(folder / f"{frame:06d}{suffix}")


def camera_row(name: str, x: float) -> str:
    """A camera at (x, 0, 0) that looks along z; principal point off the middle."""
    numbers = [0.8, 1.1, 0.51, 0.49, 0, 0, 1, 0, 0, -x, 0, 1, 0, 0, 0, 0, 1, 0]
    return " ".join([name, *(f"{number:.9f}" for number in numbers)])


def write_list(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_points(path: Path, positions: np.ndarray) -> None:
    """points3D.bin without tracks, as SWORD's loader needs no more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [
        struct.pack("<Q3d3BdQ", number, *place, 9, 9, 9, 0.1, 0) for number, place in enumerate(positions)
    ]
    path.write_bytes(struct.pack("<Q", len(entries)) + b"".join(entries))


def write_data_set(root: Path, **parts: int) -> None:
    """Lists sorted_<part>.csv with so many clips each, called <part>0, <part>1, ..."""
    root.mkdir(exist_ok=True)
    for part, clips in parts.items():
        rows = [write_clip(root, f"{part}{number}") for number in range(clips)]
        write_list(root / f"sorted_{part}.csv", rows)
