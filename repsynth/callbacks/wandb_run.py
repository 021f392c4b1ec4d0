"""Ties a W&B run to the run directory: where its checkpoints lie, and one W&B run for all starts."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import WandbLogger

from repsynth.callbacks.checkpoint import Checkpoint, Stopped, folder
from repsynth.callbacks.determinism import samples_seen, trainer_callbacks
from repsynth.exports.files import write_json

if TYPE_CHECKING:
    from wandb import Run

_OFFLINE = ("offline", "dryrun", "disabled")


class WandbRun(pl.Callback):
    """Tells W&B where the run directory is, and at the end refers to its checkpoints; uploads nothing.

    The summary has `run_directory` and `checkpoints`, its folder of checkpoints, from the first step on, so that a run
    that was killed is found too. At the end, and when a signal stopped the run, the artifact `checkpoint-<run id>` of
    type model holds references to `last.ckpt` and the best ones with their checksums, and as metadata the method, the
    samples seen and the best figure. The file `wandb.json` keeps the id for `continue_run`. Works offline too.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say where the run is: only now is it certain that nobody refuses it."""
        root = Path(trainer.default_root_dir).absolute()
        for run in _runs(trainer):
            run.summary.update({"run_directory": str(root), "checkpoints": str(folder(root))})
            write_json(_record(root), {"id": run.id, "folder": str(root), "offline": bool(run.offline)})

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refer to the checkpoints, which are all written by now."""
        for run in _runs(trainer):
            _refer(run, trainer, pl_module)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Refer to the checkpoint that a signal asked for."""
        if isinstance(exception, Stopped):
            self.on_fit_end(trainer, pl_module)


def continue_run(logger: WandbLogger, root: Path) -> None:
    """Let a logger without an id go on in the W&B run that was recorded in a run directory.

    Offline every start is a run of its own: W&B cannot join two files of one id without losing rows. So is what goes on
    in a copy of the run directory.

    Args:
        logger: that has made no run yet.
        root: the run directory.
    """
    if logger.version or "WANDB_RUN_ID" in os.environ or not _record(root).is_file():
        return
    if logger._offline or os.environ.get("WANDB_MODE") in _OFFLINE:
        return
    recorded = json.loads(_record(root).read_text())
    if not recorded["offline"] and recorded["folder"] == str(root.absolute()):
        logger._id = logger._wandb_init["id"] = recorded["id"]


def _refer(run: "Run", trainer: pl.Trainer, module: pl.LightningModule) -> None:
    import wandb

    checkpoints = folder(trainer.default_root_dir).absolute()
    metadata: dict[str, Any] = {
        "method": f"{type(module).__module__}.{type(module).__qualname__}",
        "samples_seen": samples_seen(trainer),
        **_best(trainer),
    }
    artifact = wandb.Artifact(f"checkpoint-{run.id}", type="model", metadata=metadata)
    for path in [*checkpoints.glob("last.ckpt"), *checkpoints.glob("best*.ckpt")]:
        artifact.add_reference(path.as_uri(), name=path.name)
    if artifact.manifest.entries:
        run.log_artifact(artifact)


def _best(trainer: pl.Trainer) -> dict[str, Any]:
    """The figure that chose best.ckpt."""
    for callback in trainer_callbacks(trainer):
        if isinstance(callback, Checkpoint) and callback.best_model_score is not None:
            return {"monitor": callback.monitor, "best": float(callback.best_model_score)}
    return {}


def _runs(trainer: pl.Trainer) -> list["Run"]:
    """The W&B runs that rank zero writes."""
    if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return []
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, WandbLogger)]


def _record(root: Path) -> Path:
    return root / "wandb.json"
