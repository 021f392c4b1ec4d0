"""One picture of a preparation: cut, resized, encoded."""

import io
from typing import Any

import numpy as np
from PIL import Image

from repsynth.datamodules.preparation_recipes import Crop, Format, Recipe
from repsynth.datamodules.resizing import Resampling, resize_short_side
from repsynth.errors import UserError

_ENCODERS: dict[Format, tuple[str, dict[str, Any]]] = {
    "png": ("PNG", {}),
    "jpeg": ("JPEG", {}),
    "webp-lossless": ("WEBP", {"lossless": True}),
}


def fitted(image: np.ndarray, size: int, crop: Crop, resampling: Resampling) -> np.ndarray:
    """Resize an image to a shorter side of exactly `size`.

    Args:
        image: [3, H, W] uint8.
        size: pixels.
        crop: `none` keeps the aspect, the longer side rounded down; `centre` then cuts the middle square out; `square`
            cuts the middle square out first, so that no pixel beyond its edge counts and the aspect is exact. A
            surplus that is odd leaves one row or column more below or to the right.
        resampling: the filter.

    Returns:
        [3, h, w] uint8.
    """
    if crop == "square":
        return resize_short_side(_middle(image, min(image.shape[1:])), size, resampling)
    resized = resize_short_side(image, size, resampling)
    return _middle(resized, size) if crop == "centre" else resized


def encoded(image: np.ndarray, recipe: Recipe, label: str) -> bytes:
    """The file of an image.

    Args:
        image: [3, H, W] uint8.
        recipe: says the format.
        label: of the picture, for messages.

    Raises:
        UserError: the format has no such large pictures.
    """
    kind, options = _ENCODERS[recipe.format]
    if recipe.quality is not None:
        options = options | {"quality": recipe.quality}
    picture = Image.merge("RGB", [Image.fromarray(np.ascontiguousarray(plane)) for plane in image])
    buffer = io.BytesIO()
    try:
        picture.save(buffer, kind, **options)
    except (ValueError, OSError) as error:
        raise UserError(
            f"{label}: cannot be written as {recipe.format} of {image.shape[2]}x{image.shape[1]} ({error}); take "
            "another --format or cut it with --crop"
        ) from error
    return buffer.getvalue()


def _middle(image: np.ndarray, side: int) -> np.ndarray:
    top, left = ((extent - side) // 2 for extent in image.shape[1:])
    return image[:, top : top + side, left : left + side]
