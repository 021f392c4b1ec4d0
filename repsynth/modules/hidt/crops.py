"""The shifted crops of a photo, and the stack of their translations that the enhancer merges (official code).

With a factor f there are f^2 crops. Crop k is shifted by `k div f` pixels to the right and `k mod f` pixels down, in a
photo f times as large as the working size; reduced to that size, they see the photo at shifts of 1 / f pixel.
"""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from repsynth.datamodules.resizing import resized_shape
from repsynth.modules.hidt.options import Border, Stacking
from repsynth.modules.hidt.preparation import resized


def shifted_crops(photo: np.ndarray, working_size: int, factor: int, border: Border = "black") -> np.ndarray:
    """Return the shifted crops of a photo, all of them as large as the photo before they are reduced.

    Args:
        photo: [3, H, W] uint8.
        working_size: pixels of the shorter side of a crop; the photo is first brought to `factor` times as many, and
            `factor` more.
        factor: f.
        border: what a shifted crop has beyond the photo.

    Returns:
        [f^2, 3, h, w] uint8.
    """
    height, width = resized_shape((photo.shape[1], photo.shape[2]), factor * working_size + factor)
    large = resized(photo, (height, width), Image.Resampling.BILINEAR)
    wide = _continued(large, factor - 1, border)
    size = resized_shape((height, width), working_size)
    return np.stack(
        [
            resized(wide[:, down : down + height, right : right + width], size, Image.Resampling.BILINEAR)
            for right, down in _shifts(factor)
        ]
    )


def stack_of(crops: Tensor, factor: int, border: Border = "black", stacking: Stacking = "pasted") -> Tensor:
    """Stack the colours of translated crops; pasted, they are put back to their shifts before.

    The official code enlarges every crop f times, pastes it at its shift into a canvas of `(f h + f) x (f w + f)` and
    reduces that to h x w by taking the nearest pixel. So row i of the stack is row `(f i + f i // h - v) // f` of a
    crop with the shift v: the first v / f of the crop move down by one pixel, and before them one row is outside of the
    crop; the rest stays. The released enhancer was trained with that.

    Args:
        crops: [B, f^2, 3, h, w] in [0, 1].
        factor: f.
        border: what is outside of a crop that is pasted.
        stacking: see above.

    Returns:
        [B, 3 f^2, h, w] in [-1, 1], the colours of crop 0, then those of crop 1 and so on.
    """
    if stacking == "plain":
        return crops.mul(2).sub_(1).flatten(1, 2)
    rows, columns = (_places(side, factor, crops.device) for side in crops.shape[-2:])
    stack = torch.empty_like(crops)
    for number, (right, down) in enumerate(_shifts(factor)):
        row, column = rows[down], columns[right]
        moved = crops[:, number][..., row.clamp(min=0)[:, None], column.clamp(min=0)].mul(2).sub_(1)
        if border == "black":
            moved.masked_fill_((row < 0)[:, None] | (column < 0), -1)
        stack[:, number] = moved
    return stack.flatten(1, 2)


def _shifts(factor: int) -> Iterator[tuple[int, int]]:
    """Pixels to the right and down of every crop, in order."""
    return ((right, down) for right in range(factor) for down in range(factor))


def _continued(image: np.ndarray, margin: int, border: Border) -> np.ndarray:
    """The image with more pixels on the right and below."""
    margins = ((0, 0), (0, margin), (0, margin))
    return np.pad(image, margins) if border == "black" else np.pad(image, margins, mode="reflect")


def _places(side: int, factor: int, device: torch.device) -> Tensor:
    """Which pixel of a crop with every shift is in every place of the stack, [f, side]; -1 is outside."""
    index = torch.arange(side, device=device)
    canvas = factor * index + factor * index // side
    return (canvas - torch.arange(factor, device=device)[:, None]) // factor
