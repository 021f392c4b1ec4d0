from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from repsynth.datamodules.base import DataModule
from repsynth.datamodules.samplers import SampleKey
from repsynth.errors import UserError


class ToyPictures(DataModule):
    """Pictures of one random colour each.

    Args:
        root: Folder that has to be there, or null.
        side: Height and width.
        size: Number of pictures.
        batch_size: Global batch size.
        num_workers: Worker processes.
    """

    def __init__(
        self,
        root: str | None = None,
        side: int = 4,
        size: int = 6,
        batch_size: int = 2,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers)
        self.root, self.side, self.size = root, side, size

    def check(self, stage: str | None = None) -> None:
        if self.root and not Path(self.root).is_dir():
            raise UserError(f"ToyPictures: no folder at {self.root} (option data.root); expected any folder")

    def train_dataset(self) -> Dataset[Any]:
        return Pictures(self.size, self.side)

    def eval_dataset(self, stage: str) -> Dataset[Any]:
        return Pictures(3, self.side)


class Pictures(Dataset[Any]):
    def __init__(self, size: int, side: int) -> None:
        self.size, self.side = size, side

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        colour = torch.from_numpy(key.rng(0).random(3)).float()
        return {"ids": f"picture-{key.index}", "image": colour[:, None, None].expand(3, self.side, self.side)}
