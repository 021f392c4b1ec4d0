"""The shifted crops of a batch of images, made on their device: what `crops` makes of a photo by Pillow.

Pillow rounds to bytes after every direction of every resizing, here nothing is rounded: values differ by up to two grey
levels and by a third of one on average.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from repsynth.datamodules.resizing import resized_shape
from repsynth.modules.hidt.options import Border


def batch_crops(images: Tensor, factor: int, border: Border = "black") -> Tensor:
    """Return the shifted crops of images, in the order of `crops.shifted_crops`.

    Args:
        images: [B, 3, f h, f w] in [0, 1].
        factor: f.
        border: what a shifted crop has beyond its image.

    Returns:
        [B, f^2, 3, h, w] in [0, 1].
    """
    height, width = (side // factor for side in images.shape[-2:])
    large = resized_shape((height * factor, width * factor), factor * min(height, width) + factor)
    wide = _continued(_resized(images, large, "bilinear"), factor - 1, border)
    rows = [wide[..., down : down + large[0], :] for down in range(factor)]
    crops = [
        _resized(rows[down][..., right : right + large[1]], (height, width), "bilinear")
        for right in range(factor)
        for down in range(factor)
    ]
    return torch.stack(crops, dim=1)


def reduced(images: Tensor, factor: int) -> Tensor:
    """Return images [B, 3, f h, f w] in [0, 1] at the working size, [B, 3, h, w], as `preparation.prepared` does."""
    height, width = (side // factor for side in images.shape[-2:])
    return _resized(images, (height, width), "bicubic").clamp(0, 1)


def enlarged(images: Tensor, factor: int) -> Tensor:
    """Return images [B, 3, h, w] in [0, 1] enlarged by a bicubic filter, [B, 3, f h, f w]; enhancement must beat it."""
    height, width = (side * factor for side in images.shape[-2:])
    return _resized(images, (height, width), "bicubic").clamp(0, 1)


def _resized(images: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    return F.interpolate(images, size, mode=mode, antialias=True, align_corners=False)


def _continued(images: Tensor, margin: int, border: Border) -> Tensor:
    """The images with more pixels on the right and below."""
    return F.pad(images, (0, margin, 0, margin), mode="constant" if border == "black" else "reflect")
