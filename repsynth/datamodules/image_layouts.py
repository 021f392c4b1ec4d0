"""Which of the known image sets lies under a path: FFHQ, LSUN, or any other pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from repsynth.datamodules.ffhq import FacePart, faces_folder, faces_of_part, is_ffhq
from repsynth.datamodules.image_stores import ImageStore, open_store
from repsynth.datamodules.lmdb_store import DATA, LmdbStore
from repsynth.datamodules.prepared_sets import preparation_of
from repsynth.errors import UserError

Layout = Literal["auto", "ffhq", "lsun", "plain"]

_TITLES: dict[Layout, str] = {"auto": "images", "plain": "images", "ffhq": "FFHQ", "lsun": "LSUN"}
"""What messages begin with."""


@dataclass(frozen=True, eq=False)
class LaidOut:
    """What was found."""

    title: str
    """The name of the set."""
    store: ImageStore
    candidates: np.ndarray
    """[N] int64: the pictures of the store that belong to the set, in its order."""
    preparation: str | None
    """How the pictures were prepared, in words, where that is known."""


def lay_out(root: Path, layout: Layout, part: FacePart, allow_partial: bool, cache: Path) -> LaidOut:
    """Open the pictures under `data.root` and see what they are.

    Args:
        root: a folder or an archive.
        layout: what they have to be; `auto` finds out.
        part: of FFHQ.
        allow_partial: accept that pictures of FFHQ are missing.
        cache: see `open_store`.

    Raises:
        UserError: nothing there, not what `layout` says, not all of FFHQ, or a preparation that is not finished; or
            options of FFHQ for another set.
    """
    preparation = preparation_of(root)
    looks_for_faces = layout in ("auto", "ffhq")
    if layout == "lsun" and root.is_dir() and not (root / DATA).is_file():
        raise UserError(f"LSUN: {root} holds no {DATA} (is the zip unpacked?)")
    store = open_store(faces_folder(root) if looks_for_faces else root, _TITLES[layout], cache=cache)
    if layout == "ffhq" or (layout == "auto" and is_ffhq(store)):
        words = "" if part == "all" else f", {part} part"
        return LaidOut(f"FFHQ{words}", store, faces_of_part(store, root, part, allow_partial), preparation)
    _refuse_options_of_faces(root, part, allow_partial)
    is_lsun = isinstance(store, LmdbStore) and not store.is_numbered
    if layout == "lsun" and not is_lsun:
        raise UserError(
            f"LSUN: {root} holds {len(store)} pictures, but not in an LMDB of LSUN, whose keys are 40 hexadecimal "
            "digits; set data.layout: plain"
        )
    return LaidOut("LSUN" if is_lsun else _name(root), store, np.arange(len(store)), preparation)


def _name(root: Path) -> str:
    """Of a set that is none of the known ones: that of its place, and not of its size alone."""
    place = root.resolve()
    return f"{place.parent.name}/{place.name}" if place.stem.isdigit() else place.name


def _refuse_options_of_faces(root: Path, part: FacePart, allow_partial: bool) -> None:
    if part == "all" and not allow_partial:
        return
    option = "data.allow_partial: true" if part == "all" else f"data.part: {part}"
    raise UserError(
        f"{option} is for FFHQ, which is not what {root} holds; leave it out, or set data.layout: ffhq"
    )
