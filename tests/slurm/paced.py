"""A callback for the jobs of this folder, which find it by PYTHONPATH."""

import os
import time
from pathlib import Path

import lightning.pytorch as pl

from repsynth.callbacks.determinism import samples_seen


class Paced(pl.Callback):
    """Takes PACE seconds over every step until the job is started again, and writes down when each ends.

    The lines of `<run directory>/steps.txt`: how often SLURM has started the job again, samples seen, time.
    """

    def on_train_batch_start(self, *_: object) -> None:
        if _restarts() == 0:
            time.sleep(float(os.environ["PACE"]))

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.is_global_zero:
            with (Path(trainer.default_root_dir) / "steps.txt").open("a") as file:
                file.write(f"{_restarts()} {samples_seen(trainer)} {time.time()}\n")


def _restarts() -> int:
    # SLURM sets it from the first restart on.
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))
