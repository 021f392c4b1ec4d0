"""Photos in, styles and translated images out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.modules.hidt.content_encoder import Content
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.normalisation import Moments, recording, replaying
from repsynth.modules.hidt.options import PhotoOptions, TilingOptions
from repsynth.modules.hidt.preparation import prepared, to_unit
from repsynth.modules.hidt.tiles import Watch, in_tiles


@torch.no_grad()
def style_of(
    generator: HiDTGenerator,
    photos: Iterable[np.ndarray],
    options: PhotoOptions = PhotoOptions(),  # noqa: B008  frozen
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Return the mean style of photos, [style_size] float32.

    They are encoded one by one, so that they may have different sizes.

    Args:
        generator: whose style encoder is used.
        photos: [3, H, W] uint8 each, at least one.
        options: how photos become images.
        weights: of the photos, at least 0; None weighs them alike.

    Raises:
        UserError: no photo, or weights that are no weights of these photos.
    """
    styles = [
        generator.encode_style(prepared(photo, options, number)[None].to(generator.device))[0]
        for number, photo in enumerate(photos)
    ]
    if not styles:
        raise UserError("a style is wanted of no photo; give at least one style photo")
    shares = torch.tensor(_checked(weights, len(styles)), device=generator.device, dtype=styles[0].dtype)
    return (shares / shares.sum()) @ torch.stack(styles)


@torch.no_grad()
def translations(
    generator: HiDTGenerator,
    photo: np.ndarray,
    styles: Tensor,
    options: PhotoOptions = PhotoOptions(),  # noqa: B008  frozen
    styles_at_once: int = 1,
) -> Iterator[Tensor]:
    """Yield a photo in every style, [3, h, w] float32 in [0, 1] on the generator's device; it is encoded once.

    Args:
        generator: the translation network.
        photo: [3, H, W] uint8.
        styles: [N, style_size].
        options: how the photo becomes an image.
        styles_at_once: how many are decoded in one batch.

    Raises:
        UserError: the options give a size that the network cannot take.
    """
    content = generator.encode_content(prepared(photo, options)[None].to(generator.device)).compact()
    for some in styles.to(generator.device).split(styles_at_once):
        yield from decoded(generator, content.expand(len(some)), some)


@torch.no_grad()
def decoded(generator: HiDTGenerator, content: Content, styles: Tensor) -> Tensor:
    """Return the images [B, 3, h, w] in [0, 1] of B contents in B styles [B, style_size], float32."""
    return to_unit(generator.decode(content, styles, maps=False).images)


@torch.no_grad()
def tiled_translation(
    generator: HiDTGenerator,
    photo: np.ndarray,
    style: Tensor,
    options: PhotoOptions = PhotoOptions(),  # noqa: B008  frozen
    tiling: TilingOptions = TilingOptions(),  # noqa: B008  frozen
    finish: Callable[[Tensor], Tensor] | None = None,
    watch: Watch = iter,
) -> Tensor:
    """Return a photo in a style at its own size, [3, H, W] float32 in [0, 1] on the CPU, in bounded memory.

    All norms of the network have statistics of the whole photo, which are taken from its translation at the working
    size: tiles with their own would show seams. The photo is never resized, only continued by reflection to the
    multiples that the network needs.

    Args:
        generator: the translation network.
        photo: [3, H, W] uint8.
        style: [style_size].
        options: how the photo becomes the image that the statistics are taken from; a photo with a shorter side below
            the working size is not enlarged.
        tiling: see `TilingOptions`.
        finish: what becomes of every tile; as bytes they need a fourth of the memory.
        watch: see `tiles.Watch`.

    Raises:
        UserError: a photo or options that give a size which the network cannot take.
    """
    _, height, width = photo.shape
    small = statistics_options(options, (height, width))
    statistics = style_statistics(generator, prepared(photo, small)[None].to(generator.device), style[None])
    padded = _padded(photo, generator.side_multiple)
    generator.check_size(*padded.shape[-2:])
    halo = generator.halo if tiling.halo is None else tiling.halo

    def translated(part: Tensor) -> Tensor:
        images = part.to(generator.device).float().div_(127.5).sub_(1)
        found = with_statistics(generator, images, style[None], statistics)
        return (found if finish is None else finish(found)).cpu()

    image = torch.from_numpy(padded)[None]
    whole = in_tiles(translated, image, tiling.tile, halo, generator.side_multiple, watch=watch)
    return whole[0, :, :height, :width]


def statistics_options(options: PhotoOptions, size: tuple[int, int]) -> PhotoOptions:
    """Return the options of the image that a photo of (height, width) `size` has its statistics of."""
    return replace(options, working_size=min(options.working_size, *size))


Statistics = tuple[list[Moments], list[Moments]]
"""Those of content encoder and decoder, in the order of their norms."""


@torch.no_grad()
def style_statistics(generator: HiDTGenerator, images: Tensor, styles: Tensor) -> Statistics:
    """Return the statistics of all norms in the translation of images [B, 3, h, w] into styles [B, style_size]."""
    of_encoder: list[Moments] = []
    of_decoder: list[Moments] = []
    content = generator.encode_content(images, recording(of_encoder))
    generator.decode(content, styles, maps=False, source=recording(of_decoder))
    return of_encoder, of_decoder


@torch.no_grad()
def with_statistics(
    generator: HiDTGenerator, images: Tensor, styles: Tensor, statistics: Statistics
) -> Tensor:
    """Return the translation [B, 3, h, w] in [0, 1] of images [B, 3, h, w] in [-1, 1], with given statistics."""
    content = generator.encode_content(images, replaying(statistics[0]))
    return to_unit(generator.decode(content, styles, maps=False, source=replaying(statistics[1])).images)


def _checked(weights: Sequence[float] | None, photos: int) -> list[float]:
    if weights is None:
        return [1.0] * photos
    if len(weights) != photos or min(weights) < 0 or sum(weights) <= 0:
        raise UserError(
            f"the weights of {photos} style photos are {list(weights)}; expected one for each, at least 0 and not all 0"
        )
    return list(weights)


def _padded(photo: np.ndarray, multiple: int) -> np.ndarray:
    """The photo continued on the right and below to multiples."""
    margins = [(0, 0), *((0, -side % multiple) for side in photo.shape[1:])]
    return np.pad(photo, margins, mode="reflect")
