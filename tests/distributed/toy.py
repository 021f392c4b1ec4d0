"""A small but nasty method: noise in the step, spectral norm, schedules, two optimisers, augmentation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.data import Dataset

from distributed.harness import make_trainer
from repsynth.callbacks.checkpoint import Checkpoint
from repsynth.callbacks.ema import EMA
from repsynth.datamodules.base import DataModule, EvalStage
from repsynth.datamodules.samplers import SampleKey, epoch_order

SAMPLES, BATCH, EPOCHS = 22, 4, 2
"""Five batches per epoch; two samples are left over."""


class Examples(Dataset[Any]):
    def __init__(self, size: int, example: Callable[[SampleKey], Any]) -> None:
        self.size = size
        self.example = example

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: SampleKey) -> Any:  # noqa: ANN401
        return self.example(key)


class ToyData(DataModule):
    def train_dataset(self) -> Dataset[Any]:
        return Examples(SAMPLES, self._augmented)

    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        return Examples(3, self._plain)

    def _plain(self, key: SampleKey) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(key.index)
        image = torch.randint(256, (3, 4, 4), generator=generator, dtype=torch.uint8)
        return {"ids": str(key.index), "image": image}

    def _augmented(self, key: SampleKey) -> dict[str, Any]:
        example = self._plain(key)
        gain = torch.tensor(key.rng(self.seed).uniform(0.5, 1.0, (3, 1, 1)))
        example["image"] = (example["image"] * gain).to(torch.uint8)
        return example


class Toy(pl.LightningModule):
    """One optimiser."""

    def __init__(self, lr: float = 1e-2) -> None:
        super().__init__()
        self.lr = lr
        self.network = _network(3)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        noisy = batch["image"] + 0.1 * torch.randn_like(batch["image"])
        error = F.mse_loss(self.network(noisy), batch["image"])
        self.log("train/error", error)
        self.log("train/loss", error)
        return error

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        noisy = batch["image"] + 0.1 * torch.randn_like(batch["image"])
        self.log("val/error", F.mse_loss(self.network(noisy), batch["image"]), on_epoch=True, sync_dist=True)

    test_step = validation_step

    def configure_optimizers(self) -> Any:  # noqa: ANN401
        optimizer = torch.optim.Adam(self.network.parameters(), self.lr)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Poisoned(Toy):
    """One term becomes NaN in the batch that holds a certain sample."""

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        error = super().training_step(batch, batch_idx)
        term = torch.tensor(torch.nan if "7" in batch["ids"] else 0.0)
        self.log("train/term", term)
        self.log("train/total", error + term)
        return error + term


def poisoned_batch() -> tuple[int, list[str]]:
    order = [str(i) for i in epoch_order(22, 5, 0)]
    start = order.index("7") // BATCH * BATCH
    return start, order[start : start + BATCH]


class ToyGAN(Toy):
    """Two optimisers by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = _network(1)
        self.automatic_optimization = False

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:  # type: ignore[override]
        first, second = self.optimizers()
        image = batch["image"]
        fake = self.network(image + 0.1 * torch.randn_like(image))
        self._step(second, F.softplus(self.critic(fake.detach()) - self.critic(image)).mean())
        self._step(first, F.mse_loss(fake, image) - self.critic(fake).mean())
        for scheduler in self.lr_schedulers():
            scheduler.step()

    def _step(self, optimizer: Any, loss: Tensor) -> None:  # noqa: ANN401
        self.toggle_optimizer(optimizer)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self.untoggle_optimizer(optimizer)

    def configure_optimizers(self) -> Any:  # noqa: ANN401
        first = torch.optim.Adam(self.network.parameters(), 1e-2)
        second = torch.optim.Adam(self.critic.parameters(), 3e-3)
        return [first, second], [torch.optim.lr_scheduler.ExponentialLR(o, 0.9) for o in (first, second)]


def _network(channels: int) -> nn.Module:
    return nn.Sequential(
        parametrizations.spectral_norm(nn.Conv2d(3, 8, 3, padding=1)),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Conv2d(8, channels, 3, padding=1),
    )


def build(
    root: Path,
    method: Callable[[], pl.LightningModule] = Toy,
    workers: int = 0,
    devices: int = 1,
    extra: tuple[pl.Callback, ...] = (),
    every_samples: int = 2 * BATCH,
    **trainer: Any,  # noqa: ANN401
) -> tuple[pl.Trainer, pl.LightningModule, DataModule]:
    """A complete run of two epochs in `root`: everything that a restart has to bring back."""
    pl.seed_everything(1, verbose=False)
    callbacks = [
        EMA(["network"], half_life=20, ramp=0.5),
        *extra,
        Checkpoint(monitor="val/error", mode="min", every_samples=every_samples),
    ]
    strategy = "ddp_find_unused_parameters_true" if devices > 1 else "auto"
    options = {"devices": devices, "strategy": strategy, "max_epochs": EPOCHS} | trainer
    data = ToyData(batch_size=BATCH, eval_batch_size=1, num_workers=workers, seed=5)
    return make_trainer(root, callbacks, **options), method(), data
