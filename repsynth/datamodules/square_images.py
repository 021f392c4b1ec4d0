"""Stored pictures as square images of one size: drawn and mirrored for training, fixed for comparison."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from repsynth.datamodules.augmentation import Augmentation
from repsynth.datamodules.image_stores import ImageStore
from repsynth.datamodules.patches import WholeImage
from repsynth.datamodules.resizing import Resampling, resize_short_side, resized_shape
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.segmentation_maps import SegmentationMaps
from repsynth.datamodules.stored_pictures import read_stored
from repsynth.datamodules.unreadable import Losses, OnBadImage
from repsynth.errors import UserError

Crop = Literal["none", "centre", "random"]
"""How a picture that is no square of the right size becomes one: not at all, its middle, or in training anywhere."""

Place = tuple[float, float]
"""Where a square lies between the ends of a picture's height and width, both in [0, 1)."""

_OTHERS = 100
"""Other pictures that an example may fall back on before the run stops."""


@dataclass(frozen=True)
class Square:
    """How pictures become squares."""

    side: int
    """Pixels."""
    crop: Crop = "none"
    resize: Resampling | None = None
    """The filter by which the shorter side becomes `side` first; None leaves the pixels as they are."""
    convert: bool = False
    """Accept transparency and CMYK, see `images.read_image`."""

    def shape(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of a picture of (height, width) `size` before a square is cut out."""
        return size if self.resize is None else resized_shape(size, self.side)

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether a picture of (height, width) `size`, at least `side` on both, gives a square by these rules."""
        shape = self.shape(size)
        if self.crop == "none":
            return shape == (self.side, self.side)
        return min(shape) == self.side or (self.crop == "random" and min(shape) > self.side)

    def cut(self, image: np.ndarray, place: Place | None = None) -> np.ndarray:
        """The square of a picture that `fits`.

        Args:
            image: [3, H, W] uint8.
            place: of the square; None takes the middle.

        Returns:
            [3, side, side] uint8, `image` itself or a view of it where nothing had to be resized.
        """
        if self.resize is not None:
            image = resize_short_side(image, self.side, self.resize)
        return self._window(image, place)

    def cut_classes(self, classes: np.ndarray, place: Place | None = None) -> np.ndarray:
        """The square of the segmentation map [H, W] uint8 of a picture, from the same place; see `cut`.

        A pixel gets the class of the nearest pixel of the map where the picture is resized.
        """
        height, width = self.shape((classes.shape[0], classes.shape[1]))
        if classes.shape != (height, width):
            classes = np.asarray(Image.fromarray(classes).resize((width, height), Image.Resampling.NEAREST))
        return self._window(classes, place)

    def read(
        self, store: ImageStore, index: int, place: Place | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        """The square of a stored picture, [3, side, side] uint8; see `read_stored` and `cut`.

        Raises:
            UserError: it cannot be read, or has changed so that it gives no such square.
        """
        image = read_stored(store, index, self.convert, out)
        size = image.shape[1], image.shape[2]
        if min(size) < self.side or not self.fits(size):
            raise UserError(
                f"{store.label(index)}: is {size[1]}x{size[0]} (width x height) now, which it was not when the set was "
                "looked at; leave the set alone while it is in use and start again"
            )
        return self.cut(image, place)

    def _window(self, picture: np.ndarray, place: Place | None) -> np.ndarray:
        """[..., side, side] of a picture [..., H, W], a view of it."""
        spare = [extent - self.side for extent in picture.shape[-2:]]
        if spare == [0, 0]:
            return picture
        top, left = (
            (rest // 2 for rest in spare)
            if place is None
            else (int(part * (rest + 1)) for part, rest in zip(place, spare, strict=True))
        )
        return picture[..., top : top + self.side, left : left + self.side]


@dataclass
class TrainingImages:
    """Images for training, as `patches.WholeImages`: mirrored half of the time, squares anywhere if they are random.

    Their segmentation maps, if there are, go the same way.
    """

    store: ImageStore
    chosen: np.ndarray
    """[N] int64: which pictures of the store."""
    square: Square
    seed: int
    mirror: bool
    on_bad_image: OnBadImage
    maps: SegmentationMaps | None = None
    augmentation: Augmentation | None = None
    """Of the squares."""
    losses: Losses = field(default_factory=lambda: Losses(where_listed=""))

    def __len__(self) -> int:
        return len(self.chosen)

    def read(self, key: SampleKey, out: np.ndarray | None = None) -> WholeImage:
        """An example; another one in its place where it cannot be read."""
        rng = key.rng(self.seed)
        mirrored = self.mirror and rng.random() < 0.5
        place = (rng.random(), rng.random()) if self.square.crop == "random" else None
        number = key.index
        for _ in range(_OTHERS):
            index = int(self.chosen[number])
            try:
                image = self.square.read(self.store, index, place, out)
                classes = None if self.maps is None else self.square.cut_classes(self.maps.read(index), place)
            except UserError as error:
                if self.on_bad_image == "error":
                    raise
                self.losses.lost(error)
                number = int(rng.integers(len(self)))
                continue
            self.losses.read()
            if mirrored:
                image, classes = image[..., ::-1], None if classes is None else classes[..., ::-1]
            if self.augmentation is not None:
                image, classes = self.augmentation(image, classes, rng)
            return WholeImage(self.store.name(index), image, classes)
        raise UserError(
            f"{_OTHERS} pictures in a row could not be read; look at the messages before this one"
        )


@dataclass(frozen=True)
class FixedImages(Dataset[dict[str, Any]]):
    """The same images without any draw, {"ids": str, "images": uint8 [3, side, side]}: middles, never mirrored."""

    store: ImageStore
    chosen: np.ndarray
    """[N] int64: which pictures of the store."""
    square: Square

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        index = int(self.chosen[key.index])
        image = self.square.read(self.store, index)
        return {"ids": self.store.name(index), "images": np.ascontiguousarray(image)}
