"""CIPS killed inside an interval of its lazy penalty and resumed; on two ranks, and in parts."""

import math
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from modules.cips.tiny_module import Blots, tiny_cips

from repsynth.callbacks.checkpoint import Checkpoint
from repsynth.callbacks.ema import EMA
from repsynth.callbacks.nonfinite import NonFiniteGuard
from repsynth.modules.alternating_steps import AlternatingOptions
from repsynth.modules.cips.module import CIPS

from .harness import (
    GivenGradients,
    Make,
    check_resumed,
    differences,
    final_state,
    make_trainer,
    start,
    start_and_kill,
)
from .ranks import run_ranks

ITERATIONS = 40
KILLS = [
    ("on_train_batch_start", 18),  # 17 done, inside the interval of the penalties of iterations 16 and 32
    ("on_before_optimizer_step", 36),
    ("on_before_backward", 3),
    ("on_train_batch_start", 33),
    ("on_validation_batch_start", 1),
    ("on_validation_end", 1),
    ("saving", 3),
]


def build(devices: int, workers: int, root: Path, extra: tuple[pl.Callback, ...]) -> Any:  # noqa: ANN401
    pl.seed_everything(1, verbose=False)
    callbacks = [
        EMA(["generator"], half_life=40),
        NonFiniteGuard(),
        *extra,
        Checkpoint(every_samples=4),
    ]
    data = Blots(count=80, batch_size=4, num_workers=workers, seed=5)
    strategy = "ddp_find_unused_parameters_true" if devices > 1 else "auto"
    return make_trainer(root, callbacks, devices=devices, strategy=strategy), tiny_cips(), data


def run_whole(make: Make, root: Path) -> dict[str, Any]:
    start(make, root)
    whole = final_state(root)
    assert whole["iterations"] == ITERATIONS
    assert whole["global_step"] == 2 * ITERATIONS + math.ceil(ITERATIONS / 16)
    assert len(whole["optimizer_states"]) == 2
    steps = [state["state"][0]["step"].item() for state in whole["optimizer_states"]]
    assert steps == [ITERATIONS, ITERATIONS + math.ceil(ITERATIONS / 16)]
    return whole


def check(devices: int, workers: int, root: Path, kills: list[tuple[str, int]]) -> None:
    make = partial(build, devices, workers)
    check_resumed(make, run_whole(make, root / "whole"), root, kills)


@pytest.mark.slow
def test_stopped_at_iteration_17_of_40(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks, averages, optimisers, counters and data order are the same bit for bit.

    A resume that forgets the counter has its penalties at other iterations, and the comparison tells.
    """
    make = partial(build, 1, 0)
    whole = run_whole(make, tmp_path / "whole")
    start_and_kill(make, tmp_path / "killed", "on_train_batch_start", 18)
    shutil.copytree(tmp_path / "killed", tmp_path / "forgetful")
    start(make, tmp_path / "killed")
    assert differences(whole, final_state(tmp_path / "killed")) == []
    monkeypatch.setattr(CIPS, "on_load_checkpoint", lambda self, checkpoint: None)
    start(make, tmp_path / "forgetful")
    assert any("/discriminator" in name for name in differences(whole, final_state(tmp_path / "forgetful")))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_every_point_with_two_workers(tmp_path: Path, devices: int) -> None:
    if devices == 1:
        check(1, 2, tmp_path, KILLS)
    else:
        run_ranks(2, check, 2, 2, tmp_path, KILLS)


class GivenLatents(CIPS):
    """Draws the latents of a global batch of 8, of which a rank takes its own."""

    def draw(self, count: int) -> torch.Tensor:
        self.draws = getattr(self, "draws", 0) + 1
        every = torch.randn(8, self.generator.style_size, generator=torch.Generator().manual_seed(self.draws))
        return every[self.global_rank :: self.trainer.world_size]


def gradients_of_one_iteration(root: Path, devices: int, split: int = 1) -> list[dict[str, torch.Tensor]]:
    """What each optimiser is given in the first iteration, with its penalty, for a global batch of 8."""
    module = tiny_cips(noise="none", steps=AlternatingOptions(split=split))
    module.__class__ = GivenLatents
    # The minibatch standard deviation is of a rank's images: take it out of the comparison.
    for network in (module.discriminator.last,):
        with torch.no_grad():
            network.weight[:, -1] = 0
    given = GivenGradients()

    trainer = make_trainer(
        root,
        [given],
        max_epochs=1,
        limit_val_batches=0,
        enable_checkpointing=False,
        devices=devices,
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
    )
    trainer.fit(module, datamodule=Blots(count=8, batch_size=8, seed=5))
    return given.found


def on_two_ranks(root: Path) -> None:
    for split in (1, 2):
        found = gradients_of_one_iteration(root, 2, split)
        if torch.distributed.get_rank() == 0:
            torch.save(found, root / f"{split}.pt")


def test_two_ranks_and_parts_equal_one_process_on_the_joined_batch(tmp_path: Path) -> None:
    """Discriminator, penalty and generator: the mean over ranks and parts is that of the whole batch."""
    run_ranks(2, on_two_ranks, tmp_path)
    one = gradients_of_one_iteration(tmp_path, 1)
    assert len(one) == 3
    others = [torch.load(tmp_path / f"{split}.pt", weights_only=True) for split in (1, 2)]
    for other in [*others, gradients_of_one_iteration(tmp_path, 1, split=4)]:
        for whole, parts in zip(one, other, strict=True):
            largest = max(float(gradient.abs().max()) for gradient in whole.values())
            assert largest > 1e-4, "nothing is learned here, so equality would be empty"
            for name, gradient in whole.items():
                if name.endswith("last.weight"):
                    gradient, parts[name] = gradient[:, :-1], parts[name][:, :-1]
                off = float((parts[name] - gradient).abs().max())
                assert off <= 2e-5 * largest, f"{name}: {off:.1e} of {largest:.1e}"
