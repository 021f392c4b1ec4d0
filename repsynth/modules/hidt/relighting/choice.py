"""From the options to the styles that photographs are shown in."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.options import PhotoOptions
from repsynth.modules.hidt.relighting.options import RelightingOptions, StyleOptions
from repsynth.modules.hidt.styles import RELEASED, random_styles, read_styles
from repsynth.modules.hidt.translation import style_of

OWN = "autoencoded"
"""What the style of a photograph itself is called."""
_RELEASED = "released"


class Styles(NamedTuple):
    """N styles with names."""

    names: list[str]
    values: Tensor
    """[N, style_size] float32."""


@runtime_checkable
class HasStylePhotos(Protocol):
    """A data module with photographs in the lights that are wanted."""

    style_name: str

    def style_files(self) -> list[Path]:
        """Their files, which may be none."""

    def style_photos(self) -> Iterator[np.ndarray]:
        """[3, H, W] uint8 each."""


def style_names(options: StyleOptions, style_size: int, data: object) -> list[str]:
    """Return the names of the styles that `chosen_styles` will find, without encoding anything.

    Raises:
        UserError: no style photograph where they are needed, or a file of named styles that is of no use.
    """
    if options.source == "own":
        return [OWN]
    if options.source == "random":
        return [f"random{options.seed}_{number}" for number in range(options.count)]
    if options.source == "named":
        return list(_named(options, style_size))
    files = _require_photos(options, data).style_files()
    if options.source == "photos":
        return [path.stem for path in files]
    if options.weights and len(options.weights) != len(files):
        raise UserError(
            f"model.relighting.styles.weights are {len(options.weights)} numbers for {len(files)} style photographs "
            "(data.style); expected one for each, in the order of their names"
        )
    return [_require_photos(options, data).style_name]


def chosen_styles(generator: HiDTGenerator, options: RelightingOptions, data: object) -> Styles | None:
    """Return the styles of the options on the generator's device.

    None where every photograph is shown in its own style, or in that of the partner which its batch brings along.

    Args:
        generator: in evaluation mode.
        options: checked.
        data: the data module, for style photographs.

    Raises:
        UserError: what `style_names` refuses, and a style photograph that cannot be read.
    """
    choice = options.styles
    if choice.source == "own" or (choice.source == "photos" and not isinstance(data, HasStylePhotos)):
        return None
    names = style_names(choice, generator.options.style_size, data)
    if choice.source == "named":
        values = torch.stack(list(_named(choice, generator.options.style_size).values()))
    elif choice.source == "random":
        numbers = torch.arange(choice.count)
        values = random_styles(choice.seed, numbers, generator.options.style_size, choice.temperature)
    else:
        photos = _require_photos(choice, data).style_photos()
        values = _encoded(generator, photos, options.photo, choice)
    return Styles(names, values.to(generator.device))


def file_name(path: Path, style: str, options: RelightingOptions) -> str:
    """Return the name of the file that a photograph becomes: `<photo>_to_<style>`, how it was made, and suffix."""
    way = "" if options.resolution == "plain" else f"_{options.resolution}"
    way += "_detail" if options.detail else ""
    if options.task == "timelapse":
        return f"{path.stem}_timelapse{way}.mp4"
    suffix = path.suffix if options.file.suffix == "same" else options.file.suffix
    named = style if style == OWN else f"to_{style}"
    return f"{path.stem}_{named.replace('/', '_')}{way}{suffix}"


def in_words(styles: Styles) -> list[str]:
    """Return the styles as lines of a file of named styles."""
    rows = styles.values.tolist()
    return [
        f"{name},[{' '.join(f'{number:.5f}' for number in row)}]"
        for name, row in zip(styles.names, rows, strict=True)
    ]


def _encoded(
    generator: HiDTGenerator, photos: Iterator[np.ndarray], options: PhotoOptions, choice: StyleOptions
) -> Tensor:
    """Of one photograph after the other, so that only one is in memory."""
    if choice.source == "mean":
        return style_of(generator, photos, options, choice.weights or None)[None]
    return torch.stack([style_of(generator, [photo], options) for photo in photos])


def _named(options: StyleOptions, style_size: int) -> dict[str, Tensor]:
    assert options.file is not None
    if options.file == _RELEASED:
        styles = {name: torch.tensor(values) for name, values in RELEASED.items()}
        if style_size != len(next(iter(styles.values()))):
            raise UserError(
                f"model.relighting.styles.file is released, whose styles have 3 numbers, but this model's have "
                f"{style_size}; give a file of its own"
            )
    else:
        styles = read_styles(Path(options.file), style_size)
    return {name: styles[name] for name in _known(options.names, styles, options.file)}


def _known(names: Sequence[str], styles: dict[str, Tensor], file: str) -> list[str]:
    for name in names:
        if name not in styles:
            raise UserError(
                f"model.relighting.styles.names has {name}, which {file} does not name; expected some of "
                f"{', '.join(styles)}"
            )
    return list(dict.fromkeys(names)) or list(styles)


def _require_photos(options: StyleOptions, data: object) -> HasStylePhotos:
    if not isinstance(data, HasStylePhotos) or not data.style_files():
        raise UserError(
            f"model.relighting.styles.source is {options.source}, but the data have no style photographs; expected "
            "data: repsynth.datamodules.photo_files.PhotoFiles with data.style, or the source named or random"
        )
    return data
