"""The synthetic experiment of every method, made so small that a run takes seconds, by what all experiments share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from distributed.experiments import SYNTHETIC

BATCH = 2
EVERY = 5
"""Samples between checkpoints, which falls on different places among steps, validations and ends of epochs."""
INTERVAL = -(-EVERY // BATCH)
"""Most steps between checkpoints."""
_OBSERVER = "faults.observer.Observer"


@dataclass(frozen=True)
class Length:
    """Of a run."""

    epochs: int
    batches: int

    @property
    def steps(self) -> int:
        return self.epochs * self.batches


LENGTH = Length(epochs=2, batches=9)
"""Of the runs of `make test-faults`."""
SHORT = Length(epochs=1, batches=4)
"""Of those in the default suite."""


def cheapest() -> Path:
    """The experiment with the smallest pictures."""
    return min(SYNTHETIC, key=_pixels)


def words(experiment: Path, length: Length, folder: Path, root: Path) -> list[str]:
    """What follows `repsynth fit` for a small run of an experiment.

    Args:
        experiment: the shipped file.
        length: of the run.
        folder: gets the changed file.
        root: the run directory.
    """
    config = yaml.safe_load(experiment.read_text())
    config["data"]["init_args"] |= {"batch_size": BATCH, "eval_batch_size": 2}
    trainer = config["trainer"]
    trainer |= {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": length.epochs,
        "limit_train_batches": length.batches,
        "limit_val_batches": 2,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer["callbacks"] = [*map(_often, trainer["callbacks"]), {"class_path": _OBSERVER}]
    folder.mkdir(parents=True, exist_ok=True)
    changed = folder / experiment.name
    changed.write_text(yaml.safe_dump(config))
    return ["--config", str(changed), f"--trainer.default_root_dir={root}"]


def _often(callback: dict[str, Any]) -> dict[str, Any]:
    """A callback that does what it does at intervals of samples, and many times in a small run."""
    options = callback.get("init_args", {})
    if callback["class_path"].endswith(".Checkpoint"):
        options = options | {"every_samples": EVERY, "every_minutes": None}
    elif callback["class_path"].endswith(".Status"):
        options = options | {"every_samples": EVERY}
    return {"class_path": callback["class_path"], "init_args": options}


def _pixels(experiment: Path) -> float:
    size: Any = yaml.safe_load(experiment.read_text())["data"]["init_args"].get("image_size", float("inf"))
    return float(size[0] * size[1] if isinstance(size, list) else size**2)
