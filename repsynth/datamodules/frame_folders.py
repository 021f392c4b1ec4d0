"""Folders of frames cut from a video, named by their time stamps, and which rows of a camera file they belong to."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from repsynth.datamodules.images import SUFFIXES
from repsynth.datamodules.posed_scene import FilePicture
from repsynth.errors import UserError


@dataclass(frozen=True)
class FramePictures(Sequence[FilePicture]):
    """Pictures of one folder; paths are made for those that are asked for, which takes longer than listing them."""

    folder: Path
    names: Sequence[str]

    @overload
    def __getitem__(self, place: int) -> FilePicture: ...

    @overload
    def __getitem__(self, place: slice) -> "FramePictures": ...

    def __getitem__(self, place: int | slice) -> "FilePicture | FramePictures":
        if isinstance(place, slice):
            return FramePictures(self.folder, self.names[place])
        return FilePicture(self.folder / self.names[place])

    def __len__(self) -> int:
        return len(self.names)


def names_in(folder: Path) -> list[str]:
    """The names in a folder, in no order; none when it is not there."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []


def camera_files(folder: Path) -> list[str]:
    """The stems of the `.txt` files of a folder, sorted."""
    return sorted(
        name[:-4] for name in names_in(folder) if name.endswith(".txt") and not name.startswith(".")
    )


def frames_by_time(folder: Path, dataset: str) -> tuple[dict[int, str], list[str]]:
    """The pictures of a folder whose stem is a whole number, in microseconds, and the others.

    Time stamps of 6 to 9 digits are not padded with zeros, so that only numbers, not texts, sort them.

    Args:
        folder: a missing one has no pictures.
        dataset: its name, for messages.

    Returns:
        Time -> file name, rising; file names of other pictures, sorted.

    Raises:
        UserError: two pictures stand for one time, such as 1000.jpg and 1000.png.
    """
    times: dict[int, str] = {}
    others = []
    for name in sorted(names_in(folder)):
        stem, _, suffix = name.rpartition(".")
        if f".{suffix.lower()}" not in SUFFIXES or name[0] == ".":
            continue
        if not (stem.isascii() and stem.isdigit()):
            others.append(name)
            continue
        first = times.setdefault(int(stem), name)
        if first != name:
            raise UserError(
                f"{dataset}: {folder} has {first} and {name} for one time stamp; remove one of them"
            )
    return dict(sorted(times.items())), others


def match_times(wanted: np.ndarray, present: np.ndarray, within: int) -> tuple[np.ndarray, np.ndarray]:
    """Pair times with the nearest ones that are there.

    Args:
        wanted: [N] int64 microseconds, strictly rising.
        present: [M] int64 microseconds, strictly rising.
        within: greatest difference in microseconds; of several wanted times near a present one the nearest has it.

    Returns:
        Places [K] among `wanted`, rising, and places [K] among `present`.
    """
    if not len(present):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    after = np.searchsorted(present, wanted).clip(0, len(present) - 1)
    before = (after - 1).clip(0)
    nearest = np.where(np.abs(present[before] - wanted) <= np.abs(present[after] - wanted), before, after)
    distance = np.abs(present[nearest] - wanted)
    rows = np.flatnonzero(distance <= within)
    # The nearest row comes first, so that `unique` keeps it.
    rows = rows[np.argsort(distance[rows], kind="stable")]
    _, first = np.unique(nearest[rows], return_index=True)
    rows = np.sort(rows[first])
    return rows, nearest[rows]
