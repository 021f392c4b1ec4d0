"""Pictures of runs: false colours, grids of titled panels, PNG and MP4 files."""

import math
import os
from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_STOPS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float32)
"""Dark to bright in even steps of lightness, so that the picture also reads in grey."""
_INVALID = (90, 110, 140)
_GAP = 4
_STRIP = 18
_SMALLEST_CELL = 128
_BACKGROUND = 255
_INK = (20, 20, 20)


class Panel(NamedTuple):
    """One cell of a grid: uint8 [H, W, 3], and a short note to stand above it."""

    image: np.ndarray
    note: str = ""


def to_bytes(images: Tensor) -> np.ndarray:
    """Turn [..., 3, H, W] in [0, 1] (clamped) into uint8 [..., H, W, 3], rounded to the nearest level."""
    return images.detach().float().clamp(0, 1).mul(255).round().byte().movedim(-3, -1).cpu().numpy()


def false_colours(values: Tensor, low: float | None = None, high: float | None = None) -> Panel:
    """Show one number per pixel in colours from dark (low) to bright (high).

    Args:
        values: [H, W], any unit; pixels that are not finite become grey-blue.
        low: Value of the darkest colour; None takes the smallest finite one.
        high: Value of the brightest colour; None takes the largest finite one.

    Returns:
        The picture, with the range of its colours as the note.
    """
    array = values.detach().float().cpu().numpy()
    valid = np.isfinite(array)
    finite = array[valid] if valid.any() else np.zeros(1, np.float32)
    low = float(finite.min()) if low is None else low
    high = float(finite.max()) if high is None else high
    share = np.clip((np.where(valid, array, low) - low) / max(high - low, 1e-12), 0, 1)
    places = np.arange(len(_STOPS)) / (len(_STOPS) - 1)
    colours = np.stack([np.interp(share, places, _STOPS[:, channel]) for channel in range(3)], -1)
    image = np.where(valid[..., None], colours.round(), _INVALID).astype(np.uint8)
    return Panel(image, f"{low:.3g} .. {high:.3g}")


def grid(titles: Sequence[str], rows: Sequence[Sequence[Panel]]) -> np.ndarray:
    """Lay panels out under column titles, each row below the notes of its panels.

    All cells get the size of the first panel, times a whole number if that is small: pixels stay square and
    crisp.

    Args:
        titles: One per column.
        rows: At least one; each with one panel per title.

    Returns:
        The picture, uint8 [H, W, 3].
    """
    height, width = rows[0][0].image.shape[:2]
    factor = math.ceil(_SMALLEST_CELL / max(height, width))
    height, width = height * factor, width * factor
    across, down = width + _GAP, height + _GAP + _STRIP
    canvas = Image.new(
        "RGB", (len(titles) * across + _GAP, len(rows) * down + _GAP + _STRIP), (_BACKGROUND,) * 3
    )
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        _write(draw, title, _GAP + column * across, 0, width)
    for line, row in enumerate(rows):
        for column, panel in enumerate(row):
            x, y = _GAP + column * across, _STRIP + line * down
            _write(draw, panel.note, x, y, width)
            cell = Image.fromarray(panel.image).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(cell, (x, y + _STRIP))
    return np.asarray(canvas)


def tiled(images: Sequence[np.ndarray]) -> np.ndarray:
    """Lay N pictures uint8 [H, W, 3] of one size out in rows of about sqrt(N), edge to edge; empty cells are white."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    height, width = images[0].shape[:2]
    canvas = np.full((rows * height, columns * width, 3), _BACKGROUND, np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * height, place % columns * width
        canvas[top : top + height, left : left + width] = image
    return canvas


def write_png(image: np.ndarray, path: Path) -> None:
    """Write uint8 [H, W, 3]; atomically, folders are made."""
    temporary = _temporary(path)
    Image.fromarray(image).save(temporary, format="PNG")
    temporary.replace(path)


def write_video(frames: Iterable[Tensor], path: Path, fps: int = 25) -> None:
    """Write an H.264 video that every player opens; atomically, folders are made.

    Args:
        frames: [3, H, W] in [0, 1] each (or one [T, 3, H, W]), all of one size; taken one at a time. An odd
            side is made even by repeating its last line, because the format halves the colours' resolution.
        path: Ends in .mp4.
        fps: Frames per second.

    Raises:
        ValueError: When there is no frame.
    """
    import av  # A quarter of a second that only videos should cost.

    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise ValueError(f"no frames for the video {path}")
    height, width = (side + side % 2 for side in first.shape[-2:])
    temporary = _temporary(path)
    with av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in chain([first], iterator):
            picture = av.VideoFrame.from_ndarray(to_bytes(_padded(frame, height, width)), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    temporary.replace(path)


def gif(frames: np.ndarray, fps: int = 25) -> bytes:
    """Encode uint8 [T, H, W, 3] as an endless GIF, for viewers that show pictures only.

    Its format keeps 256 colours and times in hundredths of a second.
    """
    first, *others = map(Image.fromarray, frames)
    buffer = BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=1000 / fps, loop=0)
    return buffer.getvalue()


def _padded(frame: Tensor, height: int, width: int) -> Tensor:
    down, across = height - frame.shape[-2], width - frame.shape[-1]
    return F.pad(frame[None], [0, across, 0, down], mode="replicate")[0] if down or across else frame


def _temporary(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}")


def _write(draw: ImageDraw.ImageDraw, text: str, x: int, y: int, width: int) -> None:
    """Write one line of text, cut to the width."""
    font = ImageFont.load_default(12)
    while text and draw.textlength(text, font) > width:
        text = text[:-1]
    draw.text((x, y + 2), text, fill=_INK, font=font)
