"""What an `ImageFolder` gives, and FFHQ in small."""

import pytest
import torch

from repsynth.batches import Patches
from repsynth.datamodules import ffhq
from repsynth.datamodules.image_folder import ImageFolder
from tests.datamodules.stored_sets import Pictures, encoded, noise


def training(data: ImageFolder, epochs: int = 1) -> list[Patches]:
    loader = data.train_dataloader()
    found = []
    for epoch in range(epochs):
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        found += [{**batch, "images": batch["images"].clone()} for batch in loader]
    return found  # type: ignore[return-value]


def real(data: ImageFolder) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for batch in data.real_loader("test"):
        assert not set(batch["ids"]) & set(found)
        found |= dict(zip(batch["ids"], batch["images"].clone(), strict=True))
    return found


def shrink_ffhq(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFHQ of 70 pictures, 10 in a folder."""
    ranges = {"all": range(70), "training": range(60), "validation": range(60, 70)}
    for name, value in {"_COUNT": 70, "_TRAINING": 60, "_RANGES": ranges, "_PER_FOLDER": 10}.items():
        monkeypatch.setattr(ffhq, name, value)


FACE = encoded(noise(3))


def faces(numbers: range | list[int], nested: bool = True) -> Pictures:
    folders = {number: f"{number // 10 * 10:05d}/" if nested else "" for number in numbers}
    return {f"{folders[number]}{number:05d}.png": FACE for number in numbers}
