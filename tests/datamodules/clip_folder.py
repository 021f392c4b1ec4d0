"""Small clips in the layouts of RealEstate10K, for tests."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

STEP = 33367
"""Microseconds between frames."""


def address(video: str) -> str:
    return f"https://www.youtube.com/watch?v={video}"


def row(
    time: object, x: float, focal: tuple[float, float] = (0.8, 1.0), lens: str = "0.000000000 0.000000000"
) -> str:
    """A camera at (x, 0, 0), not turned, written like the publisher's files."""
    matrix = (1, 0, 0, -x, 0, 1, 0, 0, 0, 0, 1, 0)
    cells = [lens, *(f"{value:.9f}" for value in matrix)]
    return " ".join([f"{time} {focal[0]:.9f} {focal[1]:.9f} {0.5:.9f} {0.5:.9f}", *cells])


def times(count: int, start: int = 1_000_000) -> list[int]:
    return [start + STEP * number for number in range(count)]


def level(number: int) -> int:
    """The grey level of the picture of a row."""
    return 10 + 7 * number


def picture(number: int, size: tuple[int, int]) -> Image.Image:
    """(height, width); all pixels tell the row."""
    return Image.new("RGB", size[::-1], (level(number),) * 3)


def write_cameras(
    path: Path, stamps: Sequence[int], video: str | None = None, step: float = 0.1, **options: object
) -> Path:
    """A camera that moves by `step` from row to row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [row(time, step * number, **options) for number, time in enumerate(stamps)]  # type: ignore[arg-type]
    path.write_text("\n".join([address(video or path.stem), *rows, ""]))
    return path


def write_frames(
    folder: Path, stamps: Sequence[int], size: tuple[int, int] = (24, 32), without: Sequence[int] = ()
) -> None:
    """Pictures whose grey level tells the row, but for the rows in `without`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, time in enumerate(stamps):
        if number not in without:
            picture(number, size).save(folder / f"{time}.png")


def write_clip(
    root: Path,
    split: str,
    name: str,
    count: int = 12,
    video: str | None = None,
    step: float = 0.1,
    without: Sequence[int] = (),
) -> None:
    """Camera file and frames as the documentation lays them out."""
    stamps = times(count)
    write_cameras(root / "cameras" / split / f"{name}.txt", stamps, video, step)
    write_frames(root / "frames" / split / name, stamps, without=without)


def chunk_clip(name: str, count: int = 12, video: str | None = None, step: float = 0.1) -> dict[str, object]:
    """A clip as the papers on 3D Gaussians store it: the rows of a camera file, JPEG pictures."""
    cameras = [[float(cell) for cell in row(0, step * number).split()[1:]] for number in range(count)]
    return {
        "url": address(video or name),
        "timestamps": torch.tensor(times(count)),
        "cameras": torch.tensor(cameras),
        "images": [_jpeg(number) for number in range(count)],
        "key": name,
    }


def _jpeg(number: int) -> torch.Tensor:
    buffer = io.BytesIO()
    picture(number, (24, 32)).save(buffer, "JPEG", quality=95)
    return torch.from_numpy(np.frombuffer(buffer.getvalue(), np.uint8).copy())


def write_chunks(folder: Path, *chunks: list[dict[str, object]]) -> None:
    """Chunks and their index."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    index = {}
    for number, clips in enumerate(chunks):
        torch.save(clips, folder / f"{number:06d}.torch")
        index |= {str(clip["key"]): f"{number:06d}.torch" for clip in clips}
    (folder / "index.json").write_text(json.dumps(index))
