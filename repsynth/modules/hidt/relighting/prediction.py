"""What `predict_step` returns for photographs."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from repsynth.batches import Photo, PhotoFiles, Relighting
from repsynth.errors import UserError
from repsynth.exports.photo_files import PhotoFile
from repsynth.exports.prediction import MadeFrames, Prediction
from repsynth.modules.hidt.enhancer import Enhancer
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.preparation import to_bytes
from repsynth.modules.hidt.relighting.checks import require_networks
from repsynth.modules.hidt.relighting.choice import OWN, Styles, chosen_styles, file_name, in_words
from repsynth.modules.hidt.relighting.options import RelightingOptions
from repsynth.modules.hidt.relighting.pictures import relit
from repsynth.modules.hidt.relighting.progress import Progress
from repsynth.modules.hidt.styles import style_path
from repsynth.modules.hidt.translation import style_of

T = TypeVar("T")
Relit = Callable[[Tensor], Iterator[Tensor]]
"""From styles [N, style_size] to a photograph in each of them, [3, H, W] uint8."""


def begin(
    generator: HiDTGenerator, enhancer: Enhancer | None, options: RelightingOptions, data: object
) -> Styles | None:
    """Return the styles that `predict` needs, and print those of photographs, to be kept in a file of named styles.

    Raises:
        UserError: networks that the options do not fit, and what `choice.chosen_styles` refuses.
    """
    require_networks(generator, enhancer, options)
    styles = chosen_styles(generator, options, data)
    if styles is not None and options.styles.source != "named":
        print("styles, as lines of a file of named ones:", *in_words(styles), sep="\n", flush=True)
    return styles


def predict(
    generator: HiDTGenerator,
    enhancer: Enhancer | None,
    options: RelightingOptions,
    batch: PhotoFiles | Relighting,
    styles: Styles | None,
    progress: Progress = Progress(),  # noqa: B008  silent
) -> Prediction:
    """Return the pictures or timelapses of a batch; they are made while they are written.

    Args:
        generator: in evaluation mode.
        enhancer: likewise; None for options that need none.
        options: checked.
        batch: photographs from files, or images with partners in the light that is wanted.
        styles: `choice.chosen_styles` of the options; None where photographs bring their own.
        progress: of the pictures of a photograph.

    Raises:
        UserError: a batch of something else.
    """
    prediction: Prediction = {"ids": [], "frames": [], "files": []}
    for photo, partner in photos_of(batch):
        given = styles or _styles_of(generator, photo, partner, options)
        work = partial(_relit, generator, enhancer, photo.pixels, options, progress)
        if options.task == "timelapse":
            made = _timelapse(work, _stops(generator, photo, given, options), photo, options, progress)
        else:
            made = _pictures(work, given, photo, options, progress)
        for name, frames in made.items():
            prediction["ids"].append(name)
            cast(list[MadeFrames], prediction["frames"]).append(frames)
            cast(list[PhotoFile], prediction["files"]).append(PhotoFile(name, photo, options.file.quality))
    return prediction


def photos_of(batch: PhotoFiles | Relighting) -> Iterator[tuple[Photo, np.ndarray | None]]:
    """Yield the photographs of a batch, and the pixels [3, H, W] uint8 of their partners where they have any.

    Raises:
        UserError: a batch without photographs.
    """
    if "photos" in batch:
        for photo in cast(PhotoFiles, batch)["photos"]:
            yield photo, None
    elif "content" in batch and "style" in batch:
        for name, content, style in zip(batch["ids"], batch["content"], batch["style"], strict=True):
            pixels, partner = (to_bytes(image).cpu().numpy() for image in (content, style))
            yield Photo(Path(f"{name.replace('/', '_')}.png"), pixels), partner
    else:
        raise UserError(
            f"predict of HiDT needs photographs, but the data give {', '.join(batch)}; expected data: "
            "repsynth.datamodules.photo_files.PhotoFiles with data.content"
        )


def _relit(
    generator: HiDTGenerator,
    enhancer: Enhancer | None,
    photo: np.ndarray,
    options: RelightingOptions,
    progress: Progress,
    styles: Tensor,
) -> Iterator[Tensor]:
    made = relit(generator, enhancer, photo, styles, options, progress)
    return map(torch.from_numpy, _in_present_precision(made, generator.device))


def _pictures(
    relit: Relit, styles: Styles, photo: Photo, options: RelightingOptions, progress: Progress
) -> dict[str, MadeFrames]:
    """A photograph in all styles, by the names of the files."""
    count = len(styles.names)
    pictures = _InTurn(progress.of(relit(styles.values), count, photo.path.name))
    return {
        file_name(photo.path, name, options): MadeFrames(1, partial(pictures.only, number))
        for number, name in enumerate(styles.names)
    }


def _timelapse(
    relit: Relit, stops: Tensor, photo: Photo, options: RelightingOptions, progress: Progress
) -> dict[str, MadeFrames]:
    way = options.timelapse
    path = style_path(stops, way.frames, way.curve, way.timing, way.closed)
    name = file_name(photo.path, "", options)
    return {name: MadeFrames(len(path), lambda: progress.of(relit(path), len(path), name))}


def _stops(generator: HiDTGenerator, photo: Photo, styles: Styles, options: RelightingOptions) -> Tensor:
    """The styles [K, style_size] that a timelapse passes through."""
    if not options.timelapse.from_own:
        return styles.values
    own = style_of(generator, [photo.pixels], options.photo)
    return torch.cat((own[None], styles.values))


def _styles_of(
    generator: HiDTGenerator, photo: Photo, partner: np.ndarray | None, options: RelightingOptions
) -> Styles:
    """The partner's style, or the photograph's own."""
    own = options.styles.source == "own" or partner is None
    pixels = photo.pixels if own or partner is None else partner
    return Styles([OWN if own else "partner"], style_of(generator, [pixels], options.photo)[None])


def _in_present_precision(items: Iterator[T], device: torch.device) -> Iterator[T]:
    """The items, made as here: predictions are written after the trainer has left its autocast."""
    enabled, dtype = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)

    def made() -> Iterator[T]:
        done = object()
        while True:
            with torch.autocast(device.type, dtype, enabled):
                item = next(items, done)
            if item is done:
                return
            yield cast(T, item)

    return made()


class _InTurn:
    """Items of an iterator by their numbers, asked for in order; the last one is kept."""

    def __init__(self, items: Iterator[Tensor]) -> None:
        self._items = enumerate(items)
        self._last: tuple[int, Tensor] | None = None

    def only(self, number: int) -> Iterator[Tensor]:
        """Yield one item."""
        while self._last is None or self._last[0] < number:
            self._last = next(self._items)
        assert self._last[0] == number, "the items before are gone"
        yield self._last[1]
