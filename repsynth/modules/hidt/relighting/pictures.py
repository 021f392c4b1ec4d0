"""A photograph in other lights: one picture after the other, as bytes, its content encoded once."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from repsynth.datamodules.resizing import resized_shape
from repsynth.modules.hidt.detail import RADIUS, with_detail
from repsynth.modules.hidt.enhancement import enhanced_translations
from repsynth.modules.hidt.enhancer import Enhancer
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.preparation import picture, resized, to_bytes
from repsynth.modules.hidt.relighting.options import RelightingOptions
from repsynth.modules.hidt.relighting.progress import Progress
from repsynth.modules.hidt.translation import tiled_translation, translations

LONGEST_VIDEO = 3840
"""Pixels of the longer side of a video, which players can show."""

T = TypeVar("T")


def relit(
    generator: HiDTGenerator,
    enhancer: Enhancer | None,
    photo: np.ndarray,
    styles: Tensor,
    options: RelightingOptions,
    progress: Progress,
) -> Iterator[np.ndarray]:
    """Yield a photograph in every style, [3, H, W] uint8 of one size.

    Args:
        generator: in evaluation mode.
        enhancer: likewise; needed for the resolution enhanced.
        photo: [3, H, W] uint8.
        styles: [N, style_size].
        options: checked.
        progress: of the parts of a picture.

    Raises:
        UserError: the options give a size that the networks cannot take.
    """
    if options.resolution == "tiled":
        for style in styles:
            yield _tiled(generator, photo, style, options, progress)
        return
    factor = 1
    if options.resolution == "enhanced":
        assert enhancer is not None
        factor = enhancer.factor
        images = enhanced_translations(generator, enhancer, photo, styles, options.photo, options.enhancement)
    else:
        images = translations(generator, photo, styles, options.photo)
    for image in images:
        yield _finished(photo, image, options, factor)


def output_size(
    photo: tuple[int, int], image: tuple[int, int], options: RelightingOptions
) -> tuple[int, int]:
    """Return the (height, width) of the pictures of a photograph, whose images leave the networks with a size."""
    if options.size == "network":
        size = image
    elif options.size == "photo":
        size = photo
    else:
        size = resized_shape(photo, options.size)
    longest = max(size)
    if options.task == "pictures" or longest <= LONGEST_VIDEO:
        return max(size[0], 1), max(size[1], 1)
    height, width = (max(round(side * LONGEST_VIDEO / longest), 1) for side in size)
    return height, width


def _tiled(
    generator: HiDTGenerator,
    photo: np.ndarray,
    style: Tensor,
    options: RelightingOptions,
    progress: Progress,
) -> np.ndarray:
    def watch(tiles: Sequence[T]) -> Iterator[T]:
        return progress.of(tiles, len(tiles), "tiles")

    made = tiled_translation(generator, photo, style, options.photo, options.tiling, to_bytes, watch)
    own: tuple[int, int] = (photo.shape[1], photo.shape[2])
    return resized(
        np.ascontiguousarray(made.numpy()), output_size(own, own, options), Image.Resampling.BICUBIC
    )


def _finished(photo: np.ndarray, image: Tensor, options: RelightingOptions, factor: int) -> np.ndarray:
    """The picture of an image [3, h, w] in [0, 1] that the networks made of a photograph, enhanced by a factor."""
    small: tuple[int, int] = (image.shape[1], image.shape[2])
    size = output_size((photo.shape[1], photo.shape[2]), small, options)
    if not options.detail:
        return picture(image, size)
    guide, reduced = (
        torch.from_numpy(np.ascontiguousarray(resized(photo, sides, Image.Resampling.BICUBIC))).to(
            image.device
        )
        for sides in (size, small)
    )
    return picture(with_detail(guide, reduced.float().div(255), image, radius=factor * RADIUS))
