from pathlib import Path
from typing import Any

import pytest
import yaml

from repsynth.cli.sweeps.file import Sweep, read_sweep
from repsynth.cli.sweeps.plan import plan, short_names

COMMAND = ["repsynth", "fit", "${args}"]


def sweep(folder: Path, method: str, parameters: dict[str, Any], **more: object) -> Sweep:
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump({"command": COMMAND, "method": method, "parameters": parameters, **more}))
    return read_sweep(path)


def test_a_grid_has_every_point_once_the_last_parameter_fastest(tmp_path: Path) -> None:
    parameters = {"model.a": {"values": [1, 2]}, "seed": {"value": 7}, "model.b": {"min": 0, "max": 2}}
    trials = plan(sweep(tmp_path, "grid", parameters), None, 0)
    assert [(t.parameters["model.a"], t.parameters["model.b"]) for t in trials] == [
        (1, 0),
        (1, 1),
        (1, 2),
        (2, 0),
        (2, 1),
        (2, 2),
    ]
    assert all(trial.parameters["seed"] == 7 for trial in trials)
    assert trials[0].name == "000-a-1_b-0" and trials[5].name == "005-a-2_b-2"


def test_limits_cut_the_end_off(tmp_path: Path) -> None:
    parameters = {"model.a": {"values": [1, 2, 3, 4]}}
    assert len(plan(sweep(tmp_path, "grid", parameters, run_cap=3), None, 0)) == 3
    assert len(plan(sweep(tmp_path, "grid", parameters, run_cap=3), 2, 0)) == 2
    assert len(plan(sweep(tmp_path, "grid", parameters), 9, 0)) == 4


def test_a_draw_begins_alike_however_long_it_is(tmp_path: Path) -> None:
    """Also one that is called bayes; another seed draws others."""
    parameters = {"model.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 0.1}}
    short = plan(sweep(tmp_path, "random", parameters), 4, 5)
    bayes = sweep(tmp_path, "bayes", parameters, metric={"name": "train/loss"}, run_cap=9)
    assert plan(bayes, None, 5)[:4] == short
    assert plan(bayes, None, 6)[:4] != short
    assert len({trial.parameters["model.lr"] for trial in short}) == 4


def test_no_point_is_drawn_twice(tmp_path: Path) -> None:
    parameters = {"model.a": {"values": [1, 2]}, "model.b": {"values": ["x", "y", "z"]}}
    trials = plan(sweep(tmp_path, "random", parameters), 50, 0)
    assert len(trials) == 6
    assert len({tuple(trial.parameters.values()) for trial in trials}) == 6


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["model.lr", "data.seed"], ["lr", "seed"]),
        (["model.lr", "model.critic.lr"], ["model.lr", "critic.lr"]),
        (["lr", "model.lr"], ["lr", "model.lr"]),
    ],
)
def test_names_are_as_short_as_they_can_be(names: list[str], short: list[str]) -> None:
    assert list(short_names(names).values()) == short


def test_long_and_strange_values_make_names_of_directories(tmp_path: Path) -> None:
    parameters = {"trainer.path": {"values": ["a b/../c", "x" * 200]}, "model.size": {"values": [[1, 2]]}}
    first, second = (trial.name for trial in plan(sweep(tmp_path, "grid", parameters), None, 0))
    assert first == "000-path-a_b_.._c"
    assert "/" not in second and len(second) <= 64
