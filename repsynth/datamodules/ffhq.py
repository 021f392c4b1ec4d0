"""FFHQ: 70,000 numbered faces, of which the first 60,000 are for training by the publisher's index."""

from pathlib import Path
from typing import Literal

import numpy as np

from repsynth.datamodules.image_stores import ImageStore
from repsynth.datamodules.lmdb_store import LmdbStore
from repsynth.errors import UserError

FacePart = Literal["all", "training", "validation"]
"""All 70,000, the first 60,000, or the last 10,000."""

FULL_SIZE = "images1024x1024"
"""The folder of the pictures of 1024 x 1024."""
_COUNT, _TRAINING = 70_000, 60_000
_RANGES: dict[FacePart, range] = {
    "all": range(_COUNT),
    "training": range(_TRAINING),
    "validation": range(_TRAINING, _COUNT),
}
_DIGITS, _LMDB_DIGITS, _PER_FOLDER = 5, 7, 1000


def faces_folder(root: Path) -> Path:
    """Where the pictures are: the folder of those at full size below `root`, if there is one."""
    return root / FULL_SIZE if (root / FULL_SIZE).is_dir() else root


def is_ffhq(store: ImageStore) -> bool:
    """Whether pictures are named as those of FFHQ, so that they can be nothing else.

    That is `21000/21234.png` at the end of each name, or five digits alone when there are about as many as in FFHQ.
    """
    names = [store.name(index) for index in range(len(store))]
    numbers = [_number(name) for name in names]
    if any(number is None for number in numbers):
        return False
    return len(names) >= _TRAINING or all(
        _folder(name) == f"{number // _PER_FOLDER * _PER_FOLDER:0{_DIGITS}d}"
        for name, number in zip(names, numbers, strict=True)
        if number is not None
    )


def faces_of_part(store: ImageStore, root: Path, part: FacePart, allow_partial: bool) -> np.ndarray:
    """Which pictures of a store are a part of FFHQ, [N] int64 in the order of their numbers.

    Args:
        store: the pictures; the keys of a CIPS LMDB count as their numbers, which they are when all were prepared.
        root: named in messages.
        part: which of the numbers.
        allow_partial: accept that some are missing.

    Raises:
        UserError: names that are no numbers from 00000 to 69999, or come twice, or pictures that are missing.
    """
    digits = _LMDB_DIGITS if isinstance(store, LmdbStore) and store.is_numbered else _DIGITS
    places: dict[int, int] = {}
    for index in range(len(store)):
        number = _number(store.name(index), digits)
        if number is None or number >= _COUNT:
            raise UserError(
                f"FFHQ: {store.label(index)} is not named as a picture of FFHQ; expected 00000.png to 69999.png: "
                "remove it, or set data.layout: plain if this is another set"
            )
        if number in places:
            raise UserError(
                f"FFHQ: {store.label(places[number])} and {store.label(index)} have one number; set data.root to the "
                "folder of one size"
            )
        places[number] = index
    wanted = _RANGES[part]
    found = [number for number in wanted if number in places]
    if not found or (len(found) < len(wanted) and not allow_partial):
        missing = next(number for number in wanted if number not in places)
        of_part = "" if part == "all" else f" of the {part} part"
        remedy = (
            "Set data.allow_partial: true to go on (figures are then not comparable)."
            if found
            else "Get it again."
        )
        raise UserError(
            f"FFHQ: {len(found)} of {len(wanted)} images{of_part} under {root}; first missing {missing:0{digits}d}. "
            f"{remedy}"
        )
    return np.array([places[number] for number in found], dtype=np.int64)


def _number(name: str, digits: int = _DIGITS) -> int | None:
    stem = name.rpartition("/")[2].partition(".")[0]
    return int(stem) if len(stem) == digits and stem.isascii() and stem.isdigit() else None


def _folder(name: str) -> str:
    return name.rpartition("/")[0].rpartition("/")[2]
