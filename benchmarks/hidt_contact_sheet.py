"""Photographs in the light of one another and through a day, by a trained network, in one picture.

`python benchmarks/hidt_contact_sheet.py RUN PHOTOGRAPHS --out docs/images/hidt.jpg` takes the best checkpoint of a run
of HiDT and a folder of photographs. Every row shows one of them, then as it comes back in its own style, then in the
style of each; below it frames of its timelapse from its own light through all of these.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from hidt_learning import network_of
from PIL import Image
from torch import Tensor

from repsynth.datamodules.photo_files import PhotoFiles
from repsynth.datamodules.photo_reading import read_photo
from repsynth.datamodules.resizing import resize_short_side
from repsynth.media import Panel, grid
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.options import PhotoOptions
from repsynth.modules.hidt.relighting.options import RelightingOptions
from repsynth.modules.hidt.relighting.pictures import relit
from repsynth.modules.hidt.relighting.progress import Progress
from repsynth.modules.hidt.styles import style_path
from repsynth.modules.hidt.translation import style_of


def rows_of(
    generator: HiDTGenerator,
    photo: np.ndarray,
    styles: Tensor,
    own: Tensor,
    options: RelightingOptions,
    side: int,
) -> list[list[Panel]]:
    """The photograph with its pictures, and its timelapse, in cells of side x side pixels."""

    def cells(wanted: Tensor) -> list[Panel]:
        made = relit(generator, None, photo, wanted, options, Progress())
        return [Panel(cell(picture, side)) for picture in made]

    pictures = [Panel(cell(photo, side)), *cells(torch.cat((own[None], styles)))]
    path = style_path(torch.cat((own[None], styles)), len(pictures), timing="eased")
    return [pictures, cells(path)]


def cell(picture: np.ndarray, side: int) -> np.ndarray:
    """The middle of a picture [3, H, W], uint8 [side, side, 3]."""
    small = resize_short_side(picture, side, "lanczos")
    top, left = ((length - side) // 2 for length in small.shape[1:])
    return np.ascontiguousarray(small[:, top : top + side, left : left + side].transpose(1, 2, 0))


def sheet_parser(doc: str | None, side: int) -> argparse.ArgumentParser:
    """What a sheet is made of, with so many pixels for a cell."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("photographs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--working-size", type=int, default=64, help="of the training")
    parser.add_argument("--side", type=int, default=side, help="of a cell")
    return parser


def main() -> None:
    parser = sheet_parser(__doc__, 192)
    parser.add_argument("--detail", action="store_true", help="with the photographs' own detail")
    options = parser.parse_args()
    generator = network_of(options.run)
    photos = {path.stem: read_photo(path).pixels for path in PhotoFiles(options.photographs).sizes}
    relighting = RelightingOptions(
        photo=PhotoOptions(options.working_size), detail=options.detail, size=options.side
    )
    relighting.check()
    styles = torch.stack([style_of(generator, [photo], relighting.photo) for photo in photos.values()])
    rows = [
        row
        for photo, own in zip(photos.values(), styles, strict=True)
        for row in rows_of(generator, photo, styles, own, relighting, options.side)
    ]
    sheet = grid(["photograph", "own style", *photos], rows)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(options.out, quality=88)


if __name__ == "__main__":
    main()
