"""The figures of every method, each sample counted exactly once on any number of ranks."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn

from repsynth.callbacks.determinism import samples_seen
from repsynth.callbacks.outputs import Stage, require_paired
from repsynth.callbacks.set_figures import SetFigures, SetResult
from repsynth.callbacks.shards import SharedBuffers, let_every_rank_evaluate
from repsynth.callbacks.translation_figures import TranslationFigures
from repsynth.metrics.crop import check_crop
from repsynth.metrics.lpips import Backbone
from repsynth.metrics.scores import PAIR_METRICS, Metric, Scores, check_density, check_metrics
from repsynth.metrics.set_scores import SET_METRICS, SetMetric, SetOptions, SetScores
from repsynth.metrics.table import Row, Summary, gather, summarize, write_csv, write_json
from repsynth.metrics.translation_scores import (
    TRANSLATION_METRICS,
    TranslationMetric,
    TranslationOptions,
    TranslationScores,
)
from repsynth.weights import AUTO


class Evaluation(pl.Callback):
    """Scores what `validation_step` and `test_step` return.

    Figures of pairs (psnr, ssim, lpips, flip) need steps that return `batches.Paired`. They are computed per image at
    once, in float32, and only numbers are kept. At the end of the epoch the rows of all ranks are gathered once,
    sorted by id and averaged in float64.

    Figures of sets (fid, kid, precision, recall) take `batches.Generated`, or the predictions of `Paired`, as 8-bit
    images. Real images are those of the data module (`datamodules.image_sets.RealImages`), whose statistics are
    cached, or else the expected ones of `Paired`. See `metrics.set_scores`.

    Figures of translations (dipd, is, cis) take the same images, and for dipd the `inputs` that they were made of. See
    `metrics.translation_scores`.

    All are logged as `val/psnr`, `val/fid` and so on, on every rank, so that checkpoints can monitor them. Rank zero
    writes `evaluation/<stage>.json`, and `.csv` with the figures of pairs, below the trainer's `default_root_dir`. The
    networks of metrics live here, never in the module.

    The sanity check runs the figures' networks, so that mistakes show early, and leaves nothing behind.

    Args:
        metrics: Which figures, in the order of the tables; those of pairs come first.
        crop: Central part that counts for figures of pairs: a fraction of each side, or pixels if above 1.
        stages: Where figures are computed; others may return what they like.
        ssim_border: "zero" as in the papers' scorer, "valid" as Wang et al.
        flip_pixels_per_degree: How large the image is seen; None is the paper's desk, 67.02.
        lpips_backbone: Network of LPIPS.
        lpips_weights: "auto" finds or fetches the published file, "random" is a stand-in whose figure is
            called lpips_random, anything else is a path.
        download: Whether weights may be fetched.
        sets: How figures of sets are computed; None takes the defaults.
        translations: How figures of translations are computed; None takes the defaults.

    Raises:
        UserError: For options that make no sense.
    """

    def __init__(
        self,
        metrics: Sequence[Metric | SetMetric | TranslationMetric] = ("psnr", "ssim", "lpips", "flip"),
        crop: float = 1.0,
        stages: Sequence[Stage] = ("val", "test"),
        ssim_border: Literal["zero", "valid"] = "zero",
        flip_pixels_per_degree: float | None = None,
        lpips_backbone: Backbone = "alex",
        lpips_weights: str = AUTO,
        download: bool = True,
        sets: SetOptions | None = None,
        translations: TranslationOptions | None = None,
    ) -> None:
        pairs, self._set_metrics, self._translation_metrics = _by_kind(metrics)
        check_crop(crop)
        check_density(flip_pixels_per_degree)
        self.crop = crop
        self.stages = tuple(stages)
        self._options: dict[str, Any] = {
            "metrics": pairs,
            "crop": crop,
            "ssim_border": ssim_border,
            "flip_density": flip_pixels_per_degree,
            "lpips_backbone": lpips_backbone,
            "lpips_weights": lpips_weights,
            "download": download,
        }
        self._set_options = sets or SetOptions()
        self._scores: Scores | None = None
        self._translation_options = translations or TranslationOptions()
        self._sets: SetFigures | None = None
        self._translations: TranslationFigures | None = None
        self._rows: list[Row] = []
        self._buffers = SharedBuffers()

    # What Lightning calls.

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Build the metrics on the device, before anything runs.

        Raises:
            UserError: When a weight file is missing or damaged, or the data's images are too small for a metric.
        """
        if stage == "predict":
            return
        # Equal numbers on every rank: Lightning's advice to reduce them would cost collectives.
        warnings.filterwarnings("ignore", message=r"It is recommended to use `self.log\('(val|test)/")
        let_every_rank_evaluate(trainer)
        self._build()
        device, size = trainer.strategy.root_device, getattr(_datamodule(trainer), "image_size", None)
        # A size that a metric cannot take would show at the first validation, hours later.
        if self._scores is not None:
            self._scores.to(device)
            if size is not None:
                blank = torch.zeros(1, 3, *size, device=device)
                self._scores(blank, blank)
        if self._sets is not None:
            self._sets.prepare(device, size)
        if self._translations is not None:
            self._translations.prepare(device, size)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget an evaluation that was broken off; look at the real set."""
        self._start("val", trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget an evaluation that was broken off; look at the real set."""
        self._start("test", trainer)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 (whatever the step returned)
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score a batch of the validation."""
        self._add("val", pl_module, outputs)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score a batch of the test."""
        self._add("test", pl_module, outputs)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gather, log and write the figures of the validation."""
        self._finish("val", trainer, pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gather, log and write the figures of the test."""
        self._finish("test", trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let DDP broadcast buffers again."""
        self._buffers.release()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let DDP broadcast buffers again."""
        self._buffers.release()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Let DDP broadcast buffers again, also when the evaluation failed."""
        self._buffers.release()

    # What happens.

    def _build(self) -> None:
        if self._options["metrics"] and self._scores is None:
            self._scores = Scores(**self._options)
        if self._set_metrics and self._sets is None:
            scores = SetScores(self._set_metrics, self._set_options, self._options["download"])
            self._sets = SetFigures(scores)
        if self._translation_metrics and self._translations is None:
            self._translations = TranslationFigures(
                TranslationScores(
                    self._translation_metrics, self._translation_options, self._options["download"]
                )
            )

    def _start(self, stage: Stage, trainer: pl.Trainer) -> None:
        self._rows = []
        self._buffers.share(trainer)
        if self._sets is not None and stage in self.stages:
            self._sets.start(stage, trainer)
        if self._translations is not None:
            self._translations.start()

    def _add(self, stage: Stage, module: pl.LightningModule, outputs: object) -> None:
        if stage not in self.stages:
            return
        if self._scores is not None:
            pair = require_paired(outputs, module)
            figures = self._scores(pair["predicted"], pair["expected"])
            self._rows += zip(pair["ids"], figures, strict=True)
        if self._sets is not None:
            self._sets.add(outputs, module)
        if self._translations is not None:
            self._translations.add(outputs, module)

    def _finish(self, stage: Stage, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        rows, self._rows = self._rows, []
        if stage not in self.stages or trainer.sanity_checking:
            return
        figures: dict[str, Summary] = {}
        report: dict[str, Any] = {}
        if self._scores is not None:
            rows = gather(rows)
            figures = summarize(self._scores.names, rows)
            report = {"count": len(rows), "settings": self._scores.settings}
            if trainer.is_global_zero:
                write_csv(_folder(trainer) / f"{stage}.csv", self._scores.names, rows)
        if self._sets is not None:
            result = self._sets.finish(stage, trainer)
            figures = figures | result.figures
            report = _with_sets(report, result)
        if self._translations is not None:
            judged, count = self._translations.finish()
            figures = figures | judged
            settings = report.get("settings", {}) | self._translations.scores.settings()
            report = {"count": count, **report, "settings": settings}
        module.log_dict({f"{stage}/{name}": figure.mean for name, figure in figures.items()}, batch_size=1)
        if trainer.is_global_zero:
            write_json(_folder(trainer) / f"{stage}.json", self._report(stage, trainer, figures, report))

    def _report(
        self, stage: Stage, trainer: pl.Trainer, figures: dict[str, Summary], rest: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "stage": stage,
            "samples_seen": samples_seen(trainer),
            "checkpoint": _checkpoint(trainer),
            "data": getattr(_datamodule(trainer), "protocol", None),
            "crop": self.crop,
            "figures": {name: figure._asdict() for name, figure in figures.items()},
            **rest,
        }


def _by_kind(
    metrics: Sequence[Metric | SetMetric | TranslationMetric],
) -> tuple[list[Metric], list[SetMetric], list[TranslationMetric]]:
    """Figures of pairs, of sets and of translations.

    Raises:
        UserError: For an empty, unknown or repeated choice.
    """
    known = PAIR_METRICS, SET_METRICS, TRANSLATION_METRICS
    check_metrics(metrics, [metric for kind in known for metric in kind])
    chosen: list[Any] = [[metric for metric in metrics if metric in kind] for kind in known]
    pairs, sets, translations = chosen
    return pairs, sets, translations


def _with_sets(report: dict[str, Any], result: SetResult) -> dict[str, Any]:
    settings = report.get("settings", {}) | result.settings
    return {"count": result.sets["generated"], **report, "settings": settings, "sets": result.sets}


def _folder(trainer: pl.Trainer) -> Path:
    return Path(trainer.default_root_dir) / "evaluation"


def _datamodule(trainer: pl.Trainer) -> object:
    return trainer.datamodule  # type: ignore[attr-defined]


def _checkpoint(trainer: pl.Trainer) -> str | None:
    """Where the weights under evaluation come from; None for those in training."""
    fitting = trainer.state.fn == TrainerFn.FITTING
    return None if fitting or trainer.ckpt_path is None else str(trainer.ckpt_path)
