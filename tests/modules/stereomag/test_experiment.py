"""The shipped experiment through the command line, made tiny."""

import json
from pathlib import Path

import pytest
import torch

from repsynth.cli import main

YAML = Path(__file__).parents[3] / "experiments" / "stereomag" / "synthetic.yaml"
TINY = [
    "--model.planes=3",
    "--model.width=4",
    "--data.image_size=[40,40]",
    "--data.train_scenes=4",
    "--data.eval_scenes=2",
    "--data.eval_batch_size=2",
    "--data.num_workers=0",
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.val_check_interval=1.0",
    "--trainer.log_every_n_steps=1",
]


def test_it_trains_and_is_tested_as_planes_and_as_merged_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", f"--config={YAML}", *TINY]) == 0
    run = Path("runs/stereomag-synthetic")
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["callbacks"]["Determinism"]["samples_seen"] == 4
    figures = []
    for layers in ("null", "2"):
        words = ["test", f"--config={YAML}", *TINY, f"--model.merged_layers={layers}", "--ckpt_path=last"]
        assert main(words) == 0
        report = json.loads((run / "evaluation" / "test.json").read_text())
        assert report["samples_seen"] == 4
        figures.append(report["figures"]["psnr"]["mean"])
    assert all(figure > 5 for figure in figures)
    assert figures[0] != figures[1]
    assert abs(figures[0] - figures[1]) < 3
