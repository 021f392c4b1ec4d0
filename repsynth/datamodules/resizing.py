"""Changing the size of a picture by a named filter, aspect kept: part of what figures of image sets mean."""

from typing import Literal

import numpy as np
from PIL import Image

Resampling = Literal["lanczos", "bicubic", "bilinear", "box"]
"""Pillow's filters, all of them with antialiasing."""

_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


def resized_shape(shape: tuple[int, int], short: int) -> tuple[int, int]:
    """(height, width) of a picture whose shorter side becomes `short`.

    The other one is rounded down, as torchvision does.
    """
    height, width = shape
    if height <= width:
        return short, int(short * width / height)
    return int(short * height / width), short


def resize_short_side(image: np.ndarray, short: int, resampling: Resampling) -> np.ndarray:
    """Resize a picture until its shorter side is `short` pixels.

    Args:
        image: [3, H, W] uint8.
        short: pixels.
        resampling: the filter.

    Returns:
        [3, h, w] uint8; `image` itself where its shorter side is `short` already.
    """
    height, width = resized_shape((image.shape[1], image.shape[2]), short)
    if image.shape[1:] == (height, width):
        return image
    planes = [Image.fromarray(plane).resize((width, height), _FILTERS[resampling]) for plane in image]
    return np.stack([np.asarray(plane) for plane in planes])
