"""The pictures of a SWORD clip: frames by name, and reduced copies beside the full pictures."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from repsynth.datamodules.images import SUFFIXES, read_size
from repsynth.errors import UserError

Images = int | Literal["full"] | None
"""Short side of the copies to read, the full pictures, or None for the smallest that are large enough."""

FRAMES = SUFFIXES | {".gif"}
"""Suffixes of frames, in either case; of an animated GIF the first picture counts."""


def stem(name: str) -> str:
    """The name without the suffix of a picture, if it has one: other points belong to the name."""
    first, suffix = os.path.splitext(name)  # noqa: PTH122  a name is no path
    return first if suffix.lower() in FRAMES else name


def frames_in(folder: Path) -> dict[str, list[str]]:
    """File names by their stems, in the order of the names; empty for a folder that is missing."""
    frames: dict[str, list[str]] = {}
    for name in sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ():
        if not name.startswith(".") and stem(name) != name:
            frames.setdefault(stem(name), []).append(name)
    return frames


def picture_folders(full: Path, columns: dict[int, Path]) -> dict[int | str, Path]:
    """Where the pictures of a clip may be: `full`, then copies by their short side, the smallest first.

    Args:
        full: videos/<scene>.
        columns: short side -> folder, as the list names them; videos_<side>/<scene> are found without.
    """
    start = f"{full.parent.name}_"
    beside = full.parent.parent.glob(f"{start}*")
    sides = {path.name.removeprefix(start): path / full.name for path in beside}
    copies = {int(side): path for side, path in sides.items() if side.isdecimal()} | columns
    return {"full": full, **dict(sorted(copies.items()))}


def choose_folder(
    folders: dict[int | str, Path], images: Images, wanted: tuple[int, int], scene: str
) -> Path | None:
    """The folder to read.

    Args:
        folders: see `picture_folders`; those without frames do not count.
        images: which one.
        wanted: (height, width) that the pictures should reach.
        scene: for messages.

    Returns:
        None when none has frames.

    Raises:
        UserError: there are frames, but not those that `images` names; or one that is no picture.
    """
    first = {
        side: next(iter(frames.values()))[0] for side, at in folders.items() if (frames := frames_in(at))
    }
    if not first:
        return None
    if images is None:
        return _smallest((folders[side] / name for side, name in first.items()), wanted).parent
    if images not in first:
        raise UserError(
            f"SWORD: {scene}: has no pictures for data.images {images}; there are {', '.join(map(str, first))}: "
            "choose one of these, or null"
        )
    return folders[images]


def _smallest(pictures: Iterable[Path], wanted: tuple[int, int]) -> Path:
    """The smallest picture that reaches `wanted`, else the largest; the first of equal ones."""
    sizes = {picture: read_size(picture) for picture in pictures}
    enough = [picture for picture, size in sizes.items() if size[0] >= wanted[0] and size[1] >= wanted[1]]
    return min(enough, key=lambda one: sizes[one]) if enough else max(sizes, key=lambda one: sizes[one])
