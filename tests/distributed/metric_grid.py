"""Evaluations of sets of any size, in batches of any size, on any number of ranks, with a network that is none."""

import json
import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from distributed.experiments import build_data, distinct, evaluation_options
from distributed.harness import make_trainer
from repsynth.callbacks.evaluation import Evaluation
from repsynth.callbacks.outputs import Stage
from repsynth.cli.configuration import read_yaml
from repsynth.datamodules.image_sets import RealImages
from repsynth.datamodules.samplers import SampleKey
from repsynth.errors import UserError
from repsynth.metrics.scores import PAIR_METRICS, Scores
from repsynth.metrics.set_scores import SET_METRICS, SetOptions, SetScores
from repsynth.metrics.table import Summary, summarize
from repsynth.metrics.translation_scores import TRANSLATION_METRICS, TranslationOptions, TranslationScores

SIZES, BATCHES, RANKS = range(1, 18), range(1, 5), (1, 2, 3)
STAGES: tuple[Stage, ...] = ("val", "test")
Cell = tuple[Stage, int, int]
"""Stage, size of the set, size of a batch."""
REAL = 19
"""Images of the real sets, which are dealt out like any other."""
Figures = dict[str, float] | str
"""Of one evaluation, by metric; or the sentence with which it was refused."""
OFFLINE = {
    "lpips_weights": "random",
    "sets": SetOptions(inception_weights="random", vgg_weights="random"),
    "translations": TranslationOptions(vgg_weights="random", classifier="random"),
}


class Kind(NamedTuple):
    """A kind of evaluation that experiments declare."""

    name: str
    """Methods that declare it; with `all` where it has all figures of a family, of which they declare some."""
    path: Path
    """An experiment with it."""
    changes: dict[str, Any]
    """Options of `Evaluation` that differ from the experiment's."""


def kinds() -> list[Kind]:
    """All of them: data and figures as declared, and with all figures of a family where no experiment declares all."""
    declared = distinct(lambda content: [content["data"], evaluation_options(content)])
    metrics = {name: set(evaluation_options(read_yaml(path))["metrics"]) for name, path in declared.items()}
    found = [Kind(name, path, {}) for name, path in declared.items()]
    for family in (PAIR_METRICS, SET_METRICS, TRANSLATION_METRICS):
        some = [name for name in declared if metrics[name] & set(family)]
        if some and not any(metrics[name] >= set(family) for name in some):
            found.append(Kind(f"{some[0]} all", declared[some[0]], {**OFFLINE, "metrics": list(family)}))
    return found


class StandIn(pl.LightningModule):
    """Its pictures, and what they are compared with, are functions of the ids in the batch."""

    def __init__(self, size: tuple[int, int], paired: bool) -> None:
        super().__init__()
        self.size, self.paired = size, paired

    def validation_step(self, batch: dict[str, Any], index: int) -> object:
        ids = list(batch["ids"])
        made = {"predicted" if self.paired else "generated": self.pictures(ids)}
        compared = ("expected", "inputs") if self.paired else ("inputs",)
        return {"ids": ids, **made, **{name: self.pictures(ids, name) for name in compared}}

    test_step = validation_step

    def pictures(self, ids: Iterable[str], salt: str = "") -> Tensor:
        """Smooth ones [N, 3, H, W] in [0, 1]."""
        return torch.stack([_picture(f"{salt} {name}", self.size) for name in ids])


@cache
def _picture(name: str, size: tuple[int, int]) -> Tensor:
    coarse = np.random.default_rng(zlib.crc32(name.encode())).random((1, 3, 6, 6), dtype=np.float32)
    return interpolate(torch.from_numpy(coarse), size, mode="bilinear")[0]


class Known(Dataset[Any]):
    """The first examples of a data set, made once."""

    def __init__(self, whole: Dataset[Any]) -> None:
        self.examples = [whole[SampleKey(0, index)] for index in SIZES]
        self.count = len(self.examples)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: SampleKey) -> Any:  # noqa: ANN401
        return self.examples[key.index]


class Bench:
    """An experiment's data module with the stand-in in place of its method."""

    def __init__(self, kind: Kind) -> None:
        self.name = kind.name
        self.options = evaluation_options(read_yaml(kind.path)) | kind.changes
        self.data: Any = (data := build_data(kind.path))
        self.known = {stage: Known(data.eval_dataset(stage)) for stage in STAGES}
        self.data.eval_dataset = self.known.__getitem__
        if isinstance(data, RealImages):
            data.real_samples = REAL
        paired = not isinstance(data, RealImages) or bool(self._wanted(PAIR_METRICS))
        self.module = StandIn(self.data.image_size, paired)

    def evaluate(self, trainer: pl.Trainer, stage: Stage, size: int, batch: int) -> Figures:
        """What every rank logs for a set of a size, and rank zero writes."""
        self.known[stage].count, self.data.eval_batch_size = size, batch
        run = trainer.validate if stage == "val" else trainer.test
        try:
            run(self.module, datamodule=self.data, verbose=False)
        except UserError as error:
            return str(error)
        metrics = trainer.callback_metrics.items()
        logged = {name.removeprefix(f"{stage}/"): float(value) for name, value in metrics if name != "step"}
        if trainer.is_global_zero:
            report = json.loads((Path(trainer.default_root_dir) / "evaluation" / f"{stage}.json").read_text())
            assert report["count"] == size
            written = {name: figure["mean"] for name, figure in report["figures"].items()}
            assert logged == {name: float(torch.tensor(value)) for name, value in written.items()}
            return written
        return logged

    def directly(self, stage: Stage, size: int) -> Figures:
        """The same without Lightning, ranks and batches."""
        ids = self._ids(stage)[:size]
        try:
            return {
                name: figure.mean
                for found in (
                    self._of_pairs(stage, ids),
                    self._of_sets(stage, ids),
                    self._of_translations(ids),
                )
                for name, figure in found.items()
            }
        except UserError as error:
            return str(error)

    def _of_pairs(self, stage: Stage, ids: list[str]) -> dict[str, Summary]:
        if not self._wanted(PAIR_METRICS):
            return {}
        names, rows = self._rows(stage)
        return summarize(names, rows[: len(ids)])

    def _of_sets(self, stage: Stage, ids: list[str]) -> dict[str, Summary]:
        if not self._wanted(SET_METRICS):
            return {}
        scores = SetScores(self._wanted(SET_METRICS), self.options["sets"])
        seen, made = scores.nothing_seen("real"), scores.nothing_seen("generated")
        if isinstance(self.data, RealImages):
            real = [self.data.real_images(stage)[SampleKey(0, index)] for index in range(REAL)]
            scores.add(seen, [each["ids"] for each in real], torch.stack([each["images"] for each in real]))
        else:
            scores.add(seen, ids, self.module.pictures(ids, "expected"))
        scores.add(made, ids, self.module.pictures(ids))
        return scores.figures(seen, made)

    def _of_translations(self, ids: list[str]) -> dict[str, Summary]:
        if not self._wanted(TRANSLATION_METRICS):
            return {}
        scores = TranslationScores(self._wanted(TRANSLATION_METRICS), self.options["translations"])
        inputs = self.module.pictures(ids, "inputs")
        return scores.figures(sorted(scores(ids, self.module.pictures(ids), inputs)))

    def _wanted(self, family: Sequence[str]) -> list[Any]:
        return [metric for metric in self.options["metrics"] if metric in family]

    def _ids(self, stage: Stage) -> list[str]:
        return list(self.data.collate(self.known[stage].examples)["ids"])

    @cache  # noqa: B019  few benches, which live as long as the tests
    def _rows(self, stage: Stage) -> tuple[list[str], list[Any]]:
        given = ("crop", "ssim_border", "lpips_backbone", "lpips_weights")
        options = {name: self.options[name] for name in given if name in self.options}
        scores = Scores(self._wanted(PAIR_METRICS), **options)
        ids = self._ids(stage)
        pairs = [(self.module.pictures([name]), self.module.pictures([name], "expected")) for name in ids]
        return scores.names, [(name, scores(*pair)[0]) for name, pair in zip(ids, pairs, strict=True)]


def place(bench: Bench, cell: Cell) -> str:
    """What an evaluation is called."""
    return " ".join(map(str, (bench.name, *cell)))


def evaluate_all(
    benches: Sequence[Bench], root: Path, world: int, cells: Iterable[Cell]
) -> dict[str, Figures]:
    """The figures of every kind in every cell, on one of `world` ranks."""
    found = {}
    for bench in benches:
        trainer = None
        for stage, size, batch in cells:
            trainer = trainer or _trainer(root / bench.name, world, Evaluation(**bench.options))
            figures = found[place(bench, (stage, size, batch))] = bench.evaluate(trainer, stage, size, batch)
            if isinstance(figures, str):
                trainer = None
    return found


def _trainer(root: Path, world: int, evaluation: Evaluation) -> pl.Trainer:
    strategy = "ddp" if world > 1 else "auto"
    return make_trainer(root, [evaluation], devices=world, strategy=strategy, enable_checkpointing=False)
