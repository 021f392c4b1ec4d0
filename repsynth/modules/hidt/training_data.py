"""What training takes from a data module and its batches."""

import torch
from torch import Tensor

from repsynth.batches import Patches
from repsynth.datamodules.base import DataModule
from repsynth.datamodules.image_sets import check_asks_for
from repsynth.errors import UserError
from repsynth.modules.hidt.options import GeneratorOptions
from repsynth.modules.hidt.palette import COLOURS


def to_network(images: Tensor, dequantise: bool = False) -> Tensor:
    """From [0, 1] to [-1, 1]; with noise below one grey level for `dequantise`, up to 1 + 2 / 255."""
    if dequantise:
        images = images + torch.rand_like(images) / 255
    return images * 2 - 1


def training_size(datamodule: DataModule) -> tuple[int, int] | None:
    """Return (height, width) of the training images; None for data that have none."""
    side = getattr(datamodule, "patch_size", None)
    return getattr(datamodule, "image_size", None) if side is None else (side, side)


def check_relightings(datamodule: DataModule) -> None:
    """Raise UserError where validation does not ask for photographs in the light of others."""
    check_asks_for(datamodule, "relightings", "HiDT", "PhotoPairs or SyntheticLandscapes")


def check_pairs(datamodule: DataModule) -> None:
    """Raise UserError where no image has a partner to exchange styles with."""
    if datamodule.batch_size < 2:
        raise UserError(
            f"data.batch_size is {datamodule.batch_size}, but HiDT exchanges styles within a batch; expected at least "
            "2 for every device"
        )


def check_maps(datamodule: DataModule, options: GeneratorOptions) -> None:
    """Raise UserError where segmentation is to be learned from data without maps, or with more classes."""
    name = type(datamodule).__name__
    if not getattr(datamodule, "maps", None):
        raise UserError(_without_maps(name, "gives"))
    most = options.classes if options.segmentation == "classes" else len(COLOURS)
    classes = getattr(datamodule, "map_classes", most)
    if classes > most:
        raise UserError(
            f"the maps of {name} have {classes} classes, but model.generator.segmentation {options.segmentation} has "
            f"{most}; set it to classes, and model.generator.classes to {classes}"
        )


def check_factor(size: tuple[int, int], factor: int, multiple: int) -> None:
    """Raise UserError where photos of (height, width) `size` cannot be reduced to sides that the networks take."""
    if any(side % (factor * multiple) for side in size):
        raise UserError(
            f"the enhancer with factor {factor} learns from photos with sides that are multiples of "
            f"{factor * multiple}, but gets {size[0]}x{size[1]}; change data.image_size"
        )


def maps_of(batch: Patches) -> Tensor:
    """Return the maps of a batch, [B, H, W] integer classes; raise UserError without any."""
    if "maps" not in batch:
        raise UserError(_without_maps("the batch", "has"))
    return batch["maps"]


def _without_maps(subject: str, verb: str) -> str:
    return (
        f"HiDT's segmentation losses need segmentation maps, but {subject} {verb} none; set "
        "model.generator.segmentation to none, or model.loss_weights.segmentation and random_segmentation to 0"
    )
