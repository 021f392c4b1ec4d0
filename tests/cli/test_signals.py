"""Signals to stop that reach all processes of a run, as those of schedulers and of `timeout` do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from .test_cips import SYNTHETIC


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    for _ in range(2000):
        if path.exists() or process.poll() is not None:
            return
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.slow)])
def test_a_run_with_loader_processes_saves_and_stops(tmp_path: Path, number: signal.Signals) -> None:
    words = [
        *SYNTHETIC,
        "--data.num_workers=2",
        "--trainer.max_epochs=100000",
        f"--trainer.default_root_dir={tmp_path}",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "repsynth", "fit", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_for(tmp_path / "media" / "val_0000000016.png", process)
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert f"{number.name}: stopped after" in output
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["iterations"] >= 4
