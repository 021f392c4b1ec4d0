"""Decoding the pictures of an `ImageStore`, and what their heads tell of all of them, found out once."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from repsynth.cache import cached, from_arrays, key_of
from repsynth.datamodules.image_stores import ImageStore
from repsynth.datamodules.images import read_image, read_size, require_mode
from repsynth.datamodules.named_bytes import as_path
from repsynth.errors import UserError

_VERSION = 1
"""Of the cached form; a change makes older files useless."""
_HEADS = (4096, 65536, None)
"""Bytes that are read of a file to find its size: few are enough, unless a thumbnail or a profile comes first."""
_THREADS, _MANY = 16, 2000
"""A network answers many questions at a time."""


@dataclass(frozen=True, eq=False)
class Heads:
    """What the heads of N pictures tell."""

    sizes: np.ndarray
    """[N, 2] int64, height and width as a viewer shows them; 0 for those that cannot be used."""
    complaints: dict[int, str]
    """Why a picture cannot be used, in a sentence."""


def read_stored(store: ImageStore, index: int, convert: bool, out: np.ndarray | None = None) -> np.ndarray:
    """Decode a picture as a viewer shows it, turned by its EXIF orientation.

    Args:
        store: that holds it.
        index: of the picture.
        convert: accept transparency and CMYK, see `images.read_image`.
        out: see `images.read_image`.

    Returns:
        [3, H, W] uint8.

    Raises:
        UserError: it cannot be read or decoded, or has a mode that is not accepted.
    """
    content = as_path(store.encoded(index), store.label(index))
    return read_image(content, convert=convert, posed=False, out=out)


def cached_heads(store: ImageStore, files_key: str, convert: bool, cache: Path) -> Heads:
    """The heads of all pictures of a store, from the cache when nothing has changed.

    Args:
        store: that holds them.
        files_key: `cache.key_of` its files.
        convert: accept transparency and CMYK.
        cache: folder where the outcome is kept.
    """
    place = cache / f"heads-{key_of(_VERSION, files_key, len(store), convert)}.npz"
    return cached(place, _read, lambda: _heads(store, convert, cache), _write)


def _heads(store: ImageStore, convert: bool, cache: Path) -> Heads:
    if len(store) >= _MANY:
        rank_zero_info(
            f"looking at the heads of {len(store)} pictures, once; what is found is kept in {cache}"
        )
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(partial(_head, store, convert), range(len(store))))
    complaints = {index: each for index, each in enumerate(found) if isinstance(each, str)}
    sizes = [(0, 0) if isinstance(each, str) else each for each in found]
    return Heads(np.array(sizes, dtype=np.int64).reshape(-1, 2), complaints)


def _head(store: ImageStore, convert: bool, index: int) -> tuple[int, int] | str:
    """(height, width), or why the picture cannot be used."""
    label = store.label(index)
    words = ""
    for most in _HEADS:
        try:
            content = store.encoded(index, most)
            size = read_size(as_path(content, label), posed=False)
            require_mode(as_path(content, label), convert)
            return size
        except UserError as error:
            words = str(error)
    return words


def _read(place: Path) -> Heads | None:
    return from_arrays(place, _unpack)


def _unpack(arrays: Mapping[str, np.ndarray]) -> Heads:
    complaints = json.loads(arrays["complaints"].tobytes())
    return Heads(arrays["sizes"], {int(index): words for index, words in complaints.items()})


def _write(heads: Heads, file: BinaryIO) -> None:
    complaints = np.frombuffer(json.dumps(heads.complaints).encode(), dtype=np.uint8)
    np.savez(file, sizes=heads.sizes, complaints=complaints)
