"""StereoLayers with a discriminator: killed and resumed, with joined batches and lazy penalties; on two ranks."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from modules.stereolayers.test_adversarial_module import Recorder
from modules.stereolayers.tiny import tiny_adversarial

from repsynth.callbacks.checkpoint import Checkpoint
from repsynth.callbacks.ema import EMA
from repsynth.callbacks.evaluation import Evaluation
from repsynth.callbacks.nonfinite import NonFiniteGuard
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes
from repsynth.modules.manual_steps import StepOptions
from repsynth.modules.stereolayers.adversarial_module import DiscriminatorOptions

from .harness import (
    Make,
    check_resumed,
    differences,
    final_state,
    make_trainer,
    start,
    start_and_kill,
)
from .ranks import run_ranks

KILLS = [
    ("on_before_backward", 8),
    ("on_before_optimizer_step", 4),
    ("on_train_batch_end", 4),
    ("on_train_batch_end", 5),
    ("on_validation_batch_start", 1),
    ("on_validation_end", 1),
    ("on_train_batch_start", 6),
    ("on_train_batch_end", 8),
    ("saving", 2),
    ("saving", 4),
]
"""Points of two epochs of five batches, joined two by two with one left over: in the middle of a pair, between the two
gradients and the two steps, before and after an iteration with a penalty."""


def build(devices: int, workers: int, root: Path, extra: tuple[pl.Callback, ...]) -> Any:  # noqa: ANN401
    pl.seed_everything(1, verbose=False)
    callbacks = [
        EMA(["generator"], half_life=8),
        Evaluation(metrics=["psnr"]),
        NonFiniteGuard(),
        *extra,
        Checkpoint(monitor="val/psnr", every_samples=4),
    ]
    module = tiny_adversarial(
        steps=StepOptions(gradient_clip=1.0, accumulate=2),
        discriminator=DiscriminatorOptions(width=4, levels=2, spectral=True, r1_every=3),
        learning_rate_decay=0.5,
    )
    data = SyntheticScenes(
        image_size=(32, 32),
        train_scenes=10,
        eval_scenes=3,
        augment=True,
        batch_size=2,
        num_workers=workers,
        seed=5,
    )
    strategy = "ddp_find_unused_parameters_true" if devices > 1 else "auto"
    return make_trainer(root, callbacks, devices=devices, strategy=strategy), module, data


def run_whole(make: Make, root: Path) -> dict[str, Any]:
    start(make, root)
    whole = final_state(root)
    assert whole["iterations"] == 6, "three steps in each epoch"
    assert len(whole["optimizer_states"]) == len(whole["lr_schedulers"]) == 2
    return whole


def check(devices: int, workers: int, root: Path, kills: list[tuple[str, int]]) -> None:
    make = partial(build, devices, workers)
    check_resumed(make, run_whole(make, root / "whole"), root, kills)


def forget_the_counter(module: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ANN401
    module.iterations = 0


@pytest.mark.slow
def test_one_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the steps of the two optimisers, so resumed after two iterations, before one with a penalty.

    A resume that forgets the counter has its penalties at other steps, and the comparison tells.
    """
    make = partial(build, 1, 0)
    whole = run_whole(make, tmp_path / "whole")
    start_and_kill(make, tmp_path / "killed", "on_before_optimizer_step", 6)
    shutil.copytree(tmp_path / "killed", tmp_path / "forgetful")
    start(make, tmp_path / "killed")
    assert differences(whole, final_state(tmp_path / "killed")) == []
    monkeypatch.setattr("repsynth.modules.manual_steps.ManualSteps.on_load_checkpoint", forget_the_counter)
    start(make, tmp_path / "forgetful")
    found = differences(whole, final_state(tmp_path / "forgetful"))
    assert any(name.startswith("/state_dict/discriminator") for name in found)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_every_point_with_two_workers(tmp_path: Path, devices: int) -> None:
    if devices == 1:
        check(1, 2, tmp_path, KILLS)
    else:
        run_ranks(2, check, 2, 2, tmp_path, KILLS)


def record(root: Path, devices: int, accumulate: int = 1) -> Recorder:
    """The gradients of the first step, of a global batch of 4 in so many parts; with the gradient penalty."""
    pl.seed_everything(1, verbose=False)
    module = tiny_adversarial(steps=StepOptions(accumulate=accumulate))
    module.generator.eval()  # its spectral norms would iterate once per batch
    data = SyntheticScenes(
        image_size=(32, 32), train_scenes=4, eval_scenes=1, batch_size=4 // accumulate, seed=5
    )
    recorder = Recorder()
    trainer = make_trainer(
        root,
        [recorder],
        max_epochs=1,
        limit_val_batches=0,
        enable_checkpointing=False,
        devices=devices,
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
    )
    trainer.fit(module, datamodule=data)
    return recorder


def on_two_ranks(root: Path) -> None:
    for accumulate in (1, 2):
        recorder = record(root, 2, accumulate)
        if torch.distributed.get_rank() == 0:
            torch.save(recorder.gradients, root / f"{accumulate}.pt")


def test_two_ranks_equal_one_process_on_the_joined_batch(tmp_path: Path) -> None:
    run_ranks(2, on_two_ranks, tmp_path)
    one = record(tmp_path, 1).gradients
    for accumulate in (1, 2):
        two = torch.load(tmp_path / f"{accumulate}.pt", weights_only=True)
        assert len(two) == len(one) == 2
        for whole, parts in zip(one, two, strict=True):
            assert whole.keys() == parts.keys()
            largest = max(float(gradient.abs().max()) for gradient in whole.values())
            assert largest > 1e-3, "nothing is learned here, so equality would be empty"
            for name, gradient in whole.items():
                off = float((parts[name] - gradient).abs().max())
                assert off <= 2e-5 * largest, f"{name}: {off:.1e} of {largest:.1e}"
