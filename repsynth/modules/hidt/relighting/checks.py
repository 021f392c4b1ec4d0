"""What of options, networks and photographs cannot go together, told before anything is made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from repsynth.errors import UserError
from repsynth.modules.hidt.enhancer import Enhancer
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.preparation import network_size
from repsynth.modules.hidt.relighting.choice import file_name, style_names
from repsynth.modules.hidt.relighting.options import RelightingOptions
from repsynth.modules.hidt.translation import statistics_options

_LONGEST = 16
"""How many times as long as its shorter side an image for the networks may be: memory grows with it."""


@runtime_checkable
class HasPhotoSizes(Protocol):
    """A data module of photographs from files."""

    sizes: Mapping[Path, tuple[int, int]]
    """(height, width) by file."""


def check_photos(
    generator: HiDTGenerator, enhancer: Enhancer | None, options: RelightingOptions, data: object
) -> None:
    """Refuse what would fail later with photographs from files; data of another kind pass.

    Raises:
        UserError: no enhancer where one is needed, no styles, files that would overwrite one another, or a photograph
            whose size the networks cannot take.
    """
    if not isinstance(data, HasPhotoSizes):
        return
    require_networks(generator, enhancer, options)
    names = style_names(options.styles, generator.options.style_size, data)
    _require_stops(options, len(names))
    claimed: dict[str, str] = {}
    for path, size in data.sizes.items():
        _require_size(generator, path, size, options)
        for style in names if options.task == "pictures" else [""]:
            what = f"{path} in the style {style}" if style else f"{path}"
            _claim(claimed, file_name(path, style, options), what)


def require_networks(generator: HiDTGenerator, enhancer: Enhancer | None, options: RelightingOptions) -> None:
    """Raise UserError where the options need an enhancer and there is none, or weights are not float32."""
    if options.resolution == "enhanced" and enhancer is None:
        raise UserError(
            "model.relighting.resolution is enhanced, but this model has no enhancer; take the experiment and the "
            "checkpoint of an enhancer, or model.relighting.detail true"
        )
    kind = next(generator.parameters()).dtype
    if kind != torch.float32:
        raise UserError(
            f"the weights are {str(kind).removeprefix('torch.')}, but photographs are translated with float32 weights; "
            "set trainer.precision to 32-true or bf16-mixed"
        )


def _require_stops(options: RelightingOptions, count: int) -> None:
    if options.task == "timelapse" and count + options.timelapse.from_own < 2:
        raise UserError(
            f"model.relighting.task is timelapse with {count} style; expected at least 2 to pass through, or "
            "model.relighting.timelapse.from_own true to begin in the photograph's own light"
        )


def _claim(claimed: dict[str, str], name: str, what: str) -> None:
    if name in claimed:
        raise UserError(
            f"{claimed[name]} and {what} would both be written to {name}; rename one of the photographs or styles, or "
            "predict them in runs of their own"
        )
    claimed[name] = what


def _require_size(
    generator: HiDTGenerator, path: Path, size: tuple[int, int], options: RelightingOptions
) -> None:
    tiled = options.resolution == "tiled"
    photo = statistics_options(options.photo, size) if tiled else options.photo
    height, width = network_size(size, photo)
    words = f"{path} is {size[1]}x{size[0]} (width x height)"
    if max(height, width) > _LONGEST * min(height, width):
        raise UserError(
            f"{words}, too long to be seen as a whole at model.relighting.photo.working_size "
            f"{options.photo.working_size}; expected at most {_LONGEST} times its shorter side, cut it into parts"
        )
    if tiled:
        multiple = generator.side_multiple
        size = (-(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple)
        _require(generator, size, f"{words}, too small for model.relighting.resolution tiled; take plain")
    _require(
        generator, (height, width), f"{words}, and model.relighting.photo gives it {width}x{height} pixels"
    )


def _require(generator: HiDTGenerator, size: tuple[int, int], words: str) -> None:
    try:
        generator.check_size(*size)
    except UserError as error:
        raise UserError(f"{words}: {error}") from error
