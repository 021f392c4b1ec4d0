"""One line per interval that tells how a run is doing, to the screen and to `status.jsonl`."""

import json
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import psutil
import torch

from repsynth.callbacks.checkpoint import Checkpoint
from repsynth.callbacks.determinism import samples_seen, trainer_callbacks
from repsynth.errors import UserError

Row = dict[str, Any]
_GIB = 2.0**30


class Status(pl.Callback):
    """Reports progress, speed, time outside training, memory and the loss at fixed intervals.

    The numbers of a row of `<run directory>/status.jsonl`: `samples` seen; `elapsed` seconds of the run
    over all its starts; `seconds_per_1000` samples, without maintenance; `maintenance` seconds since the
    row before (validation with its media, and saving); `host_memory` of this process and its loaders,
    `device_memory_peak` since the row before and `device_memory_reserved`, in GiB (None without a GPU);
    `loss`, the mean of `train/loss` since the row before on rank 0. A resumed run cuts the rows after the
    checkpoint that it goes on from.

    Args:
        every_samples: samples between rows; None goes by time.
        every_seconds: seconds between rows, where `every_samples` is None.

    Raises:
        UserError: an interval that is not positive.
    """

    def __init__(self, every_samples: int | None = None, every_seconds: float = 30.0) -> None:
        for name, value in {"every_samples": every_samples, "every_seconds": every_seconds}.items():
            if value is not None and value <= 0:
                raise UserError(f"Status.{name} is {value}: expected a positive number")
        self.every_samples = every_samples
        self.every_seconds = every_seconds
        self._start = 0.0
        self._validating_since = 0.0
        self._validated = 0.0
        self._losses: list[torch.Tensor] = []
        self._row_time = 0.0
        self._row_samples = 0
        self._row_maintenance = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Continue the file of an earlier start."""
        seen = samples_seen(trainer)
        rows = [row for row in read(_path(trainer)) if row["samples"] <= seen]
        if trainer.is_global_zero:
            _rewrite(_path(trainer), rows)
        self._start = time.monotonic() - (rows[-1]["elapsed"] if rows else 0.0)
        self._begin_interval(trainer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Report if it is time."""
        if not trainer.is_global_zero:
            return
        loss = trainer.callback_metrics.get("train/loss")
        if loss is not None:
            self._losses.append(loss.detach().clone())
        if self.every_samples is None:
            due = time.monotonic() - self._row_time >= self.every_seconds
        else:
            due = samples_seen(trainer) // self.every_samples > self._row_samples // self.every_samples
        if due:
            self._report(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of maintenance."""
        self._validating_since = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock of maintenance."""
        self._validated += time.monotonic() - self._validating_since

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report what is left."""
        if trainer.is_global_zero and samples_seen(trainer) > self._row_samples:
            self._report(trainer, pl_module)

    def _report(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row = self._row(trainer)
        with _path(trainer).open("a") as file:
            file.write(json.dumps(row) + "\n")
        pl_module.print(line(row))
        self._begin_interval(trainer)

    def _row(self, trainer: pl.Trainer) -> Row:
        now = time.monotonic()
        maintenance = self._maintenance(trainer) - self._row_maintenance
        seconds = max(now - self._row_time - maintenance, 0.0)
        samples = samples_seen(trainer)
        return {
            "samples": samples,
            "elapsed": now - self._start,
            "seconds_per_1000": 1000 * seconds / (samples - self._row_samples),
            "maintenance": maintenance,
            "host_memory": _host_memory(),
            **_device_memory(),
            "loss": float(torch.stack(self._losses).mean()) if self._losses else None,
        }

    def _begin_interval(self, trainer: pl.Trainer) -> None:
        self._losses = []
        self._row_time = time.monotonic()
        self._row_samples = samples_seen(trainer)
        self._row_maintenance = self._maintenance(trainer)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def _maintenance(self, trainer: pl.Trainer) -> float:
        saving = sum(c.seconds_saving for c in trainer_callbacks(trainer) if isinstance(c, Checkpoint))
        return self._validated + saving


def line(row: Row) -> str:
    """A row as one line of fixed columns."""
    columns = [
        f"{row['samples'] / 1000:10.3f} k samples",
        f"{_clock(row['elapsed']):>9}",
        f"{row['seconds_per_1000']:8.2f} s/k",
        f"maintenance {row['maintenance']:7.1f} s",
        f"host {row['host_memory']:6.2f} GiB",
        f"device {_number(row['device_memory_peak'], 6)} / {_number(row['device_memory_reserved'], 6)} GiB",
        f"loss {_number(row['loss'], 9, 4)}",
    ]
    return " | ".join(columns)


def read(path: Path) -> list[Row]:
    """The rows of a status file; without a last line that a kill cut short. Empty if there is no file."""
    rows = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return rows


def _rewrite(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text("".join(json.dumps(row) + "\n" for row in rows))
    partial.replace(path)


def _path(trainer: pl.Trainer) -> Path:
    return Path(trainer.default_root_dir) / "status.jsonl"


def _host_memory() -> float:
    """GiB resident in this process and its children; pages that loaders share are counted in each."""
    process = psutil.Process()
    total = process.memory_info().rss
    for child in process.children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / _GIB


def _device_memory() -> dict[str, float | None]:
    if not torch.cuda.is_available():
        return {"device_memory_peak": None, "device_memory_reserved": None}
    return {
        "device_memory_peak": torch.cuda.max_memory_allocated() / _GIB,
        "device_memory_reserved": torch.cuda.memory_reserved() / _GIB,
    }


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _number(value: float | None, width: int, digits: int = 2) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"
