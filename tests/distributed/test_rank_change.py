"""A run that goes on with another number of ranks reads the same samples in the same order, and says what differs."""

import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from distributed.harness import differences, final_state
from distributed.ranks import run_ranks
from distributed.toy import BATCH, EPOCHS, SAMPLES, Toy, build
from repsynth.callbacks.checkpoint import resume_path
from repsynth.callbacks.origin import Origin
from repsynth.datamodules.samplers import epoch_order


class Quiet(Toy):
    """Draws nothing random in the step, so that ranks differ by the order of sums only."""

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.network[2].eval()  # the dropout
        loss = F.mse_loss(self.network(batch["image"]), batch["image"])
        self.log("train/loss", loss)
        return loss


class Ids(pl.Callback):
    """Notes the samples of every step in a file of the rank."""

    def __init__(self, root: Path, stop_after: int) -> None:
        self.root, self.stop_after = root, stop_after

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: object,
        batch: dict[str, Any],
        *_: object,
    ) -> None:
        with (self.root / f"ids-{trainer.global_rank}").open("a") as file:
            print(trainer.global_step, *batch["ids"], file=file)
        trainer.should_stop = trainer.global_step == self.stop_after


def train(root: Path, devices: int, stop_after: int = 0) -> None:
    root.mkdir(exist_ok=True)
    extra = (Origin(), Ids(root, stop_after))
    trainer, module, data = build(root, Quiet, devices=devices, extra=extra)
    with (root / "errors").open("a") as errors:
        before, sys.stderr = sys.stderr, errors
        try:
            trainer.fit(module, datamodule=data, ckpt_path=resume_path(root))
        finally:
            sys.stderr = before


def two_ranks(root: Path) -> None:
    """All that two ranks do, in one pair of processes."""
    train(root / "two", 2)
    train(root / "two then one", 2, stop_after=3)
    train(root / "one then two", 2)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    train(folder / "one then two", 1, stop_after=3)
    run_ranks(2, two_ranks, folder)
    train(folder / "two then one", 1)
    train(folder / "one", 1)
    return folder


RUNS = ["one", "two", "two then one", "one then two"]


def order(root: Path) -> list[set[str]]:
    """The samples of each step over all ranks."""
    steps: dict[int, list[str]] = {}
    for file in root.glob("ids-*"):
        for line in file.read_text().splitlines():
            step, *ids = line.split()
            steps.setdefault(int(step), []).extend(ids)
    assert all(len(ids) == len(set(ids)) == BATCH for ids in steps.values())
    assert sorted(steps) == list(range(1, len(steps) + 1))
    return [set(steps[step]) for step in sorted(steps)]


@pytest.mark.parametrize("name", RUNS)
def test_every_step_has_the_same_samples_whatever_the_ranks(root: Path, name: str) -> None:
    batches = SAMPLES // BATCH
    expected = [
        set(map(str, epoch_order(SAMPLES, 5, epoch)[batch * BATCH : (batch + 1) * BATCH]))
        for epoch in range(EPOCHS)
        for batch in range(batches)
    ]
    assert order(root / name) == expected


@pytest.mark.parametrize("name", RUNS[1:])
def test_without_random_numbers_in_the_step_the_weights_are_close(root: Path, name: str) -> None:
    expected, found = (final_state(root / each)["state_dict"] for each in ("one", name))
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-3, atol=1e-4)


def test_what_is_not_exact_is_said_where_the_ranks_changed_and_nowhere_else(root: Path) -> None:
    said = {name: (root / name / "errors").read_text().count("but not bit for bit") for name in RUNS}
    assert said == {"one": 0, "two": 0, "two then one": 1, "one then two": 1}
    text = (root / "one then two" / "errors").read_text()
    assert (
        "note: this run was saved by 1 rank and goes on with 2: the same samples follow in the same order"
        in text
    )


def test_the_number_of_loader_processes_changes_no_bit(tmp_path: Path) -> None:
    """The claim of docs/running.md, for a method with noise in its step."""
    for workers in (0, 1, 3):
        trainer, module, data = build(tmp_path / str(workers), Toy, workers=workers)
        trainer.fit(module, datamodule=data)
    whole = final_state(tmp_path / "0")
    for workers in (1, 3):
        assert differences(whole, final_state(tmp_path / str(workers))) == []
