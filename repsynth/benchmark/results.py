"""From the tests of one model on one data set to its row and its figures per image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lightning.pytorch import LightningModule

from repsynth.benchmark.entrants import Entrant
from repsynth.benchmark.report import Result
from repsynth.benchmark.runs import Tested
from repsynth.benchmark.speed import Speed
from repsynth.metrics.table import Row, Summary, summarize, write_csv
from repsynth.modules.novel_views import NovelViewMethod


@dataclass(frozen=True)
class Outcome:
    """What one test of a model on a data set gave.

    Attributes:
        tested: Figures per image.
        examples: Id of an example -> checksum of what the model was shown.
        coverage: Id of an image -> share that the scene covers; empty for models that render no scenes.
    """

    tested: Tested
    examples: dict[str, int]
    coverage: dict[str, float]


def result(
    model: Entrant,
    data: str,
    tests: Sequence[Outcome],
    parameters: int,
    speed: Speed | None,
    path: Path,
) -> Result:
    """The row of a model on a data set, figures averaged over the seeds; writes the figures per image.

    Args:
        model: what was tested.
        data: name of the data set.
        tests: one per seed, of the same images.
        parameters: of the model.
        speed: of the model.
        path: of the CSV file with the figures per image.
    """
    names, ids = tests[0].tested.names, tests[0].tested.ids
    table = np.array([[figures for _, figures in test.tested.rows] for test in tests], dtype=np.float64)
    rows = [(name, tuple(figures)) for name, figures in zip(ids, table.mean(axis=0).tolist(), strict=True)]
    shares = _shares(tests, ids)
    write_csv(path, [*names, *(["coverage"] if shares else [])], _joined(rows, shares))
    return Result(
        model.name,
        data,
        summarize(names, rows),
        len(rows),
        parameters,
        summarize(["coverage"], shares)["coverage"] if shares else None,
        speed,
        {
            "class_path": model.model["class_path"],
            "checkpoint": None if model.checkpoint is None else str(model.checkpoint),
            "averaged_weights": bool(model.averages),
            "samples_seen": tests[0].tested.report["samples_seen"],
            "evaluated": tests[0].tested.report["data"],
            "settings": tests[0].tested.report["settings"],
            "images_csv": str(path),
            "over_seeds": _over_seeds(names, table.mean(axis=1)),
        },
    )


def parameters(module: LightningModule) -> int:
    """How many numbers a module learns: those of its optimiser for a method of novel views, else all."""
    learned = module.learned() if isinstance(module, NovelViewMethod) else module.parameters()
    return sum(parameter.numel() for parameter in learned)


def _shares(tests: Sequence[Outcome], ids: Sequence[str]) -> list[Row]:
    """Covered share of each image over the seeds; empty where it is not known of every image."""
    if any(set(test.coverage) != set(ids) for test in tests):
        return []
    return [(name, (sum(test.coverage[name] for test in tests) / len(tests),)) for name in ids]


def _joined(rows: Sequence[Row], shares: Sequence[Row]) -> Sequence[Row]:
    if not shares:
        return rows
    return [(name, (*figures, *share)) for (name, figures), (_, share) in zip(rows, shares, strict=True)]


def _over_seeds(names: Sequence[str], means: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Mean and spread of each figure over the seeds; means [S, figures]."""
    rows = [(str(number), tuple(row)) for number, row in enumerate(means.tolist())]
    return {name: Summary._asdict(summary) for name, summary in summarize(names, rows).items()}
