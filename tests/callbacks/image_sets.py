"""A generator of images from numbers, and real images to compare them with; small enough to run many times."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from repsynth.batches import Generated, Numbered
from repsynth.callbacks.evaluation import Evaluation
from repsynth.datamodules.base import EvalStage
from repsynth.datamodules.image_sets import GeneratedSets
from repsynth.datamodules.samplers import SampleKey
from repsynth.metrics.set_scores import SET_METRICS, SetOptions
from repsynth.nn.latents import latents

OFFLINE = SetOptions(inception_weights="random", vgg_weights="random", kid_subset_size=50, kid_samples=100)
SIDE = 16
REAL, GENERATED = 167, 151


def painted(coarse: Tensor) -> Tensor:
    """[N, 3, 4, 4] to smooth pictures [N, 3, SIDE, SIDE] around 0.5."""
    return 0.5 + 0.25 * nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")


class Pictures(Dataset[dict[str, Any]]):
    def __init__(self, count: int, first: int) -> None:
        self.count, self.first = count, first

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        coarse = latents(torch.tensor([9]), torch.tensor([self.first + key.index]), 3, 4, 4)
        picture = painted(coarse)[0].clamp(0, 1).mul(255).round().byte()
        # The order of ids is not that of the set.
        return {"ids": f"{key.index * 7 % 1000:03d}.png", "images": picture}


class PictureSets(GeneratedSets):
    """`first` stands for the files of a folder: another number, other pictures."""

    def __init__(self, first: int = 0, real: int = REAL, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**{"val_samples": GENERATED, "test_samples": GENERATED} | options)
        self.first, self.real = first, real
        self.image_size = (SIDE, SIDE)
        self.read = 0

    def train_dataset(self) -> Dataset[Any]:
        return Pictures(self.real, self.first)

    def real_images(self, stage: EvalStage) -> Dataset[Any]:
        return Pictures(self.real, self.first)

    def signature(self, stage: EvalStage) -> str:
        return f"pictures from {self.first}"

    def real_loader(self, stage: EvalStage) -> Any:  # noqa: ANN401
        self.read += 1
        return super().real_loader(stage)


class Painter(pl.LightningModule):
    """Pictures of latents, of a little more contrast than the real ones, in any precision."""

    def __init__(self, contrast: float = 1.2) -> None:
        super().__init__()
        self.contrast = nn.Parameter(torch.tensor(contrast))

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        return (self.contrast - 1).square()

    def validation_step(self, batch: Numbered, index: int) -> Generated:
        drawn = latents(batch["seeds"], batch["numbers"], 3, 4, 4)
        return {"ids": batch["ids"], "generated": painted(self.contrast * drawn)}

    def test_step(self, batch: Numbered, index: int) -> Generated:
        return self.validation_step(batch, index)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


def trainer_in(root: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:  # noqa: ANN401
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "default_root_dir": root,
        "callbacks": list(callbacks) or [Evaluation(SET_METRICS, sets=OFFLINE)],
        "max_epochs": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "use_distributed_sampler": False,
    }
    return pl.Trainer(**settings | options)


def report_of_test(root: Path, data: PictureSets, **options: Any) -> dict[str, Any]:  # noqa: ANN401
    """The report of a test."""
    trainer_in(root, **options).test(Painter(), data, verbose=False)
    return report(root, "test")


def report(root: Path, stage: str) -> dict[str, Any]:
    return json.loads((root / "evaluation" / f"{stage}.json").read_text())


def means(content: dict[str, Any]) -> dict[str, float]:
    return {name: figure["mean"] for name, figure in content["figures"].items()}
