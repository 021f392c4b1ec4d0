"""HiDT modules and data that train in milliseconds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from distributed.harness import make_trainer
from torch import Tensor
from torch.utils.data import Dataset

from repsynth.datamodules.base import DataModule, EvalStage
from repsynth.datamodules.samplers import SampleKey
from repsynth.modules.hidt.enhancer_module import HiDTEnhancer
from repsynth.modules.hidt.learning import EnhancerLossWeights, JudgeOptions, LossWeights
from repsynth.modules.hidt.module import HiDT
from repsynth.modules.hidt.options import DiscriminatorOptions, EnhancerOptions, GeneratorOptions

from .tiny import OPTIONS

GENERATOR = OPTIONS | {"style_downsamplings": 2}
DISCRIMINATOR = {"width": 4, "levels": 2, "scales": 2}
ENHANCER = {"factor": 2, "width": 8, "blocks": 1, "growth": 3}


def tiny_hidt(
    generator: dict[str, Any] | None = None,
    discriminator: dict[str, Any] | None = None,
    weights: dict[str, float] | None = None,
    **options: Any,  # noqa: ANN401
) -> HiDT:
    """Always the same weights."""
    torch.manual_seed(0)
    return HiDT(
        GeneratorOptions(**{**GENERATOR, **(generator or {})}),
        DiscriminatorOptions(**{**DISCRIMINATOR, **(discriminator or {})}),
        LossWeights(**(weights or {})),
        **options,
    )


def only(kind: type[LossWeights] | type[EnhancerLossWeights], **weights: float) -> dict[str, float]:
    """Weights of some terms, 0 for all others."""
    return {**dict.fromkeys(kind.__dataclass_fields__, 0.0), **weights}


class Slopes(DataModule):
    """Random pictures of 16 x 16 with maps of 5 classes; relighting makes them darker."""

    def __init__(
        self,
        count: int = 24,
        side: int = 16,
        maps: bool = True,
        truth: bool = True,
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**options)
        self.count, self.maps, self.truth = count, maps, truth
        self.image_size = (side, side)

    def train_dataset(self) -> Dataset[Any]:
        return _Items(self, training=True)

    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        return _Items(self, training=False)

    def collate(self, examples: list[Any]) -> Any:  # noqa: ANN401
        batch = super().collate(examples)
        return batch | {"image_size": self.image_size} if "windows" in batch else batch


@dataclass
class _Items(Dataset[dict[str, Any]]):
    data: Slopes
    training: bool

    def __len__(self) -> int:
        return self.data.count if self.training else 5

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        side = self.data.image_size[0]
        rng = key.rng(self.data.seed) if self.training else np.random.default_rng(key.index)
        noise = rng.uniform(0, 60, (3, side, side))
        image = rng.uniform(0, 190, 3)[:, None, None] + noise
        name = f"{key.index:03d}"
        if self.training:
            maps = {"maps": torch.from_numpy(rng.integers(0, 5, (side, side)))} if self.data.maps else {}
            return {"ids": name, "images": _bytes(image), "windows": torch.tensor([0, 0, 1]), **maps}
        style = _bytes(0.5 * np.roll(image, 5, axis=2))
        truth = {"truth": _bytes(0.5 * image)} if self.data.truth else {}
        return {"ids": name, "content": _bytes(image), "style": style, **truth}


def _bytes(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image.astype(np.uint8))


def tiny_enhancing(
    enhancer: dict[str, Any] | None = None,
    weights: dict[str, float] | None = None,
    generator: dict[str, Any] | None = None,
    **options: Any,  # noqa: ANN401
) -> HiDTEnhancer:
    """Always the same weights; photos of 16 x 16 of crops of 8 x 8."""
    torch.manual_seed(0)
    module = HiDTEnhancer(
        generator=GeneratorOptions(**{**GENERATOR, **(generator or {})}),
        enhancer=EnhancerOptions(**{**ENHANCER, **(enhancer or {})}),
        discriminator=JudgeOptions(width=4, levels=2, scales=2),
        loss_weights=EnhancerLossWeights(**(weights or {})),
        **{"perceptual": "random", "perceptual_levels": 2, **options},
    )
    module.translates = True  # random weights are good enough
    return module


def silent(module: HiDT | HiDTEnhancer) -> Any:  # noqa: ANN401
    """A module without a trainer to log to."""
    module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    return module


class Steps(pl.Callback):
    """Which optimiser stepped in which iteration at what rate, and the metrics after it."""

    def __init__(self) -> None:
        self.order: list[tuple[int, str, float]] = []
        self.metrics: list[dict[str, float]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:  # noqa: ANN401
        group = optimizer.param_groups[0]
        names = {id(p): name for name, p in pl_module.named_parameters()}
        network = names[id(group["params"][0])].partition(".")[0]
        self.order.append((pl_module.iterations, network, group["lr"]))

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:  # noqa: ANN401
        self.metrics.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def train(
    module: pl.LightningModule,
    root: Path,
    data: Slopes | None = None,
    **options: Any,  # noqa: ANN401
) -> Steps:
    """Train for an epoch, five iterations where no data are given."""
    steps = Steps()
    trainer = make_trainer(
        root, [steps], **{"max_epochs": 1, "limit_val_batches": 0, "enable_checkpointing": False, **options}
    )
    trainer.fit(module, datamodule=data or Slopes(count=20, batch_size=4, seed=5))
    return steps
