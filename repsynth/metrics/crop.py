"""The central part of an image that a figure is computed on."""

from torch import Tensor

from repsynth.errors import UserError


def check_crop(crop: float) -> None:
    """Refuse a crop that is neither a number of pixels nor a fraction.

    Raises:
        UserError: For a crop of zero or less, or a broken number above one.
    """
    if crop <= 0 or (crop > 1 and crop != int(crop)):
        raise UserError(
            f"evaluation option crop is {crop}: expected a fraction of each side in (0, 1], or a whole "
            f"number of "
            "pixels above 1"
        )


def central_crop(images: Tensor, crop: float) -> Tensor:
    """Cut the central part of images.

    Args:
        images: [..., H, W].
        crop: Above 1 a number of pixels of both sides (220 for StereoLayers' tables, offsets rounded down per
            axis). Up to 1 the fraction kept of each side: `floor((1 - crop) / 2 * side)` pixels go from
            either end (0.7 for SIMPLI's tables).

    Returns:
        [..., h, w], a view.

    Raises:
        UserError: When an image is smaller than the crop.
    """
    height, width = images.shape[-2:]
    top, bottom = _span(height, crop)
    left, right = _span(width, crop)
    if top < 0 or left < 0:
        raise UserError(
            f"evaluation option crop asks for {int(crop)} pixels, but the images are {height} x {width}: "
            f"give a "
            "smaller number, or a fraction of each side"
        )
    return images[..., top:bottom, left:right]


def _span(side: int, crop: float) -> tuple[int, int]:
    if crop > 1:
        start = (side - int(crop)) // 2
        return start, start + int(crop)
    # Rounded first: 0.9 of 20 leaves 0.9999999999999998 at either end.
    margin = min(int(round((1 - crop) / 2 * side, 6)), (side - 1) // 2)
    return margin, side - margin
