"""`repsynth profile` as it is called, on the experiments that are there."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from distributed.experiments import each_method

from repsynth.cli import main

ROOT = Path(__file__).parents[3]
TOY = "experiments/toy_method/synthetic.yaml"


def report(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@each_method
def test_parts_of_a_step_add_up_to_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What no part explains stays below a tenth, in a step and in an evaluation."""
    monkeypatch.chdir(tmp_path)
    words = ["--config", str(path), "--steps", "3", "--warm-up", "1", "--json", "profile.json"]
    assert main(["profile", *words, "--data.batch_size=2", "--data.eval_batch_size=2"]) == 0
    found = report(Path("profile.json"))
    assert found["experiment"] == [str(path)]
    assert (found["steps"], found["warm_up"], found["ranks"]) == (3, 1, 1)
    parts, step = found["parts"], found["step_seconds"]
    assert sum(parts.values()) == pytest.approx(step["mean"], rel=1e-9)
    assert step["least"] <= step["median"] <= step["greatest"]
    assert parts["other"] < 0.3 * step["mean"]
    assert min(parts[part] for part in ("forward", "backward", "optimiser", "callbacks")) > 0
    assert found["samples_per_second"] == pytest.approx(found["batch_size"] / step["mean"])
    assert found["loader"]["samples_per_second"] > found["samples_per_second"]
    per_sample = found["evaluation"]["seconds_per_sample"]
    assert per_sample["other"] < 0.3 * sum(per_sample.values())
    assert per_sample["forward"] > 0 and per_sample["figures"] > 0
    assert f"training: {found['samples_per_second']:.4g} samples/s" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["profile.json"]


def files(folder: Path) -> dict[str, int]:
    found = (path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return {str(path): path.stat().st_mtime_ns for path in found}


def test_a_used_run_directory_is_left_as_it_is(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also with options of the run that a profile has no use for."""
    assert main(["fit", "--config", TOY, "--trainer.max_epochs=1"]) == 0
    before = files(toy)
    capsys.readouterr()
    words = ["--trainer.max_steps=1", "--trainer.min_epochs=9", "--trainer.max_time=00:00:00:01"]
    assert main(["profile", "--config", TOY, "--steps=7", "--warm-up=0", *words]) == 0
    assert files(toy) == before
    assert "7 steps after 0 of warm-up" in capsys.readouterr().out


MISTAKES = {
    "no experiment": ([], "repsynth profile needs --config experiments/METHOD/DATA.yaml"),
    "no steps": (["--config", TOY, "--steps=0"], "--steps is 0; expected at least 1"),
    "a negative warm-up": (["--config", TOY, "--warm-up=-1"], "--warm-up is -1; expected at least 0"),
    "steps in words": (["--config", TOY, "--steps=many"], "argument --steps: invalid int value: 'many'"),
    "an unknown option": (["--config", TOY, "--model.widht=3"], "did you mean 'width'?"),
    "a size that the method refuses": (["--config", TOY, "--data.side=6"], "ToyMethod halves it twice"),
    "no place for the figures": (
        ["--config", TOY, f"--json={TOY}/x.json"],
        f"--json {TOY}/x.json cannot be written; name a file in a folder that takes it",
    ),
    "several optimisers under plain DDP": (
        ["--config", TOY, "--model.by_hand=true", "--trainer.strategy=ddp"],
        "set trainer.strategy: ddp_find_unused_parameters_true",
    ),
    "a trainer that is refused": (
        ["--config", TOY, "--trainer.accelerator=cuda"],
        "the section 'trainer' of the configuration was refused:",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_its_sentence(name: str, toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, sentence = MISTAKES[name]
    assert main(["profile", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and sentence in lines[0], lines


@pytest.mark.slow
def test_two_ranks_give_one_report(toy: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    words = ["--config", TOY, "--trainer.devices=2", "--trainer.strategy=ddp", "--json=two.json", "--steps=6"]
    environment = {**os.environ, "PYTHONPATH": str(toy), "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "repsynth", "profile", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training: ") == 1
    assert "2 x CPU, precision 32-true, batch 2 over 2 ranks (rank 0 is shown)" in done.stdout
    found = report(Path("two.json"))
    assert found["samples_per_second"] == pytest.approx(2 / found["step_seconds"]["mean"])
