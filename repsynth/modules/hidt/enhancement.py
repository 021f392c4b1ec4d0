"""Translation at a higher resolution: shifted crops are translated, stacked and merged by the enhancer."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from repsynth.modules.hidt.content_encoder import Content
from repsynth.modules.hidt.crops import shifted_crops
from repsynth.modules.hidt.enhancer import Enhancer
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.options import EnhancementOptions, PhotoOptions
from repsynth.modules.hidt.preparation import prepared, to_unit
from repsynth.modules.hidt.tiles import in_tiles
from repsynth.modules.hidt.translation import decoded


@torch.no_grad()
def enhanced_translations(
    generator: HiDTGenerator,
    enhancer: Enhancer,
    photo: np.ndarray,
    styles: Tensor,
    options: PhotoOptions = PhotoOptions(),  # noqa: B008  frozen
    enhancement: EnhancementOptions = EnhancementOptions(),  # noqa: B008  frozen
) -> Iterator[Tensor]:
    """Yield a photo in every style, [3, f h, f w] float32 in [0, 1], f times as large as the working size.

    For more than one style the contents of all crops are computed once and kept; for one, only those of a batch exist.

    Args:
        generator: the translation network.
        enhancer: on the same device.
        photo: [3, H, W] uint8.
        styles: [N, style_size].
        options: how crops become images; the working size is the crops'.
        enhancement: see `EnhancementOptions`.

    Raises:
        UserError: the options give a size that the network cannot take.
    """
    crops = shifted_crops(photo, options.working_size, enhancer.factor, enhancement.border)
    contents: Iterable[Content] = crop_contents(generator, crops, options, enhancement.crops_at_once)
    if len(styles) > 1:
        contents = [content.compact() for content in contents]
    for style in styles.to(generator.device):
        translated = translated_crops(generator, contents, style)
        stack = enhancer.stack(translated[None], enhancement.border)
        yield to_unit(enhanced_stack(enhancer, stack, enhancement))[0]


@torch.no_grad()
def crop_contents(
    generator: HiDTGenerator, crops: np.ndarray, options: PhotoOptions, crops_at_once: int
) -> Iterator[Content]:
    """Yield the contents of crops [N, 3, h, w] uint8, of `crops_at_once` at a time."""
    for start in range(0, len(crops), crops_at_once):
        part = crops[start : start + crops_at_once]
        images = [prepared(crop, options, start + number) for number, crop in enumerate(part)]
        yield generator.encode_content(torch.stack(images).to(generator.device))


@torch.no_grad()
def translated_crops(generator: HiDTGenerator, contents: Iterable[Content], style: Tensor) -> Tensor:
    """Return the images [N, 3, h, w] in [0, 1] of contents of N crops together, in a style [style_size]."""
    return torch.cat(
        [decoded(generator, content, style.expand(len(content.code), -1)) for content in contents]
    )


@torch.no_grad()
def enhanced_stack(enhancer: Enhancer, stack: Tensor, enhancement: EnhancementOptions) -> Tensor:
    """Return what the enhancer makes of a stack [B, 3 f^2, h, w] in [-1, 1], tile by tile: [B, 3, f h, f w], unclamped.

    Its two halves go over the image one after the other, because only the first one sees far.
    """
    if enhancement.tile is None:
        enhanced: Tensor = enhancer(stack)
        return enhanced
    halo = enhancer.features_halo if enhancement.halo is None else enhancement.halo
    features = in_tiles(enhancer.features, stack, enhancement.tile, halo)
    return in_tiles(
        enhancer.enlarged, features, enhancement.tile, enhancer.enlarging_halo, scale=enhancer.factor
    )
