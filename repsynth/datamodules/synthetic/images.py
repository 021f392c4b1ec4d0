"""`SyntheticImages`: a procedural family of images with known statistics, for generators of images from nothing."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from repsynth.datamodules.base import EvalStage
from repsynth.datamodules.image_sets import GeneratedSets
from repsynth.datamodules.patches import PatchOptions, PatchSet, WholeImage, collate_patches, is_patch
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.synthetic import sunsets
from repsynth.errors import require_at_least


class SyntheticImages(GeneratedSets):
    """Skies with a sun over ground, made while they are read; no files needed.

    Image i is a function of i alone, whatever the seed: runs of different seeds see the same set in another order.
    Generated images are compared with the training images, as in published figures of generators. `sunsets` knows the
    family's mean image, the colours of its top row and the distribution of its horizon. The training batch is
    `batches.Patches`.

    Args:
        image_size: side of the square images in pixels.
        train_samples: images of the training set, the numbers 0 to this one less.
        patch_size: side of the patches to train on in pixels, `image_size` divided by a power of two; null trains on
            whole images.
        patch_scales: so many of the finest scales of patches are drawn; null draws all, the coarsest of which spans the
            image.
        options: those of `GeneratedSets`.

    Raises:
        UserError: a side below 16 pixels, fewer than 2 images, or patches that do not fit the images.
    """

    def __init__(
        self,
        image_size: int = 32,
        train_samples: int = 5000,
        patch_size: int | None = None,
        patch_scales: int | None = None,
        **options: Any,  # noqa: ANN401  those of the base, which the command line reads there
    ) -> None:
        super().__init__(**options)
        require_at_least("data", sunsets.SMALLEST_SIDE, image_size=image_size)
        require_at_least("data", 2, train_samples=train_samples)
        self.image_size = (image_size, image_size)
        self.train_samples = train_samples
        self.patch_size = patch_size
        self.patches = PatchOptions(image_size, patch_size, patch_scales)

    @property
    def protocol(self) -> str:
        """What evaluation figures on this data are figures of, in one line for their report."""
        height, width = self.image_size
        return (
            f"SyntheticImages, {self.real_count('test')} of {self.train_samples} training images as the real set; "
            f"{height} x {width} pixels"
        )

    def train_dataset(self) -> Dataset[Any]:
        """A patch of each of `train_samples` images."""
        return PatchSet(self._images(), self.patches, self.seed)

    def real_images(self, stage: EvalStage) -> Dataset[Any]:
        """The training images."""
        return self._images()

    def signature(self, stage: EvalStage) -> str:
        """What the pixels of `real_images` depend on, in one line."""
        return (
            f"SyntheticImages version {sunsets.VERSION} side {self.image_size[0]} count {self.train_samples}"
        )

    def collate(self, examples: list[Any]) -> Any:  # noqa: ANN401
        """Join training examples to `batches.Patches`; real images and numbers as the base does."""
        if is_patch(examples[0]):
            return collate_patches(examples, self.image_size)
        return super().collate(examples)

    def _images(self) -> "Sunsets":
        return Sunsets(self.train_samples, self.image_size[0])


@dataclass(frozen=True)
class Sunsets(Dataset[dict[str, Any]]):
    """The images 0 .. count - 1 of the family: {"ids": str, "images": uint8 [3, side, side]}."""

    count: int
    side: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        image = self.read(key)
        return {"ids": image.name, "images": torch.from_numpy(image.pixels)}

    def read(self, key: SampleKey, out: np.ndarray | None = None) -> WholeImage:
        """See `patches.WholeImages`."""
        name = f"{key.index:0{len(str(self.count - 1))}d}"
        return WholeImage(name, sunsets.images(np.array([key.index]), self.side)[0])
