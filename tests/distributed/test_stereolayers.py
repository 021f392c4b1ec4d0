"""StereoLayers killed and resumed: shuffled data, colour augmentation, EMA, two loader workers, one and two ranks."""

from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from modules.stereolayers.tiny import tiny_stereolayers

from repsynth.callbacks.checkpoint import Checkpoint
from repsynth.callbacks.ema import EMA
from repsynth.callbacks.evaluation import Evaluation
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes

from .harness import check_resumed, final_state, make_trainer, start
from .ranks import run_ranks

KILLS = [
    ("on_train_batch_start", 1),
    ("on_before_backward", 2),
    ("on_train_batch_end", 3),
    ("on_train_batch_end", 4),
    ("on_validation_batch_start", 1),
    ("on_validation_end", 1),
    ("on_train_batch_start", 5),
    ("on_train_batch_end", 7),
    ("saving", 2),
    ("saving", 4),
]
"""Ten points of two epochs of four steps: first and last step of an epoch, inside validation, while saving."""


def build(devices: int, workers: int, root: Path, extra: tuple[pl.Callback, ...]) -> Any:  # noqa: ANN401
    pl.seed_everything(1, verbose=False)
    callbacks = [
        EMA(["generator"], half_life=8),
        Evaluation(metrics=["psnr"]),
        *extra,
        Checkpoint(monitor="val/psnr", every_samples=4),
    ]
    module = tiny_stereolayers()
    data = SyntheticScenes(
        image_size=(32, 32),
        train_scenes=8,
        eval_scenes=3,
        augment=True,
        batch_size=2,
        num_workers=workers,
        seed=5,
    )
    return (
        make_trainer(root, callbacks, devices=devices, strategy="ddp" if devices > 1 else "auto"),
        module,
        data,
    )


def check(devices: int, workers: int, root: Path, kills: list[tuple[str, int]]) -> None:
    make = partial(build, devices, workers)
    start(make, root / "whole")
    check_resumed(make, final_state(root / "whole"), root, kills)


@pytest.mark.slow
def test_one_rank(tmp_path: Path) -> None:
    check(1, 0, tmp_path, KILLS[1::2])


@pytest.mark.slow
def test_two_workers(tmp_path: Path) -> None:
    check(1, 2, tmp_path, KILLS[3:5])


def test_two_ranks(tmp_path: Path) -> None:
    run_ranks(2, check, 2, 0, tmp_path, KILLS[2:4])


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_every_point_with_two_workers(tmp_path: Path, devices: int) -> None:
    if devices == 1:
        check(1, 2, tmp_path, KILLS)
    else:
        run_ranks(2, check, 2, 2, tmp_path, KILLS)
