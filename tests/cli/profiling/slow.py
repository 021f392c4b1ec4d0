"""A method every part of whose step takes a known time, stepped by Lightning or by hand."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn
from torch.utils.data import Dataset

from repsynth.batches import Paired
from repsynth.datamodules.base import DataModule, EvalStage
from repsynth.datamodules.samplers import SampleKey

SECONDS = {
    "data": 0.03,
    "transfer": 0.02,
    "forward": 0.06,
    "backward": 0.05,
    "optimiser": 0.04,
    "callbacks": 0.025,
}
BATCH = 2


class SlowPictures(DataModule):
    """Takes its time per batch, in the main process and on the way to the device."""

    def __init__(self, count: int = 8, num_workers: int = 0) -> None:
        super().__init__(batch_size=BATCH, eval_batch_size=BATCH, num_workers=num_workers, seed=0)
        self.count = count

    def train_dataset(self) -> Dataset[Any]:
        return _Pictures(self.count, SECONDS["data"] / BATCH)

    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        return _Pictures(6, SECONDS["data"] / BATCH)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ANN401
        time.sleep(SECONDS["transfer"])
        return super().on_after_batch_transfer(batch, dataloader_idx)


class _Pictures(Dataset[Any]):
    def __init__(self, count: int, seconds: float) -> None:
        self.count, self.seconds = count, seconds

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        time.sleep(self.seconds)
        return {"ids": f"{key.index:03}", "image": torch.full((3, 16, 16), 100, dtype=torch.uint8)}


class _Late(torch.autograd.Function):
    """Takes its time in the backward pass."""

    @staticmethod
    def forward(context: Any, value: Tensor, seconds: float) -> Tensor:  # noqa: ANN401
        context.seconds = seconds
        return value.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        time.sleep(context.seconds)
        return gradient, None


class _LateSGD(torch.optim.SGD):
    def __init__(self, network: nn.Module, seconds: float) -> None:
        super().__init__(network.parameters(), lr=1e-3)
        self.seconds = seconds

    def step(self, closure: Any = None) -> Any:  # noqa: ANN401
        result = super().step(closure)
        time.sleep(self.seconds)
        return result


class Slow(LightningModule):
    """One optimiser, stepped by Lightning."""

    optimisers = 1

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Conv2d(3, 3, 1)

    def loss(self, batch: dict[str, Any]) -> Tensor:
        time.sleep(SECONDS["forward"] / self.optimisers)
        loss = _Late.apply(
            self.network(batch["image"]).square().mean(), SECONDS["backward"] / self.optimisers
        )
        self.log("train/loss", loss.detach())
        return loss

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor | None:
        return self.loss(batch)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Paired:
        time.sleep(SECONDS["forward"])
        return {"ids": batch["ids"], "predicted": self.network(batch["image"]), "expected": batch["image"]}

    def configure_optimizers(self) -> Any:  # noqa: ANN401
        return [
            _LateSGD(self.network, SECONDS["optimiser"] / self.optimisers) for _ in range(self.optimisers)
        ]


class SlowByHand(Slow):
    """Two optimisers, stepped by hand."""

    optimisers = 2

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            optimizer.step()


class Blind(Slow):
    """Without an evaluation."""

    validation_step = LightningModule.validation_step


class SlowCallback(Callback):
    def on_train_batch_end(self, *_: object, **__: object) -> None:
        time.sleep(SECONDS["callbacks"])
