"""Videos, pictures and depth maps of one predicted sample."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from repsynth.exports.files import write_array
from repsynth.exports.prediction import Frames
from repsynth.media import false_colours, to_bytes, write_png, write_video


def write_frames(frames: Frames, path: Path, fps: int) -> list[Path]:
    """Write pictures: a video `path`.mp4, or `path`.png where there is one.

    Args:
        frames: T times [3, H, W] of one size, uint8, or float in [0, 1].
        path: without suffix.
        fps: frames per second.
    """
    return [_write(map(as_unit, frames), len(frames) > 1, path, fps)]


def write_views(frames: Frames, depth: Frames | None, names: Sequence[str], folder: Path) -> list[Path]:
    """Write T named pictures [3, H, W] to `folder`, and their depth [1, H, W] to `folder`/depth."""
    written = []
    for index, name in enumerate(names):
        written += write_frames(frames[index][None], folder / name, fps=1)
        if depth is not None:
            written += write_depth(depth[index][None], folder / "depth" / name, fps=1)
    return written


def write_depth(depth: Frames, path: Path, fps: int) -> list[Path]:
    """Write depth maps: `path`.npy and, in false colours, `path`.mp4, or `path`.png where there is one.

    The values are float32 [T, H, W], or [H, W] where T is 1, in scene units, NaN where nothing is seen. The colours
    show 1 / depth from dark (far) to bright (near), with one range for all T.

    Args:
        depth: T times [1, H, W] of one size, on the CPU.
        path: without suffix.
        fps: frames per second.
    """
    values = (depth if isinstance(depth, Tensor) else torch.stack(list(depth)))[:, 0].float()
    array = path.with_name(f"{path.name}.npy")
    write_array(array, (values if len(values) > 1 else values[0]).numpy())
    return [array, _write(_coloured(values), len(values) > 1, path, fps)]


def as_unit(picture: Tensor) -> Tensor:
    """A picture of bytes or of [0, 1] as [0, 1]."""
    return picture.float() / 255 if picture.dtype == torch.uint8 else picture.float()


def _coloured(values: Tensor) -> Iterator[Tensor]:
    """Maps [T, H, W] in false colours, [3, H, W] in [0, 1] each."""
    seen = [item[item.isfinite()] for item in values]
    nearest = min((float(item.min()) for item in seen if len(item)), default=1.0)
    farthest = max((float(item.max()) for item in seen if len(item)), default=1.0)
    for item in values:
        picture = false_colours(1 / item, 1 / farthest, 1 / nearest).image
        yield torch.from_numpy(picture).movedim(-1, 0) / 255


def _write(pictures: Iterable[Tensor], moving: bool, path: Path, fps: int) -> Path:
    file = path.with_name(path.name + (".mp4" if moving else ".png"))
    if moving:
        write_video(pictures, file, fps)
    else:
        write_png(to_bytes(next(iter(pictures))), file)
    return file
