"""Patches of square images, cut while they are read: whole images, contiguous windows, or every 2^l-th pixel.

Source: the data pipeline of the official CIPS code. Scale 0 is a window of neighbours; scale l takes every 2^l-th pixel
of rows and columns, without a low-pass filter, so that the coarsest one spans the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NotRequired, Protocol, TypedDict, cast

import numpy as np
from torch.utils.data import Dataset

from repsynth.batches import Patches
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.transport import reserve, stack
from repsynth.errors import UserError, require_at_least

_DRAWS = 0xC095
"""Keeps the draws of patches apart from those of the images, which come from the same keys."""
_SMALLEST_PATCH = 4


class Window(NamedTuple):
    """Which pixels of an image a patch shows, in pixels of the image."""

    row: int
    """Of its first pixel."""
    column: int
    step: int
    """From one of its pixels to the next, in either direction."""


_WHOLE = Window(0, 0, 1)


class ImageSize(NamedTuple):
    """Height and width; a bare tuple would come out of pinned memory as a list."""

    height: int
    width: int


class PatchExample(TypedDict):
    """One sample of `batches.Patches`, without its batch dimension."""

    ids: str
    images: np.ndarray
    """[3, c, c] uint8."""
    windows: np.ndarray
    """[3] int64, as in `batches.Patches`."""
    maps: NotRequired[np.ndarray]
    """[c, c] int64, as in `batches.Patches`."""


class WholeImage(NamedTuple):
    """A square image to cut patches from."""

    name: str
    """Its id."""
    pixels: np.ndarray
    """[3, S, S] uint8."""
    classes: np.ndarray | None = None
    """[S, S] integers, its segmentation map."""


class WholeImages(Protocol):
    """Square images of one size to cut patches from."""

    def __len__(self) -> int: ...

    def read(self, key: SampleKey, out: np.ndarray | None = None) -> WholeImage:
        """An image.

        Args:
            key: of the example.
            out: [3, S, S] uint8, contiguous: where the pixels may go.

        Returns:
            Its pixels are `out`, a view of it, or other memory.
        """


@dataclass(frozen=True)
class PatchOptions:
    """How patches are cut out of images of side x side pixels.

    Raises:
        UserError: sides that do not differ by a power of two, or a number of scales that there is not.
    """

    side: int
    patch_size: int | None = None
    """Side of the patches in pixels; None takes whole images."""
    patch_scales: int | None = None
    """So many of the finest scales are drawn; None draws all."""

    def __post_init__(self) -> None:
        if self.patch_size is None:
            if self.patch_scales is not None:
                raise UserError(
                    f"data.patch_scales is {self.patch_scales}, but data.patch_size is not set and whole images have "
                    "one scale; set data.patch_size or leave data.patch_scales out"
                )
            return
        require_at_least("data", _SMALLEST_PATCH, patch_size=self.patch_size)
        ratio = self.side // self.patch_size
        if self.patch_size * ratio != self.side or ratio & (ratio - 1):
            raise UserError(
                f"data.patch_size is {self.patch_size}; expected data.image_size {self.side} divided by a power of "
                f"two: {', '.join(map(str, self._possible()))}"
            )
        if self.patch_scales is not None and not 1 <= self.patch_scales <= self._all_scales:
            raise UserError(
                f"data.patch_scales is {self.patch_scales}; expected 1 to {self._all_scales}, the scales between "
                f"data.patch_size {self.patch_size} and data.image_size {self.side}"
            )

    @property
    def size(self) -> int:
        """Side c of the patches, in pixels."""
        return self.patch_size or self.side

    @property
    def scales(self) -> int:
        """How many scales are drawn."""
        return self.patch_scales or self._all_scales

    @property
    def _all_scales(self) -> int:
        return (self.side // self.size).bit_length()

    def _possible(self) -> list[int]:
        sides, side = [], self.side
        while side >= _SMALLEST_PATCH:
            sides.append(side)
            if side % 2:
                break
            side //= 2
        return sides


def draw_scale(options: PatchOptions, rng: np.random.Generator) -> int:
    """One of the scales, uniformly; 0 is the finest."""
    return int(rng.integers(options.scales))


def draw_window(options: PatchOptions, scale: int, rng: np.random.Generator) -> Window:
    """A patch of a scale, inside the image; rows and columns are drawn alike and independently."""
    step = 2**scale
    row, column = (_first(options.side, options.size, step, rng) for _ in range(2))
    return Window(row, column, step)


def cut(image: np.ndarray, window: Window, size: int) -> np.ndarray:
    """The patch [..., size, size] of an image [..., S, S], a view of it.

    Whoever mirrors images mirrors them before: a patch keeps the coordinates of its place in what is seen.
    """
    reach = window.step * (size - 1) + 1
    rows = slice(window.row, window.row + reach, window.step)
    columns = slice(window.column, window.column + reach, window.step)
    return image[..., rows, columns]


@dataclass(frozen=True)
class PatchSet(Dataset[PatchExample]):
    """A patch of every image; the scale is drawn once for each batch of a rank, from its first key."""

    source: WholeImages
    options: PatchOptions
    seed: int

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: SampleKey) -> PatchExample:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[SampleKey]) -> list[PatchExample]:
        """The examples of a batch, read or cut to where the batch will be."""
        size, side = self.options.size, self.options.side
        rooms = reserve([(len(keys), 3, size, size)])[0]
        whole = None if size == side else np.empty((3, side, side), dtype=np.uint8)
        return [
            self._example(key, window, room, room if whole is None else whole)
            for key, window, room in zip(keys, self._windows(keys), rooms, strict=True)
        ]

    def _windows(self, keys: Sequence[SampleKey]) -> list[Window]:
        if self.options.size == self.options.side:
            return [_WHOLE] * len(keys)
        # Every key draws a scale, and only that of the first counts: the windows do not depend on who is first.
        draws = [self._rng(key) for key in keys]
        scales = [draw_scale(self.options, rng) for rng in draws]
        return [draw_window(self.options, scales[0], rng) for rng in draws]

    def _rng(self, key: SampleKey) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self.seed, *key, _DRAWS]))

    def _example(self, key: SampleKey, window: Window, room: np.ndarray, out: np.ndarray) -> PatchExample:
        image = self.source.read(key, out)
        if image.pixels is not room:
            np.copyto(room, cut(image.pixels, window, self.options.size))
        example: PatchExample = {
            "ids": image.name,
            "images": room,
            "windows": np.array(window, dtype=np.int64),
        }
        if image.classes is not None:
            example["maps"] = cut(image.classes, window, self.options.size).astype(np.int64)
        return example


def collate_patches(examples: Sequence[PatchExample], image_size: tuple[int, int]) -> Patches:
    """Join examples to a batch.

    Args:
        examples: B of them, of one size and step.
        image_size: (height, width) of the whole images.
    """
    arrays = [{key: value for key, value in each.items() if key != "ids"} for each in examples]
    ids = [each["ids"] for each in examples]
    return cast(Patches, stack(arrays, ids=ids, image_size=ImageSize(*image_size)))


def is_patch(example: Any) -> bool:  # noqa: ANN401  whatever a data module's sets give
    """Whether an example is one to be joined by `collate_patches`."""
    return "windows" in example


def _first(side: int, size: int, step: int, rng: np.random.Generator) -> int:
    """The first row, or column, of a patch: an offset, then a window of every step-th pixel from there on."""
    if step == 1:
        return int(rng.integers(side - size + 1))
    # Beyond the last offset fewer than `size` pixels would be left.
    offset = int(rng.integers(side - step * size + step))
    rest = -(-(side - offset) // step)
    return offset + step * int(rng.integers(rest - size + 1))
