"""The figures of every paired method: one row per sample, each sample exactly once on any number of ranks."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from repsynth.batches import Paired
from repsynth.callbacks.determinism import samples_seen
from repsynth.callbacks.shards import SharedBuffers, let_every_rank_evaluate
from repsynth.errors import UserError
from repsynth.metrics.crop import check_crop
from repsynth.metrics.lpips import Backbone
from repsynth.metrics.scores import Metric, Scores, check_density, check_metrics
from repsynth.metrics.table import Row, Summary, gather, summarize, write_csv, write_json
from repsynth.weights import AUTO

Stage = Literal["val", "test"]


class Evaluation(pl.Callback):
    """Scores what `validation_step` and `test_step` return.

    Figures are computed per image at once, in float32, and only numbers are kept. At the end of the epoch
    the rows of all ranks are gathered once, sorted by id and averaged in float64. The means are logged as
    `val/psnr` and so on, on every rank, so that checkpoints can monitor them. Rank zero writes
    `evaluation/<stage>.json` and `.csv` below the trainer's `default_root_dir`. The networks of metrics live
    here, never in the module.

    The sanity check runs the figures, so that mistakes show early, and leaves nothing behind.

    Args:
        metrics: Which figures, in the order of the tables.
        crop: Central part that counts: a fraction of each side, or pixels if above 1.
        stages: Where figures are computed; others may return what they like.
        ssim_border: "zero" as in the papers' scorer, "valid" as Wang et al.
        flip_pixels_per_degree: How large the image is seen; None is the paper's desk, 67.02.
        lpips_backbone: Network of LPIPS.
        lpips_weights: "auto" finds or fetches the published file, "random" is a stand-in whose figure is
            called lpips_random, anything else is a path.
        download: Whether weights may be fetched.

    Raises:
        UserError: For options that make no sense.
    """

    def __init__(
        self,
        metrics: Sequence[Metric] = ("psnr", "ssim", "lpips", "flip"),
        crop: float = 1.0,
        stages: Sequence[Stage] = ("val", "test"),
        ssim_border: Literal["zero", "valid"] = "zero",
        flip_pixels_per_degree: float | None = None,
        lpips_backbone: Backbone = "alex",
        lpips_weights: str = AUTO,
        download: bool = True,
    ) -> None:
        check_metrics(metrics)
        check_crop(crop)
        check_density(flip_pixels_per_degree)
        self.crop = crop
        self.stages = tuple(stages)
        self._options: dict[str, Any] = {
            "metrics": list(metrics),
            "crop": crop,
            "ssim_border": ssim_border,
            "flip_density": flip_pixels_per_degree,
            "lpips_backbone": lpips_backbone,
            "lpips_weights": lpips_weights,
            "download": download,
        }
        self._scores: Scores | None = None
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
        if self._scores is None:
            self._scores = Scores(**self._options)
        self._scores.to(trainer.strategy.root_device)
        size = getattr(trainer.datamodule, "image_size", None)  # type: ignore[attr-defined]
        if size is not None:
            # A size that a metric cannot take would show at the first validation, hours later.
            blank = torch.zeros(1, 3, *size, device=trainer.strategy.root_device)
            self._scores(blank, blank)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget an evaluation that was broken off."""
        self._start(trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget an evaluation that was broken off."""
        self._start(trainer)

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

    def _start(self, trainer: pl.Trainer) -> None:
        self._rows = []
        self._buffers.share(trainer)

    def _add(self, stage: Stage, module: pl.LightningModule, outputs: object) -> None:
        if stage not in self.stages:
            return
        assert self._scores is not None
        pair = require_paired(outputs, module)
        figures = self._scores(pair["predicted"], pair["expected"])
        self._rows += zip(pair["ids"], figures, strict=True)

    def _finish(self, stage: Stage, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        rows, self._rows = self._rows, []
        if stage not in self.stages or trainer.sanity_checking:
            return
        assert self._scores is not None
        rows = gather(rows)
        summary = summarize(self._scores.names, rows)
        module.log_dict({f"{stage}/{name}": figure.mean for name, figure in summary.items()}, batch_size=1)
        if trainer.is_global_zero:
            folder = Path(trainer.default_root_dir) / "evaluation"
            write_csv(folder / f"{stage}.csv", self._scores.names, rows)
            write_json(folder / f"{stage}.json", self._report(stage, trainer, summary, len(rows)))

    def _report(
        self, stage: Stage, trainer: pl.Trainer, summary: dict[str, Summary], count: int
    ) -> dict[str, Any]:
        assert self._scores is not None
        return {
            "stage": stage,
            "samples_seen": samples_seen(trainer),
            "checkpoint": _checkpoint(trainer),
            "data": getattr(trainer.datamodule, "protocol", None),  # type: ignore[attr-defined]
            "count": count,
            "crop": self.crop,
            "figures": {name: figure._asdict() for name, figure in summary.items()},
            "settings": self._scores.settings,
        }


def _checkpoint(trainer: pl.Trainer) -> str | None:
    """Where the weights under evaluation come from; None for those in training."""
    fitting = trainer.state.fn == TrainerFn.FITTING
    return None if fitting or trainer.ckpt_path is None else str(trainer.ckpt_path)


def require_paired(outputs: object, module: pl.LightningModule) -> Paired:
    """Return a step's output if it is `batches.Paired`.

    Raises:
        UserError: Naming the module and what its step's output lacks.
    """
    complaint = _complaint(outputs)
    if complaint is not None:
        raise UserError(
            f"the evaluation step of {type(module).__name__} returned {complaint}: expected "
            "repsynth.batches.Paired with ids, predicted and expected; return it, or take the Evaluation and "
            "Media callbacks out"
        )
    return outputs  # type: ignore[return-value]


def _complaint(outputs: object) -> str | None:
    if not isinstance(outputs, dict):
        return f"a {type(outputs).__name__}"
    missing = [key for key in ("ids", "predicted", "expected") if key not in outputs]
    if missing:
        return f"a dict without {', '.join(missing)}"
    predicted, expected = outputs["predicted"], outputs["expected"]
    if not isinstance(predicted, Tensor) or not isinstance(expected, Tensor):
        return "predicted or expected that is not a tensor"
    if predicted.ndim != 4 or predicted.shape[1] != 3 or predicted.shape != expected.shape:
        return f"predicted {list(predicted.shape)} and expected {list(expected.shape)}, not both [N, 3, H, W]"
    ids = outputs["ids"]
    if not isinstance(ids, list | tuple) or not all(isinstance(name, str) for name in ids):
        return f"ids that are a {type(ids).__name__}, not a list of str"
    if len(ids) != len(predicted):
        return f"{len(ids)} ids for {len(predicted)} images"
    return None
