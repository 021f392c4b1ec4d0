"""`Photographs`: pictures of a folder, some perhaps with holes, to find a generator's styles for."""

from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from repsynth.datamodules.base import DataModule, EvalStage, Part, length
from repsynth.datamodules.images import (
    SUFFIXES,
    fit_image,
    image_files,
    read_image,
    read_size,
    require_mode,
    require_size,
)
from repsynth.datamodules.samplers import SampleKey
from repsynth.errors import UserError, require_at_least

_KNOWN = 128
"""Brightness from which a pixel of a mask says known."""


class Photographs(DataModule):
    """Photographs for `repsynth predict`, with the batch `batches.Photographs`; nothing to train on or to evaluate.

    A photograph is scaled until its shorter side fits, and its middle is cut out. Its mask goes the same way: a pixel
    is known if all pixels of the file that went into it are.

    Args:
        root: folder of the photographs (PNG, JPEG), not searched further down.
        masks: folder of a picture for each, with the same name up to the suffix and the same size: white where the
            photograph is known, black where it shall be filled in; null takes all pixels as known.
        image_size: (height, width) in pixels; the generator's training images are a good size.
        convert_colours: accept transparency and CMYK; transparency is dropped.
        loaders: those of `DataModule`.

    Raises:
        UserError: for impossible options.
    """

    def __init__(
        self,
        root: str,
        masks: str | None = None,
        image_size: tuple[int, int] = (256, 256),
        convert_colours: bool = False,
        **loaders: Any,  # noqa: ANN401  those of DataModule
    ) -> None:
        super().__init__(**loaders)
        require_at_least("data", 1, image_size=min(image_size))
        self.root = Path(root)
        self.masks = None if masks is None else Path(masks)
        self.image_size = image_size
        self.convert_colours = convert_colours

    def train_dataset(self) -> Dataset[Any]:
        """There is none."""
        raise _only_for_predict("fit")

    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        """There is none."""
        raise _only_for_predict(stage)

    def predict_dataset(self) -> Dataset[Any]:
        """The photographs in the order of their names."""
        return _Files(_photographs(self.root), self.masks, self.image_size, self.convert_colours)

    def parts(self, stage: str | None = None) -> tuple[Part, ...]:
        """None: nothing is trained on or evaluated."""
        return ()

    def check(self, stage: str | None = None) -> None:
        """Look at the heads of all photographs and masks.

        Raises:
            UserError: another stage than `predict`, no photograph, one that is too small, or one without its mask.
        """
        if stage not in ("predict", None):
            raise _only_for_predict(stage)
        for path in _photographs(self.root):
            size = read_size(path, posed=False)
            require_mode(path, self.convert_colours)
            require_size(path, size, self.image_size)
            if self.masks is not None:
                mask = _mask_of(path, self.masks)
                require_mode(mask, convert=True)
                _require_same_size(path, size, mask, read_size(mask, posed=False))

    def describe(self, stage: str | None = None) -> dict[str, int]:
        """How many photographs there are."""
        return {"photographs": length(self.predict_dataset())}


class _Files(Dataset[dict[str, Any]]):
    def __init__(
        self, paths: list[Path], masks: Path | None, size: tuple[int, int], convert_colours: bool
    ) -> None:
        self.paths, self.masks, self.size, self.convert = paths, masks, size, convert_colours

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        path = self.paths[key.index]
        image = read_image(path, convert=self.convert, posed=False)
        known = np.ones((1, *self.size), dtype=bool)
        if self.masks is not None:
            known = self._known(path, image.shape[1:])
        return {"ids": path.stem, "images": fit_image(image, self.size, "crop"), "known": known}

    def _known(self, path: Path, size: tuple[int, ...]) -> np.ndarray:
        assert self.masks is not None
        mask = _mask_of(path, self.masks)
        levels = read_image(mask, convert=True, posed=False)
        _require_same_size(path, size, mask, levels.shape[1:])
        whole = np.where(levels.mean(axis=0, keepdims=True) >= _KNOWN, np.uint8(255), np.uint8(0))
        known = fit_image(whole.repeat(3, axis=0), self.size, "crop")[:1] == 255
        if not known.any():
            raise UserError(
                f"{mask}: is nowhere white at the size of data.image_size {self.size[1]}x{self.size[0]}, so nothing of "
                f"{path} is known; expected white where the photograph is known and black where it shall be filled in"
            )
        return known


def _only_for_predict(stage: str) -> UserError:
    return UserError(
        f"the data module Photographs is for predict and gives nothing to {stage}; use the data of the training, such "
        "as an experiment's own data section"
    )


def _photographs(root: Path) -> list[Path]:
    _require_folder(root, "root")
    paths = image_files(root)
    if not paths:
        raise UserError(f"{root}: holds no photograph (option data.root); expected files {_suffixes()}")
    stems: dict[str, Path] = {}
    for path in paths:
        if path.stem in stems:
            raise UserError(
                f"{path}: has the same name as {stems[path.stem].name} up to the suffix; rename one, because "
                "predictions are named without it"
            )
        stems[path.stem] = path
    return paths


def _mask_of(path: Path, masks: Path) -> Path:
    _require_folder(masks, "masks")
    found = [file for file in image_files(masks) if file.stem == path.stem]
    if len(found) != 1:
        raise UserError(
            f"{masks}: holds {len(found) or 'no'} masks named {path.stem} for {path} (option data.masks); expected "
            f"one, {_suffixes()}, white where the photograph is known"
        )
    return found[0]


def _require_folder(folder: Path, option: str) -> None:
    if not folder.is_dir():
        raise UserError(
            f"no folder at {folder} (option data.{option}); expected one of pictures {_suffixes()}"
        )


def _require_same_size(path: Path, size: tuple[int, ...], mask: Path, mask_size: tuple[int, ...]) -> None:
    if tuple(size) != tuple(mask_size):
        raise UserError(
            f"{mask} is {mask_size[1]}x{mask_size[0]} (width x height), but its photograph {path} {size[1]}x{size[0]}; "
            "expected masks of the photographs' sizes"
        )


def _suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))
