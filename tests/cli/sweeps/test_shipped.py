"""Every shipped sweep calls our command line with names that it knows, as W&B's own agent would."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from repsynth.cli.configuration import merge
from repsynth.cli.describe import methods
from repsynth.cli.parsing import parse
from repsynth.cli.sweeps.checks import check_sweep, configuration_words, covering, remarks
from repsynth.cli.sweeps.command import arguments
from repsynth.cli.sweeps.file import read_sweep
from repsynth.errors import UserError

ROOT = Path(__file__).parents[3]
SWEEPS = sorted((ROOT / "experiments" / "sweeps").glob("*.yaml"))


def words_of_wandb(path: Path, parameters: dict[str, Any]) -> list[str]:
    """The command that W&B's agent runs for a trial, made by its own functions."""
    content = yaml.safe_load(path.read_text())
    macros: dict[str, Any] = create_sweep_command_args(
        {"args": {name: {"value": value} for name, value in parameters.items()}}
    )
    macros |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [content["program"]]}
    words: list[str] = []
    for word in create_sweep_command(content["command"]):
        words += macros[word[2:-1]] if word.startswith("${") and word.endswith("}") else [word]
    return words


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_expands_to_calls_that_the_parser_takes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value and both ends of every range, and the metric is one that the experiment logs."""
    monkeypatch.chdir(ROOT)
    sweep = read_sweep(path)
    command = check_sweep(sweep)
    assert sweep.metric is not None
    points = list(covering(sweep))
    for name, each in sweep.parameters.items():
        assert {str(point[name]) for point in points} == {str(corner) for corner in each.corners}
        section, *rest = name.split(".")
        node: Any = command.config[section].init_args
        for part in rest:
            node = node[part]
        assert node == points[0][name]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_wandbs_agent_calls_the_same_and_gives_every_trial_its_directory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("WANDB_RUN_ID", "x7y8z9")
    sweep = read_sweep(path)
    for point in covering(sweep):
        words = words_of_wandb(path, point)
        assert words[:3] == ["/usr/bin/env", "repsynth", "fit"]
        assert words[3:] == arguments(sweep.command, point)
    rest = configuration_words(words[3:])
    assert "--resume" in words and "--resume" not in rest
    config = parse(rest, merge(rest)).config
    assert config.trainer.default_root_dir == f"runs/sweeps/{path.stem}/x7y8z9"
    assert config.trainer.logger.class_path == "lightning.pytorch.loggers.WandbLogger"
    assert all("server" in remark for remark in remarks(sweep))


def test_every_method_has_a_sweep_and_every_way_to_choose_is_shown() -> None:
    sweeps = [read_sweep(path) for path in SWEEPS]
    assert {sweep.method for sweep in sweeps} == {"grid", "random", "bayes"}
    assert any(sweep.method == "bayes" and sweep.early_terminate for sweep in sweeps)
    configs = [word for sweep in sweeps for word in sweep.command if word.startswith("experiments/")]
    with_experiments = {path.parent.name for path in (ROOT / "experiments").glob("*/synthetic.yaml")}
    assert {Path(config).parts[1] for config in configs} >= with_experiments & set(methods())


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_wrong_name_fails_with_its_sentence(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    wrong = tmp_path / path.name
    shutil.copy(path, wrong)
    first = next(iter(yaml.safe_load(path.read_text())["parameters"]))
    wrong.write_text(path.read_text().replace(f"  {first}:", f"  {first}_x:"))
    with pytest.raises(UserError) as caught:
        check_sweep(read_sweep(wrong))
    message = str(caught.value)
    assert message.startswith(f"{wrong}: unknown option '")
    assert f"did you mean '{first.rpartition('.')[2]}'?" in message
