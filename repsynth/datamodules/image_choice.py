"""Which pictures of a store a set is made of, by what their heads tell."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from repsynth.datamodules.image_stores import ImageStore
from repsynth.datamodules.square_images import Square
from repsynth.datamodules.stored_pictures import Heads
from repsynth.datamodules.unreadable import OnBadImage
from repsynth.errors import UserError

OnPanorama = Literal["error", "skip", "keep"]

_PANORAMA = 2.5
"""Longer side over shorter side, from which a square shows too little of a picture."""
_TOLERATED = 0.01
"""Share of pictures whose heads are unreadable that stops a run although they may be left out."""


@dataclass(frozen=True)
class Rules:
    """What is done about pictures that do not suit."""

    square: Square
    on_bad_image: OnBadImage
    on_small: Literal["error", "skip"]
    on_panorama: OnPanorama


@dataclass(frozen=True, eq=False)
class Chosen:
    """The pictures of a set."""

    indices: np.ndarray
    """[N] int64: which pictures of the store, in its order."""
    dropped: dict[str, list[str]] = field(default_factory=dict)
    """Why others are left out -> what messages call them."""

    def summary(self) -> str:
        """Those that are left out, in words, the first of each kind by name; empty for none."""
        return "; ".join(f"{len(names)} {why} (first: {names[0]})" for why, names in self.dropped.items())


def choose(store: ImageStore, heads: Heads, candidates: np.ndarray, rules: Rules) -> Chosen:
    """Hold every picture against the rules.

    Args:
        store: names the pictures.
        heads: of all of its pictures.
        candidates: [N] int64: those that may be chosen.
        rules: what is done about each kind of fault.

    Raises:
        UserError: a fault that is an error by the rules; the first of its kind is named.
    """
    faults = {
        "unreadable": (_is_unreadable, rules.on_bad_image, _unreadable),
        "smaller than data.image_size": (_is_small, rules.on_small, _small),
        "panoramas": (_is_panorama, rules.on_panorama, _panorama),
        "of another size": (_is_odd, "error", _odd),
    }
    dropped: dict[str, list[str]] = {}
    kept = candidates
    for why, (is_faulty, what, sentence) in faults.items():
        faulty = _where(is_faulty, heads, kept, rules.square)
        if what == "keep" or not faulty.any():
            continue
        if what == "error" or (why == "unreadable" and faulty.sum() > _TOLERATED * len(kept)):
            first = int(kept[faulty][0])
            counts = f"{int(faulty.sum())} of {len(kept)} pictures"
            raise UserError(sentence(store.label(first), heads, first, rules, counts))
        dropped[why] = [store.label(int(index)) for index in kept[faulty]]
        kept = kept[~faulty]
    return Chosen(kept, dropped)


def _where(
    is_faulty: Callable[[tuple[int, int], Square], bool], heads: Heads, kept: np.ndarray, square: Square
) -> np.ndarray:
    """[N] bool; each size is looked at once."""
    sizes, places = np.unique(heads.sizes[kept], axis=0, return_inverse=True)
    faulty = [is_faulty((int(height), int(width)), square) for height, width in sizes]
    return np.array(faulty, dtype=bool)[places.reshape(-1)]


def _is_unreadable(size: tuple[int, int], square: Square) -> bool:
    return size == (0, 0)


def _is_small(size: tuple[int, int], square: Square) -> bool:
    return min(size) < square.side


def _is_panorama(size: tuple[int, int], square: Square) -> bool:
    return square.crop != "none" and max(size) > _PANORAMA * min(size)


def _is_odd(size: tuple[int, int], square: Square) -> bool:
    return not square.fits(size)


def _unreadable(label: str, heads: Heads, index: int, rules: Rules, counts: str) -> str:
    sentence = heads.complaints[index]
    if rules.on_bad_image == "skip":
        return f"{counts} cannot be used, more than {_TOLERATED:.0%}; the first: {sentence}"
    return f"{sentence} ({counts} cannot be used; data.on_bad_image: skip leaves out up to {_TOLERATED:.0%})"


def _small(label: str, heads: Heads, index: int, rules: Rules, counts: str) -> str:
    side = rules.square.side
    return (
        f"{label} is {_words(heads, index)}, smaller than data.image_size {side}, like {counts}; lower data.image_size "
        "or set data.on_small: skip"
    )


def _panorama(label: str, heads: Heads, index: int, rules: Rules, counts: str) -> str:
    return (
        f"{label} is {_words(heads, index)}, a panorama ({counts} are longer than {_PANORAMA:g} times their shorter "
        "side), of which a square shows little; set data.on_panorama: skip to leave them out or keep to use them"
    )


def _odd(label: str, heads: Heads, index: int, rules: Rules, counts: str) -> str:
    square, words = rules.square, _words(heads, index)
    if square.crop == "none" and square.resize is not None:
        return f"{label} is {words}, no square ({counts} are none); set data.crop to centre or random"
    if square.crop == "none":
        return (
            f"{label} is {words}, expected {square.side}x{square.side} (data.image_size), which {counts} are not; "
            "prepare the set with `repsynth data prepare-images`, or set data.crop and data.resize"
        )
    return (
        f"{label} is {words}, but data.crop: centre expects a shorter side of {square.side} (data.image_size), which "
        f"{counts} have not; prepare the set with `repsynth data prepare-images`, or set data.resize to a filter"
    )


def _words(heads: Heads, index: int) -> str:
    height, width = heads.sizes[index]
    return f"{width}x{height} (width x height)"
