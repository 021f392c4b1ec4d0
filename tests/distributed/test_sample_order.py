"""The order of training samples over all ranks is the same for any number of them, for the data of every method."""

import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from tensors import tensors_of
from torch import Tensor, nn

from distributed.experiments import build_data, distinct, shorten
from distributed.harness import make_trainer
from distributed.ranks import run_ranks
from repsynth.callbacks.checkpoint import Checkpoint, resume_path
from repsynth.datamodules.base import DataModule
from repsynth.datamodules.samplers import SampleKey, epoch_order

SAMPLES, BATCH, EPOCHS, SEED = 22, 6, 3, 5
"""Three batches in an epoch, which any number of ranks here can share; four samples are left over."""
BATCHES = SAMPLES // BATCH
STOP = 5
"""Steps that a run makes before others go on: up to the middle of the second epoch."""
RUNS = ("1", "2", "3", "1 then 3", "3 then 2", "2 then 1")
"""By their numbers of ranks."""
DATA = distinct(lambda content: content["data"])
Sample = tuple[str, int]
"""Its id, and a checksum of all that the step gets of it."""


class Reads(pl.LightningModule):
    """Learns nothing, and notes its samples."""

    def __init__(self, root: Path, stop: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.root, self.stop = root, stop

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        with (self.root / f"{self.trainer.world_size}-{self.global_rank}").open("a") as file:
            print(json.dumps([self.trainer.global_step, samples(batch)]), file=file)
        return self.weight.sum()

    def on_train_batch_end(self, *_: object) -> None:
        self.trainer.should_stop = self.stop and self.trainer.global_step == STOP

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def samples(batch: dict[str, Any]) -> list[Sample]:
    """Of a batch, in its order."""
    ids = list(batch["ids"])
    sums = [0] * len(ids)
    for _, tensor in tensors_of(batch):
        for place, part in enumerate(tensor):
            sums[place] = zlib.crc32(np.ascontiguousarray(part).tobytes(), sums[place])
    return list(zip(ids, sums, strict=True))


@cache
def data_of(name: str) -> DataModule:
    data = build_data(DATA[name], batch_size=BATCH, seed=SEED)
    shorten(data, train_dataset=SAMPLES)
    return data


def train(root: Path, run: str, world: int) -> None:
    """The part of a run that this many ranks do, on every kind of data."""
    first, _, second = run.partition(" then ")
    for name in DATA:
        folder = root / run / name
        folder.mkdir(parents=True, exist_ok=True)
        stop = bool(second) and int(first) == world
        trainer = make_trainer(
            folder,
            [Checkpoint()],
            max_epochs=EPOCHS,
            limit_val_batches=0,
            devices=world,
            strategy="ddp" if world > 1 else "auto",
        )
        trainer.fit(Reads(folder, stop), datamodule=data_of(name), ckpt_path=resume_path(folder))


def train_all(root: Path, *runs: str, world: int) -> None:
    for run in runs:
        train(root, run, world)


def three_ranks(root: Path) -> None:
    train_all(root, "3", "1 then 3", "3 then 2", world=3)


def two_ranks(root: Path) -> None:
    train_all(root, "2", "3 then 2", "2 then 1", world=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("order")
    train_all(folder, "1", "1 then 3", world=1)
    run_ranks(3, three_ranks, folder)
    run_ranks(2, two_ranks, folder)
    train_all(folder, "2 then 1", world=1)
    return folder


def order(folder: Path) -> list[list[Sample]]:
    """The samples of each step over all ranks, in the order of the joined batch."""
    steps: dict[int, list[Sample]] = {}
    worlds = {file.name.partition("-")[0] for file in folder.glob("[0-9]-[0-9]")}
    for world in map(int, worlds):
        parts = [(folder / f"{world}-{rank}").read_text().splitlines() for rank in range(world)]
        for lines in zip(*parts, strict=True):
            numbers, read = zip(*map(json.loads, lines), strict=True)
            assert len(set(numbers)) == 1 and numbers[0] not in steps
            # Rank r has every world-th sample of the batch, from the rth on.
            steps[numbers[0]] = [tuple(read[place % world][place // world]) for place in range(BATCH)]
    assert sorted(steps) == list(range(EPOCHS * BATCHES))
    return [steps[step] for step in sorted(steps)]


@pytest.mark.parametrize("name", DATA)
def test_every_epoch_is_read_in_the_order_that_seed_and_epoch_give(root: Path, name: str) -> None:
    data = data_of(name)
    expected = []
    for epoch in range(EPOCHS):
        keys = [SampleKey(epoch, int(index)) for index in epoch_order(SAMPLES, SEED, epoch)]
        ids = [data.collate([data.train_dataset()[key]])["ids"][0] for key in keys[: BATCHES * BATCH]]
        assert len(set(ids)) == len(ids)
        expected += [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    assert [[name for name, _ in step] for step in order(root / "1" / name)] == expected


@pytest.mark.parametrize("run", RUNS[1:])
@pytest.mark.parametrize("name", DATA)
def test_any_ranks_read_the_same_samples_in_the_same_order(root: Path, name: str, run: str) -> None:
    """All of a sample: also what is drawn for it, such as its views, patch and colours."""
    assert order(root / run / name) == order(root / "1" / name)
