"""What a training step runs through the translation network (paper section 4, figures of the project page).

Every image x has a partner x', the one before it in the batch (the first one has the last), so with a batch of two
both directions of a pair are there. c and s are the content and the style of x, s' the style of its partner, s_r a
style drawn from N(0, I), G the decoder. A content brings the skips of its own pass.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.modules.hidt.content_encoder import joined
from repsynth.modules.hidt.decoder import Translation
from repsynth.modules.hidt.generator import HiDTGenerator


class Passes(NamedTuple):
    """Results of all passes of B images; codes are [B, C, h, w], styles [B, style_size], images [B, 3, H, W]."""

    codes: Tensor
    """c."""
    styles: Tensor
    """s."""
    partner_styles: Tensor
    """s'."""
    autoencoded: Tensor
    """G(c, s), to be x."""
    swapped: Translation
    """G(c, s')."""
    swapped_codes: Tensor
    """Of the swapped images, to be c."""
    swapped_styles: Tensor
    """Of the swapped images, to be s'."""
    cycled: Tensor
    """G of the content of the swapped image and of the style of the swapped image that has the style of x; to be x."""
    randomised: Translation
    """G(c, s_r)."""
    random_codes: Tensor
    """Of the randomised images, to be c."""
    random_styles: Tensor
    """Of the randomised images, to be s_r."""
    random_autoencoded: Tensor
    """G of content and style of the randomised images, to be the randomised images."""


def run_passes(generator: HiDTGenerator, images: Tensor, drawn: Tensor, maps: bool = True) -> Passes:
    """Run all passes, every stage of them as one batch.

    Args:
        generator: the translation network.
        images: x, [B, 3, H, W] in [-1, 1], at least two.
        drawn: s_r, [B, style_size].
        maps: compute segmentation maps, if the network has a head for them.

    Raises:
        UserError: fewer images, or ones of a size that the network cannot take.
    """
    count = len(images)
    if count < 2:
        raise UserError(
            f"HiDT exchanges styles within a batch, but gets {count} image; expected at least 2 on every device: raise "
            "data.batch_size"
        )
    content, styles = generator.encode_content(images), generator.encode_style(images)
    partners = of_partners(styles)
    first = generator.decode(joined([content] * 3), torch.cat((styles, partners, drawn.to(styles))), maps)
    autoencoded, swapped, randomised = _thirds(first)
    again = torch.cat((swapped.images, randomised.images))
    contents, found = generator.encode_content(again), generator.encode_style(again)
    back = torch.cat((of_followers(found[:count]), found[count:]))
    second = generator.decode(contents, back, maps=False).images
    return Passes(
        content.code,
        styles,
        partners,
        autoencoded.images,
        swapped,
        contents.code[:count],
        found[:count],
        second[:count],
        randomised,
        contents.code[count:],
        found[count:],
        second[count:],
    )


def of_partners(values: Tensor) -> Tensor:
    """Return what belongs to the partner of every image of a batch."""
    return values.roll(1, dims=0)


def of_followers(values: Tensor) -> Tensor:
    """Return what belongs to the image that every image of a batch is the partner of."""
    return values.roll(-1, dims=0)


def _thirds(translation: Translation) -> list[Translation]:
    images = translation.images.chunk(3)
    maps = [None] * 3 if translation.maps is None else translation.maps.chunk(3)
    return [Translation(*pair) for pair in zip(images, maps, strict=True)]
