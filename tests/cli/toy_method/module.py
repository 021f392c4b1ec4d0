from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn

from repsynth.errors import UserError


@dataclass
class Schedule:
    lr: float = 0.1
    warmup_samples: int = 0


class Gain(nn.Module):
    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        if strength <= 0:
            raise UserError(f"Gain.strength is {strength}; expected a positive number")
        self.strength = strength

    def forward(self, image: Tensor) -> Tensor:
        return self.strength * image


class ToyMethod(LightningModule):
    """Copies pictures.

    Args:
        width: Channels of the narrow middle.
        kind: Which activation follows the encoder.
        schedule: How the learning rate goes.
        gain: What is applied to the copy.
        by_hand: Whether the optimiser is stepped by hand.
    """

    def __init__(
        self,
        width: int = 4,
        kind: Literal["relu", "tanh"] = "relu",
        schedule: Schedule | None = None,
        gain: Gain | None = None,
        by_hand: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = not by_hand
        self.schedule = schedule or Schedule()
        self.encoder = nn.Conv2d(3, width, 1)
        self.decoder = nn.Conv2d(width, 3, 1)
        self.gain = gain or Gain()
        self.activation = nn.ReLU() if kind == "relu" else nn.Tanh()

    def check(self, datamodule: LightningDataModule) -> None:
        side = getattr(datamodule, "side", 4)
        if side % 4:
            raise UserError(f"data.side is {side}, but ToyMethod halves it twice; use a multiple of 4")

    def forward(self, image: Tensor) -> Tensor:
        return self.gain(self.decoder(self.activation(self.encoder(image))))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss = torch.mean((self(batch["image"]) - batch["image"]) ** 2)
        self.log_dict({"train/l2": loss, "train/loss": loss})
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        return {"ids": batch["ids"], "predicted": self(batch["image"]), "expected": batch["image"]}

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.schedule.lr)
