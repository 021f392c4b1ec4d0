"""Every shipped experiment is parsed against the code."""

from pathlib import Path

import pytest
import yaml

from repsynth.cli import experiments
from repsynth.cli.configuration import merge
from repsynth.cli.parsing import parse, run_name

ROOT = Path(__file__).parents[2] / "experiments"
FILES = experiments.files(ROOT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_experiment_parses(path: Path) -> None:
    arguments = ["--config", str(path)]
    config = parse(arguments, merge(arguments)).config
    assert config.model.class_path.startswith("repsynth.modules.")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_experiment_says_what_it_is_and_needs(path: Path) -> None:
    experiment = experiments.read(path)
    assert experiment.title
    assert experiment.needs != "not stated"
    root = yaml.safe_load(path.read_text())["trainer"]["default_root_dir"]
    assert root == f"runs/{run_name(path)}"


def test_every_method_has_an_experiment_without_downloads() -> None:
    methods = {path.relative_to(ROOT).parts[0] for path in FILES}
    assert methods
    for method in methods:
        assert experiments.read(ROOT / method / "synthetic.yaml").needs.startswith("nothing")


def test_runs_are_named_after_their_place(tmp_path: Path) -> None:
    assert run_name(Path("experiments/stereolayers/llff.yaml")) == "stereolayers-llff"
    assert run_name(Path("experiments/stereolayers/paper/bi_raw.yaml")) == "stereolayers-paper-bi_raw"
    assert run_name(Path("/home/me/mine/first.yaml")) == "mine-first"
    assert run_name(Path("/home/experiments/first.yaml")) == "experiments-first"
