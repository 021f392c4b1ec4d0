"""One optimiser step of StereoLayers through a Trainer: on two ranks, and with bfloat16 networks."""

from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from modules.stereolayers.tiny import tiny_stereolayers
from torch import Tensor

from distributed.harness import make_trainer
from distributed.ranks import run_ranks
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes


class Recorder(pl.Callback):
    """Keeps the loss of every step and the first gradient, as the optimiser gets it."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.gradients: dict[str, Tensor] = {}

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if not self.gradients:
            named = pl_module.named_parameters()
            self.gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        self.losses.append(float(trainer.callback_metrics["train/loss"]))


def train(root: Path, steps: int, **trainer: object) -> Recorder:
    pl.seed_everything(1, verbose=False)
    module = tiny_stereolayers(perceptual_levels=2)
    data = SyntheticScenes(image_size=(32, 32), train_scenes=4 * steps, eval_scenes=1, batch_size=4, seed=5)
    recorder = Recorder()
    make_trainer(
        root, [recorder], max_epochs=1, limit_val_batches=0, enable_checkpointing=False, **trainer
    ).fit(module, datamodule=data)
    return recorder


def record_on_two_ranks(root: Path) -> None:
    recorder = train(root, 1, devices=2, strategy="ddp")
    if torch.distributed.get_rank() == 0:
        torch.save(recorder.gradients, root / "gradients.pt")


def test_gradients_of_two_ranks_equal_those_of_the_joined_batch(tmp_path: Path) -> None:
    run_ranks(2, record_on_two_ranks, tmp_path)
    two = torch.load(tmp_path / "gradients.pt", weights_only=True)
    one = train(tmp_path, 1, devices=1).gradients
    assert two.keys() == one.keys()
    for part in ("geometry_network", "coloring_network"):
        largest = max(float(g.abs().max()) for name, g in one.items() if part in name)
        assert largest > 1e-3, f"{part} learns nothing here, so equality would be empty"
        for name in (name for name in one if part in name):
            off = float((two[name] - one[name]).abs().max())
            assert off <= 1e-5 * largest, f"{name}: {off:.1e} of {largest:.1e}"


@pytest.mark.slow
def test_bf16_mixed_stays_within_half_a_percent_of_float32(tmp_path: Path) -> None:
    full = train(tmp_path, 4, devices=1)
    half = train(tmp_path, 4, devices=1, precision="bf16-mixed")
    assert half.losses != full.losses, "the networks ran in float32"
    assert half.losses == pytest.approx(full.losses, rel=0.005)
    for part in ("geometry_network", "coloring_network"):
        exact, rounded = (
            torch.cat([g.flatten() for name, g in run.gradients.items() if part in name])
            for run in (full, half)
        )
        assert torch.cosine_similarity(exact, rounded, dim=0) > 0.995
