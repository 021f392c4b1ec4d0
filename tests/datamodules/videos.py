"""Small videos whose frames carry their number in the pixels, for tests."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

_BITS = 10


def numbered_picture(number: int, size: tuple[int, int] = (48, 80)) -> np.ndarray:
    """uint8 [H, W, 3]: bars from left to right, bright where the number has a 1."""
    bits = [number >> place & 1 for place in range(_BITS)]
    bars = np.repeat(np.array(bits, dtype=np.uint8) * 180 + 40, size[1] // _BITS)
    return np.tile(bars[None, :, None], (size[0], 1, 3))


def number_in(path: Path) -> int:
    """The number that a picture carries."""
    pixels = np.asarray(Image.open(path).convert("L")).astype(float)
    bars = pixels[:, : pixels.shape[1] // _BITS * _BITS].reshape(len(pixels), _BITS, -1).mean(axis=(0, 2))
    return sum(1 << place for place, bright in enumerate(bars > 128) if bright)


def write_video(
    path: Path,
    stamps: Sequence[int],
    size: tuple[int, int] = (48, 80),
    codec: str = "libx264",
    key_frames: int = 12,
) -> Path:
    """A video whose frame k is shown at stamps[k] microseconds; H.264 with frames that depend on later ones."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        options = {"bf": "3", "b_strategy": "0", "crf": "20"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90_000)
        stream.codec_context.gop_size = key_frames
        for number, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number, size), format="rgb24")
            frame.pts, frame.time_base = round(stamp * 0.09), Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
