"""Data in shards and the work of one rank, without Lightning."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch
from distributed.ranks import rank
from torch.utils.data import DataLoader, Dataset, Sampler

from repsynth.metrics.scores import Scores
from repsynth.metrics.table import Row, gather, summarize


class Pictures(Dataset[dict[str, Any]]):
    def __init__(self, count: int, side: int = 16) -> None:
        self.count, self.side = count, side

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        images = torch.rand(2, 3, self.side, self.side, generator=generator)
        # Sorting by id is not the order of the data set.
        return {"ids": f"sample {index * 7 % 10}", "input": images[0], "target": images[1]}


class Shard(Sampler[int]):
    """Every world-size-th index, nothing repeated."""

    def __init__(self, count: int, rank: int, world: int) -> None:
        self.indices = range(rank, count, world)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def loader(count: int, rank: int = 0, world: int = 1, batch_size: int = 2) -> DataLoader[Any]:
    return DataLoader(Pictures(count), batch_size, sampler=Shard(count, rank, world))


def rows_of(count: int, batch_size: int, rank: int, world: int, scores: Scores) -> list[Row]:
    rows: list[Row] = []
    for batch in loader(count, rank, world, batch_size):
        rows += zip(batch["ids"], scores(batch["input"], batch["target"]), strict=True)
    return rows


GRID = list(product(range(1, 10), range(1, 5)))


def gather_as_rank(world: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", rank=rank(), world_size=world)
    scores = Scores(["psnr", "ssim"])
    found = {}
    for count, batch_size in GRID:
        rows = gather(rows_of(count, batch_size, rank(), world, scores))
        means = [figure.mean for figure in summarize(scores.names, rows).values()]
        found[f"{count} {batch_size}"] = ([name for name, _ in rows], means)
    (folder / f"{rank()}.json").write_text(json.dumps(found))
