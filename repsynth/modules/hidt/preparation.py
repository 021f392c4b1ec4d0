"""Photos become images for the networks, and their images pictures again (official code)."""

from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from repsynth.datamodules.resizing import resized_shape
from repsynth.modules.hidt.options import PhotoOptions
from repsynth.nn.latents import sample_rng

Levels = Literal["nearest", "truncated"]
"""How a value becomes a grey level; the released program truncates, which darkens by half a level."""


def network_size(size: tuple[int, int], options: PhotoOptions) -> tuple[int, int]:
    """Return the (height, width) at which the networks see a photo of (height, width) `size`.

    The shorter side becomes `working_size`, the longer one is rounded down, then both go to the nearest multiples, half
    to even, at least one.
    """
    height, width = (
        max(round(side / options.multiple), 1) * options.multiple
        for side in resized_shape(size, options.working_size)
    )
    return height, width


def prepared(photo: np.ndarray, options: PhotoOptions, number: int = 0) -> Tensor:
    """Return a photo as the networks see it, resized twice by Pillow's bicubic filter.

    Args:
        photo: [3, H, W] uint8.
        options: see `PhotoOptions`.
        number: which of several images the noise is for; each has its own.

    Returns:
        [3, h, w] float32 in [-1, 1], up to 2 / 255 more with noise.
    """
    between = resized_shape((photo.shape[1], photo.shape[2]), options.working_size)
    image = resized(photo, between, Image.Resampling.BICUBIC)
    image = resized(image, network_size((photo.shape[1], photo.shape[2]), options), Image.Resampling.BICUBIC)
    unit = torch.from_numpy(image).float().div_(255)
    if options.noise_seed is not None:
        noise = sample_rng(options.noise_seed, number).random(image.shape, dtype=np.float32)
        unit += torch.from_numpy(noise).div_(255)
    return unit.mul_(2).sub_(1)


def resized(image: np.ndarray, size: tuple[int, int], resampling: Image.Resampling) -> np.ndarray:
    """Resize [3, H, W] uint8 to (height, width) by one of Pillow's filters; `image` itself where it has that size."""
    if image.shape[1:] == size:
        return image
    return np.stack([np.asarray(Image.fromarray(plane).resize(size[::-1], resampling)) for plane in image])


def to_unit(images: Tensor) -> Tensor:
    """From about [-1, 1] to [0, 1], clamped, float32."""
    return images.float().add(1).div_(2).clamp_(0, 1)


def picture(image: Tensor, size: tuple[int, int] | None = None, levels: Levels = "nearest") -> np.ndarray:
    """Return an image as bytes.

    Args:
        image: [3, h, w] in [0, 1].
        size: (height, width) to bring it to, such as the photo's, by a bicubic filter; None keeps its own, which can
            have another aspect than the photo.
        levels: see `Levels`.

    Returns:
        [3, height, width] uint8.
    """
    if size is not None and size != tuple(image.shape[1:]):
        image = F.interpolate(image[None], size, mode="bicubic", antialias=True, align_corners=False)[0]
    pixels: np.ndarray = to_bytes(image, levels).cpu().numpy()
    return pixels


def to_bytes(images: Tensor, levels: Levels = "nearest") -> Tensor:
    """From [0, 1], clamped, to uint8."""
    scaled = images.clamp(0, 1).mul_(255)
    return (scaled.round_() if levels == "nearest" else scaled).byte()
