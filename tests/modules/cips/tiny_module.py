"""CIPS modules and data that train in milliseconds."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from repsynth.batches import Patches
from repsynth.datamodules.base import EvalStage
from repsynth.datamodules.image_sets import GeneratedSets
from repsynth.datamodules.samplers import SampleKey
from repsynth.modules.cips.module import CIPS
from repsynth.modules.cips.options import DiscriminatorOptions, GeneratorOptions, LearningOptions

GENERATOR = {"grid_size": 8, "features": 6, "width": 8, "style_size": 6, "mapping_layers": 2}


def tiny_cips(
    generator: dict[str, Any] | None = None,
    discriminator: dict[str, Any] | None = None,
    learning: dict[str, Any] | None = None,
    **options: Any,  # noqa: ANN401
) -> CIPS:
    """Always the same weights, with noise that already counts."""
    torch.manual_seed(0)
    module = CIPS(
        GeneratorOptions(**{**GENERATOR, **(generator or {})}),
        DiscriminatorOptions(**{"size": 8, "width": 8, **(discriminator or {})}),
        LearningOptions(**(learning or {})),
        **options,
    )
    with torch.no_grad():
        for name, parameter in module.generator.named_parameters():
            if name.endswith("strength"):
                parameter.fill_(0.3)
    return module


class Blots(GeneratedSets):
    """Random pictures of 8 x 8, or patches of 8 x 8 cut with a step out of pictures of `side`."""

    def __init__(self, count: int = 40, side: int = 8, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**{"val_samples": 5, "test_samples": 5, "real_samples": 8, **options})
        self.count, self.side = count, side
        self.image_size, self.patch_size = (side, side), None if side == 8 else 8

    def train_dataset(self) -> Dataset[Any]:
        return Items(self.count, self.seed, self.side)

    def real_images(self, stage: EvalStage) -> Dataset[Any]:
        return Items(self.count, self.seed, self.side)

    def signature(self, stage: EvalStage) -> str:
        return f"blots {self.count} {self.side} {self.seed}"

    def collate(self, examples: list[dict[str, Any]]) -> Any:  # noqa: ANN401
        batch = super().collate(examples)
        return batch | {"image_size": self.image_size} if "windows" in batch else batch


class Items(Dataset[Any]):
    def __init__(self, count: int, seed: int, side: int) -> None:
        self.count, self.seed, self.side = count, seed, side

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        rng = key.rng(self.seed)
        shade = rng.uniform(0, 200, 3)[:, None, None] + rng.uniform(0, 50, (3, 8, 8))
        row, column = rng.integers(0, self.side - 7, 2)
        return {
            "ids": f"{key.index:03d}",
            "images": torch.from_numpy(shade.astype(np.uint8)),
            "windows": torch.tensor([row, column, 1]),
        }


def patches(
    images: Tensor, image_size: tuple[int, int] | None = None, windows: Tensor | None = None
) -> Patches:
    """A batch of images [B, 3, c, c] in [0, 1]; whole ones where nothing else is said."""
    count, side = len(images), images.shape[-1]
    whole = torch.tensor([[0, 0, 1]]).expand(count, -1)
    return {
        "ids": [f"{number}" for number in range(count)],
        "images": images,
        "windows": whole if windows is None else windows,
        "image_size": image_size or (side, side),
    }
