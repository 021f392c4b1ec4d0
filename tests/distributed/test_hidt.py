"""Both stages of HiDT killed at many points and resumed; on two ranks, and in parts."""

from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from modules.hidt.tiny_module import Slopes, tiny_enhancing, tiny_hidt
from torch import Tensor
from torch.utils.data import Dataset

from repsynth.callbacks.checkpoint import Checkpoint
from repsynth.callbacks.ema import EMA
from repsynth.callbacks.evaluation import Evaluation
from repsynth.callbacks.nonfinite import NonFiniteGuard
from repsynth.datamodules.samplers import SampleKey, epoch_order
from repsynth.modules.alternating_steps import AlternatingOptions
from repsynth.modules.hidt.enhancer_module import HiDTEnhancer
from repsynth.modules.hidt.learning import LearningOptions, LossWeights
from repsynth.modules.hidt.module import HiDT

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

ITERATIONS = 10
LEARNING = LearningOptions(1e-3, 1e-3, halve_every=4)
"""Rates change inside the intervals between checkpoints."""
FEW_KILLS = [("on_train_batch_start", 5), ("on_before_optimizer_step", 9), ("saving", 2)]
KILLS = [
    *FEW_KILLS,
    ("on_before_backward", 2),
    ("on_train_batch_end", 5),
    ("on_validation_batch_start", 1),
    ("on_validation_end", 1),
    ("on_train_batch_start", 9),
    ("saving", 4),
]


def translation() -> HiDT:
    """With a pool that wraps around between checkpoints."""
    return tiny_hidt(learning=LEARNING, style_pool_length=10)


def enhancement() -> HiDTEnhancer:
    return tiny_enhancing(learning=LEARNING, styles="random")


STAGES = {"generator": translation, "enhancer": enhancement}
"""By what is averaged."""


def build(stage: str, devices: int, workers: int, root: Path, extra: tuple[pl.Callback, ...]) -> Any:  # noqa: ANN401
    pl.seed_everything(1, verbose=False)
    callbacks = [EMA([stage], half_life=40), NonFiniteGuard(), *extra, Checkpoint(every_samples=8)]
    data = Slopes(count=20, batch_size=4, num_workers=workers, seed=5)
    strategy = "ddp_find_unused_parameters_true" if devices > 1 else "auto"
    return make_trainer(root, callbacks, devices=devices, strategy=strategy), STAGES[stage](), data


def check(stage: str, devices: int, workers: int, root: Path, kills: list[tuple[str, int]]) -> None:
    make: Make = partial(build, stage, devices, workers)
    start(make, root / "whole")
    whole = final_state(root / "whole")
    assert whole["iterations"] == ITERATIONS and whole["global_step"] == 2 * ITERATIONS
    rates = [group["lr"] for state in whole["optimizer_states"] for group in state["param_groups"]]
    assert rates == pytest.approx([2.5e-4, 2.5e-4])
    check_resumed(make, whole, root, kills)


@pytest.mark.parametrize("stage", ["generator", pytest.param("enhancer", marks=pytest.mark.slow)])
def test_killed_and_resumed(tmp_path: Path, stage: str) -> None:
    """Networks, averages, pool of styles, optimisers, counters and data order are the same bit for bit."""
    check(stage, 1, 0, tmp_path, FEW_KILLS)


@pytest.mark.slow
@pytest.mark.parametrize("forgotten", ["style_pool.kept", "iterations"])
def test_a_resume_that_forgets_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    """The comparison would tell."""
    make: Make = partial(build, "generator", 1, 0)
    start(make, tmp_path / "whole")
    start_and_kill(make, tmp_path / "killed", "on_train_batch_start", 8)
    load = HiDT.on_load_checkpoint

    def forgetful(self: HiDT, checkpoint: dict[str, Any]) -> None:
        if forgotten == "iterations":
            del checkpoint["iterations"]
        else:
            checkpoint["state_dict"][forgotten] = torch.zeros_like(checkpoint["state_dict"][forgotten])
        load(self, checkpoint)

    monkeypatch.setattr(HiDT, "on_load_checkpoint", forgetful)
    start(make, tmp_path / "killed")
    odd = differences(final_state(tmp_path / "whole"), final_state(tmp_path / "killed"))
    assert any("/generator" in name for name in odd)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("devices", [1, 2])
def test_every_point_with_two_workers(tmp_path: Path, stage: str, devices: int) -> None:
    if devices == 1:
        check(stage, 1, 2, tmp_path, KILLS)
    else:
        run_ranks(2, check, stage, 2, 2, tmp_path, KILLS)


# Two ranks against one process. A rank has every second image, and only its own images are partners.


class InTurn(Slopes):
    """Eight images in the order of their numbers, or those of rank 0 first and those of rank 1 after them."""

    def __init__(self, order: list[int]) -> None:
        super().__init__(count=8, batch_size=8, seed=5)
        self.order = order

    def train_dataset(self) -> Dataset[Any]:
        return _Ordered(super().train_dataset(), self.order)


class _Ordered(Dataset[Any]):
    """The first batch of the shuffled epoch shows the images in a given order."""

    def __init__(self, images: Dataset[Any], order: list[int]) -> None:
        self.images, self.order = images, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, key: SampleKey) -> Any:  # noqa: ANN401
        place = epoch_order(len(self.order), 5, key.epoch).tolist().index(key.index)
        return self.images[SampleKey(0, self.order[place])]


MIXED, BY_RANK = list(range(8)), [0, 2, 4, 6, 1, 3, 5, 7]


class GivenStyles(HiDT):
    """Draws the styles of all images of a batch, each its own."""

    images: list[int]

    def draw(self, count: int) -> Tensor:
        every = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
        own = self.images[self.global_rank :: self.trainer.world_size]
        return every[own]


def gradients(
    root: Path, devices: int, weights: dict[str, float], order: list[int], split: int = 1
) -> list[dict[str, Tensor]]:
    """What each optimiser is given in the first two iterations; its steps leave the weights as they are."""
    module = tiny_hidt(weights=weights, steps=AlternatingOptions(split=split), dequantise=False)
    module.__class__, module.images = GivenStyles, order  # type: ignore[assignment]
    given = GivenGradients()

    trainer = make_trainer(
        root,
        [given],
        limit_val_batches=0,
        enable_checkpointing=False,
        devices=devices,
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
    )
    trainer.fit(module, datamodule=InTurn(order))
    return [*given.found, {"pool": module.style_pool.kept[: int(module.style_pool.seen)].sort(0).values}]


ALL = dict.fromkeys(LossWeights.__dataclass_fields__, 1.0)
PARTNERS = ("adversarial", "cross_cycle", "segmentation", "content", "style")
"""Terms of images in the styles of others, which depend on who is whose partner."""
WITHOUT_PARTNERS = {name: 0.0 if name in PARTNERS else 1.0 for name in ALL}
WITHOUT_DISTRIBUTION = ALL | {"style_distribution": 0.0}


def on_two_ranks(root: Path) -> None:
    for name, weights in (("alone", WITHOUT_PARTNERS), ("paired", WITHOUT_DISTRIBUTION)):
        found = gradients(root, 2, weights, MIXED)
        if torch.distributed.get_rank() == 0:
            torch.save(found, root / f"{name}.pt")


def test_two_ranks_equal_one_process_on_the_joined_batch(tmp_path: Path) -> None:
    """Exactly as far as pairs allow.

    All terms without partners, the distribution of styles among them, are those of one process on the whole batch. The
    others are those of one process in which the images of each rank are a part of their own. (Only there the
    distribution of styles would be another one: parts are not gathered.)
    """
    run_ranks(2, on_two_ranks, tmp_path)
    cases = {
        "alone": gradients(tmp_path, 1, WITHOUT_PARTNERS, MIXED),
        "paired": gradients(tmp_path, 1, WITHOUT_DISTRIBUTION, BY_RANK, split=2),
    }
    for name, one in cases.items():
        two = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        assert len(one) == len(two) == 5
        for whole, parts in zip(one, two, strict=True):
            assert whole.keys() == parts.keys()
            largest = max(float(value.abs().max()) for value in whole.values())
            assert largest > 1e-3, "nothing is learned here, so equality would be empty"
            for key, value in whole.items():
                off = float((parts[key] - value).abs().max())
                assert off <= 5e-5 * largest, f"{name}, {key}: {off:.1e} of {largest:.1e}"


# Evaluation.


def evaluate(root: Path, stage: str, devices: int) -> None:
    trainer = make_trainer(
        root,
        [Evaluation(["psnr", "ssim", "lpips"], lpips_weights="random", download=False)],
        devices=devices,
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
    )
    figures = trainer.test(STAGES[stage](), datamodule=Slopes(side=48, eval_batch_size=2), verbose=False)
    if trainer.is_global_zero:
        torch.save(figures, root / f"{stage}{devices}.pt")


def evaluate_both(root: Path) -> None:
    for stage in STAGES:
        evaluate(root, stage, 2)


def test_two_ranks_measure_what_one_process_measures(tmp_path: Path) -> None:
    run_ranks(2, evaluate_both, tmp_path)
    for stage in STAGES:
        evaluate(tmp_path, stage, 1)
        (one,), (two,) = (torch.load(tmp_path / f"{stage}{devices}.pt") for devices in (1, 2))
        assert {"test/psnr", "test/ssim", "test/lpips_random"} <= one.keys()
        assert two == pytest.approx(one, abs=1e-6)
