"""Segmentation maps of the photographs of a folder: one PNG of class numbers for each."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from repsynth.cache import cached, from_arrays, key_of
from repsynth.datamodules.folder_store import FolderStore
from repsynth.datamodules.image_stores import ImageStore
from repsynth.datamodules.images import opened
from repsynth.errors import UserError

UNKNOWN = 255
"""The number of pixels whose class nobody knows; losses leave them out."""

_EXPECTED = "expected class numbers in an 8 bit grey or palette PNG"
_MODES = ("L", "P")
_VERSION = 1
"""Of the check; a change makes known outcomes useless."""
_THREADS = 16


@dataclass(frozen=True, eq=False)
class SegmentationMaps:
    """A folder of maps, each at the relative place and with the stem of its photograph, and with the suffix .png.

    Pixels hold the number of their class, or `UNKNOWN`; in a palette PNG that is the index, its colour says nothing.
    """

    folder: Path
    photographs: FolderStore
    sizes: np.ndarray
    """[N, 2] (height, width) of all photographs, as a viewer shows them."""
    classes: int
    """How many there are."""

    @classmethod
    def of(cls, folder: Path, store: ImageStore, sizes: np.ndarray, classes: int) -> "SegmentationMaps":
        """The maps in a folder.

        Raises:
            UserError: the photographs are not in a folder, or there is none of maps.
        """
        if not isinstance(store, FolderStore):
            raise UserError(
                f"data.maps is {folder}, but the photographs are in an archive, beside which maps have no place; "
                "unpack it to a folder, or leave data.maps out"
            )
        if not folder.is_dir():
            raise UserError(
                f"no folder at {folder} (option data.maps); expected one of maps, a .png per photograph"
            )
        return cls(folder, store, sizes, classes)

    def path(self, index: int) -> Path:
        """Where the map of a photograph has to be."""
        return self.folder / PurePosixPath(self.photographs.name(index)).with_suffix(".png")

    def check(self, indices: np.ndarray, cache: Path) -> None:
        """Look at the heads of the maps of some photographs; what was right is remembered until a file changes.

        Args:
            indices: [M] of the photographs.
            cache: folder to remember in.

        Raises:
            UserError: two photographs share a map, or a map is missing, of another size, or no map.
        """
        numbers = [int(index) for index in indices]
        paths = [self.path(index) for index in numbers]
        place, count = Counter(paths).most_common(1)[0]
        if count > 1:
            shared = [self.photographs.label(index) for index in numbers if self.path(index) == place]
            raise UserError(
                f"{shared[0]} and {shared[1]} have the same name up to the suffix, so that both would have the map "
                f"{place} (option data.maps); rename one and its map"
            )

        def look() -> np.ndarray:
            with ThreadPoolExecutor(_THREADS) as pool:
                list(pool.map(self._check_head, numbers))
            return np.array(count)

        key = key_of(_VERSION, *self.sizes[indices].ravel().tolist(), files=paths)
        cached(cache / f"maps-{key}.npz", _known, look, lambda fine, file: np.savez(file, fine=fine))

    def read(self, index: int) -> np.ndarray:
        """The map of a photograph, [H, W] uint8.

        Raises:
            UserError: it is missing, of another size than the photograph, no map, or holds numbers of no class.
        """
        path = self.path(index)
        with self._opened(path, index) as picture:
            levels = np.asarray(picture)
        wrong = levels[(levels >= self.classes) & (levels != UNKNOWN)]
        if wrong.size:
            raise UserError(
                f"{path}: holds the class {wrong.max()}, expected 0 to {self.classes - 1} (data.map_classes "
                f"{self.classes}) or {UNKNOWN} where it is not known; correct the map or data.map_classes"
            )
        return levels

    def _check_head(self, index: int) -> None:
        with self._opened(self.path(index), index):
            pass

    @contextmanager
    def _opened(self, path: Path, index: int) -> Iterator[Image.Image]:
        if not path.is_file():
            raise UserError(
                f"{path}: no such file; expected the segmentation map of {self.photographs.label(index)} (option "
                "data.maps); add it, or remove the photograph"
            )
        with opened(path) as picture:
            if picture.mode not in _MODES:
                raise UserError(
                    f"{path}: has the colour mode {picture.mode}; {_EXPECTED} (option data.maps): convert the map"
                )
            height, width = self.sizes[index]
            if picture.size != (width, height):
                raise UserError(
                    f"{path} is {picture.width}x{picture.height} (width x height), but its photograph "
                    f"{self.photographs.label(index)} {width}x{height}; expected maps of the photographs' sizes"
                )
            yield picture


def _known(place: Path) -> np.ndarray | None:
    return from_arrays(place, lambda arrays: arrays["fine"])
