"""`ImageFolder`: sets of pictures for generators of images from nothing, in folders or archives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import Dataset

from repsynth.cache import default_cache, key_of
from repsynth.datamodules.augmentation import Augmentation
from repsynth.datamodules.balance import balanced
from repsynth.datamodules.base import EvalStage
from repsynth.datamodules.ffhq import FacePart
from repsynth.datamodules.image_choice import Chosen, OnPanorama, Rules, choose
from repsynth.datamodules.image_layouts import LaidOut, Layout, lay_out
from repsynth.datamodules.image_sets import GeneratedSets, collate_named
from repsynth.datamodules.patches import PatchOptions, PatchSet, collate_patches, is_patch
from repsynth.datamodules.resizing import Resampling
from repsynth.datamodules.segmentation_maps import SegmentationMaps
from repsynth.datamodules.square_images import Crop, FixedImages, Square, TrainingImages
from repsynth.datamodules.stored_pictures import cached_heads
from repsynth.datamodules.unreadable import OnBadImage
from repsynth.errors import UserError, require_at_least

_VERSION = 1
"""Of the way from file to pixel; a change makes cached statistics of real sets useless."""
_SMALLEST_SIDE = 8
_CROPPED: dict[Crop, str] = {
    "none": "not cropped",
    "centre": "their middle",
    "random": "their middle (windows anywhere in training)",
}


@dataclass(frozen=True, eq=False)
class ImageSet:
    """What was found under `data.root`."""

    laid_out: LaidOut
    chosen: Chosen
    key: str
    """Changes with every file, and with which of the pictures are chosen."""
    maps: SegmentationMaps | None


class ImageFolder(GeneratedSets):
    """Pictures of a folder, a .zip, an LMDB (LSUN or CIPS), or .tar files, with the batch `batches.Patches`.

    No picture is held back: generated images are compared with the training images, without mirroring and with the
    middle where a square is cut, as published figures of generators are. See docs/data/images.md.

    Args:
        root: of the pictures, see docs/data/images.md; a file or a folder.
        image_size: side of the square images in pixels.
        layout: `ffhq` numbered faces, all of which have to be there; `lsun` the LMDB of that data set; `plain` anything
            else; `auto` looks which it is.
        part: of FFHQ: `all` 70,000 as published figures take, the first 60,000 (`training`), or the last 10,000
            (`validation`).
        allow_partial: go on with a part of FFHQ that lacks pictures.
        crop: `none` refuses pictures that are no such square, `centre` takes the middle where the shorter side is
            `image_size`, `random` a window anywhere (the real set: the middle).
        resize: filter by which pictures are resized to a shorter side of `image_size` while they are read; None leaves
            pixels as they are.
        mirror: flip half of the training images left to right.
        patch_size: side of the patches that training sees, `image_size` divided by a power of two; None for whole
            images.
        patch_scales: draw only so many of the finest of the log2(image_size / patch_size) + 1 scales; None draws all.
        min_items: fewer usable pictures are an error.
        on_bad_image: `skip` leaves out pictures whose heads are unreadable, and training examples that cannot be
            decoded, up to one in a hundred; the real set refuses the latter.
        on_small: `skip` leaves out pictures with a side below `image_size`.
        on_panorama: `skip` leaves out pictures more than 2.5 times as long as their shorter side, `keep` takes them.
        convert_colours: accept pictures with transparency (it is dropped) or in CMYK.
        maps: folder of segmentation maps, one for each picture: the same relative name, but .png, and the same size; 8
            bit class numbers, 255 where it is not known. They reach training beside the images. Null takes none.
        map_classes: classes in the maps.
        class_file: CSV with a line `name,class` for each picture; training then sees every class equally often,
            pictures of smaller classes several times in an epoch. Null sees every picture once.
        augment: transforms of albumentations for training images and their maps, in their order, each
            {name: options}; see docs/data/images.md.
        cache_dir: where lists and sizes of pictures are kept; None takes REPSYNTH_CACHE, else ~/.cache/repsynth.
        options: those of `GeneratedSets`.

    Raises:
        UserError: for impossible options.
    """

    def __init__(
        self,
        root: str,
        image_size: int = 256,
        layout: Layout = "auto",
        part: FacePart = "all",
        allow_partial: bool = False,
        crop: Crop = "none",
        resize: Resampling | None = None,
        mirror: bool = True,
        patch_size: int | None = None,
        patch_scales: int | None = None,
        min_items: int = 2,
        on_bad_image: OnBadImage = "error",
        on_small: Literal["error", "skip"] = "error",
        on_panorama: OnPanorama = "error",
        convert_colours: bool = False,
        maps: str | None = None,
        map_classes: int = 9,
        class_file: str | None = None,
        augment: list[dict[str, dict[str, Any]]] | None = None,
        cache_dir: str | None = None,
        **options: Any,  # noqa: ANN401  those of the base, which the command line reads there
    ) -> None:
        super().__init__(**options)
        require_at_least("data", _SMALLEST_SIDE, image_size=image_size)
        require_at_least("data", 2, min_items=min_items, map_classes=map_classes)
        self.root = Path(root)
        self.image_size = (image_size, image_size)
        self.layout, self.part, self.allow_partial = layout, part, allow_partial
        self.square = Square(image_size, crop, resize, convert_colours)
        self.rules = Rules(self.square, on_bad_image, on_small, on_panorama)
        self.mirror = mirror
        self.patch_size = patch_size
        self.patches = PatchOptions(image_size, patch_size, patch_scales)
        self.min_items = min_items
        self.maps, self.map_classes = None if maps is None else Path(maps), map_classes
        self.class_file = None if class_file is None else Path(class_file)
        self.augmentation = Augmentation(augment, image_size) if augment else None
        self.cache = default_cache() if cache_dir is None else Path(cache_dir)
        self._images: ImageSet | None = None

    # What data modules give.

    def check(self, stage: str | None = None) -> None:
        """List the pictures and hold their heads against the options; `predict` needs none."""
        if stage != "predict":
            self._images = None
            self._balanced()

    @property
    def protocol(self) -> str:
        """What evaluation figures on this data are figures of, in one line for their report."""
        found, side = self._found(), self.square.side
        pixels = found.laid_out.preparation or "as stored"
        if self.square.resize is not None:
            pixels += f", resized by {self.square.resize}"
        return (
            f"{found.laid_out.title}, compared with the first {self.real_count('test')} of its "
            f"{len(found.chosen.indices)} training images, not mirrored; {side} x {side} pixels, {pixels}, "
            f"{_CROPPED[self.square.crop]}"
        )

    def train_dataset(self) -> Dataset[Any]:
        """Patches of the pictures."""
        found = self._found()
        source = TrainingImages(
            found.laid_out.store,
            self._balanced(),
            self.square,
            self.seed,
            self.mirror,
            self.rules.on_bad_image,
            found.maps,
            self.augmentation,
        )
        return PatchSet(source, self.patches, self.seed)

    def real_images(self, stage: EvalStage) -> Dataset[Any]:
        """The same pictures, whole and not mirrored, whatever the stage."""
        found = self._found()
        return FixedImages(found.laid_out.store, found.chosen.indices, self.square)

    def signature(self, stage: EvalStage) -> str:
        """What the pixels of `real_images` depend on, in one line."""
        found = self._found()
        return f"{found.laid_out.title} version {_VERSION} {found.key} count {len(found.chosen.indices)} {self.square}"

    def collate(self, examples: list[Any]) -> Any:  # noqa: ANN401
        """Join patches to `Patches`, real images to `Real`, numbers as the base does."""
        if is_patch(examples[0]):
            return collate_patches(examples, self.image_size)
        if "images" in examples[0]:
            return collate_named(examples)
        return super().collate(examples)

    # Inner parts.

    def _trained(self) -> np.ndarray:
        """[N] int64: the pictures of the store that are trained on."""
        return self._found().chosen.indices

    def _balanced(self) -> np.ndarray:
        """[M] int64: the same, with those of rarer classes several times."""
        if self.class_file is None:
            return self._trained()
        return balanced(self._trained(), self._found().laid_out.store, self.class_file)

    def _found(self) -> ImageSet:
        if self._images is None:
            self._images = self._look()
        return self._images

    def _look(self) -> ImageSet:
        laid_out = lay_out(self.root, self.layout, self.part, self.allow_partial, self.cache)
        store = laid_out.store
        files_key = key_of(files=store.files)
        heads = cached_heads(store, files_key, self.square.convert, self.cache)
        chosen = choose(store, heads, laid_out.candidates, self.rules)
        self._report(laid_out.title, chosen)
        maps = None
        if self.maps is not None:
            maps = SegmentationMaps.of(self.maps, store, heads.sizes, self.map_classes)
            maps.check(chosen.indices, self.cache)
        return ImageSet(laid_out, chosen, key_of(files_key, chosen.indices.tolist()), maps)

    def _report(self, title: str, chosen: Chosen) -> None:
        """Tell what is left out; refuse a set that is too small."""
        count, reasons = len(chosen.indices), chosen.summary()
        head = f"{title}: found {count} usable images under {self.root}" + (
            f", without {reasons}" if reasons else ""
        )
        if count < self.min_items:
            raise UserError(
                f"{head}; data.min_items wants {self.min_items}: add pictures, or see docs/data/images.md"
            )
        if reasons:
            rank_zero_warn(head)
