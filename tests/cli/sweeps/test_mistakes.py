"""A bad sweep file costs one sentence, before a trial starts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from repsynth.cli import main

COMMAND = ["${env}", "repsynth", "fit", "--config", "experiments/toy_method/synthetic.yaml", "${args}"]
EVALUATION = (
    '--trainer.callbacks+={"class_path": "repsynth.callbacks.evaluation.Evaluation", '
    '"init_args": {"metrics": ["psnr", "lpips"], "lpips_weights": "random"}}'
)
GOOD: dict[str, Any] = {
    "program": "repsynth",
    "command": [*COMMAND, EVALUATION],
    "method": "grid",
    "metric": {"name": "val/psnr", "goal": "maximize"},
    "parameters": {"model.width": {"values": [2, 3]}},
}
RANDOM = {"method": "random", "run_cap": 3}


def one(**description: object) -> dict[str, Any]:
    """A random sweep of one parameter."""
    return {**RANDOM, "parameters": {"model.schedule.lr": description}}


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"metod": "grid"}, "a sweep has no 'metod': did you mean 'method'?"),
    "method": ({"method": "hyperopt"}, "method is 'hyperopt'; expected grid, random or bayes"),
    "no command": ({"command": None}, "the sweep has no command, so that W&B would run the program itself"),
    "another command": (
        {"command": ["${env}", "python", "train.py", "${args}"]},
        "the command '${env} python train.py ${args}' does not call `repsynth fit`",
    ),
    "no parameters in the command": (
        {"command": COMMAND[:-1]},
        "the command passes on no parameters; expected ${args} once",
    ),
    "parameters as JSON": (
        {"command": [*COMMAND[:-1], "${args_json}"]},
        "the command passes on ${args_json}; expected ${args} once",
    ),
    "the agent's environment": (
        {"command": [*COMMAND, "--trainer.default_root_dir=runs/${envvar:WANDB_RUN_ID}"]},
        "write $NAME in --trainer.default_root_dir, which every trial reads",
    ),
    "no experiment": ({"command": ["repsynth", "fit", "${args}"]}, "no 'data' is given on the command line"),
    "no parameters": ({"parameters": {}}, "the sweep has no parameters; name options of the command line"),
    "empty grid": (
        {"parameters": {"model.width": {"values": []}}},
        "parameter 'model.width' has values []; expected a list of at least one",
    ),
    "huge grid": (
        {"parameters": {"model.width": {"min": 1, "max": 20_000}}},
        "the grid has 20,000 trials; expected at most 10,000",
    ),
    "unknown parameter": (
        {"parameters": {"model.widht": {"values": [1]}}},
        "unknown option 'model.init_args.widht' (on the command line): ToyMethod has no 'widht'; did you mean 'width'?",
    ),
    "value of another type": (
        {"parameters": {"model.width": {"values": [2, "wide"]}}},
        "option 'model.init_args.width' (on the command line) expects a whole number, but got 'wide'",
    ),
    "a corner of another type": (
        {**RANDOM, "parameters": {"model.width": {"min": 1.0, "max": 2.0}}},
        "expects a whole number, but got '1.0'",
    ),
    "no name": ({"parameters": {"--model.width": {"value": 1}}}, "parameter '--model.width' is no name"),
    "nested parameters": (
        {"parameters": {"model": {"parameters": {"width": {"values": [1]}}}}},
        "give each its full name, such as 'model.width'",
    ),
    "a plain value": (
        {"parameters": {"model.width": 3}},
        "parameter 'model.width' is 3; expected a mapping with value, values, or min and max",
    ),
    "unknown key of a parameter": (
        {"parameters": {"model.width": {"vales": [1]}}},
        "parameter 'model.width' has an unknown key 'vales': did you mean 'values'?",
    ),
    "the same value twice": ({"parameters": {"model.width": {"values": [2, 2]}}}, "has the value 2 twice"),
    "null": ({"parameters": {"model.width": {"values": [None]}}}, 'write the text "null"'),
    "an exponent without a point": (
        {"parameters": {"model.schedule.lr": {"values": ["1e-3"]}}},
        "has the text '1e-3' for a number; YAML takes a number with an exponent only with a point, such as 1.0e-3",
    ),
    "a bound without a point": (
        one(distribution="log_uniform_values", min="1e-4", max=0.1),
        "has the text '1e-4' for a number",
    ),
    "a bound in words": (one(min="low", max=0.1), "has min 'low'; expected a number"),
    "a distribution without an end": (
        {"parameters": {"model.schedule.lr": {"min": 0.1, "max": 0.2}}},
        "parameter 'model.schedule.lr' is uniform, which a grid cannot go through; give values, or take method random",
    ),
    "unknown distribution": (
        one(distribution="log_uniform_value", min=0.1, max=1.0),
        "has the unknown distribution 'log_uniform_value': did you mean 'log_uniform_values'?",
    ),
    "no distribution": (
        one(min=0.1),
        "has min and no distribution; give value, values, min and max, or distribution",
    ),
    "keys of another distribution": (
        one(distribution="normal", min=0.0),
        "is normal, which has no 'min'; it takes mu, sigma",
    ),
    "half a range": (
        one(distribution="uniform", min=0.1),
        "parameter 'model.schedule.lr' is uniform without 'max'; it takes min, max",
    ),
    "an empty range": (one(min=0.2, max=0.1), "has min 0.2 and max 0.1; expected min below max"),
    "logarithm of nothing": (
        one(distribution="log_uniform_values", min=0.0, max=0.1),
        "is log_uniform_values with min 0.0; expected a number above 0",
    ),
    "values as exponents": (
        one(distribution="log_uniform", min=10, max=1000),
        "exponents of e that give no usable numbers; log_uniform_values takes the values themselves",
    ),
    "parts as whole numbers": (
        one(distribution="int_uniform", min=0.5, max=3),
        "is int_uniform; expected whole numbers for min and max",
    ),
    "no quantum": (one(distribution="q_normal", q=0), "has q 0; expected a number above 0"),
    "a negative deviation": (one(distribution="normal", sigma=-1.0), "has sigma -1.0; expected 0 or more"),
    "probabilities": (
        one(values=[0.1, 0.2], probabilities=[0.5, 0.6]),
        "has probabilities [0.5, 0.6]; expected 2 numbers from 0 on that sum to 1",
    ),
    "metric without a name": (
        {"metric": {"goal": "maximize"}},
        "expected a mapping with name, such as val/psnr",
    ),
    "key of the metric": ({"metric": {"name": "val/psnr", "gaol": "maximize"}}, "did you mean 'goal'?"),
    "goal": (
        {"metric": {"name": "val/psnr", "goal": "max"}},
        "metric.goal is 'max'; expected minimize or maximize",
    ),
    "the wrong way": (
        {"metric": {"name": "val/psnr"}},
        "metric.goal is minimize (W&B's default is minimize), but val/psnr is better the other way; set goal: maximize",
    ),
    "a metric without its stage": (
        {"metric": {"name": "psnr", "goal": "maximize"}},
        "the metric 'psnr' is never logged by this experiment: did you mean 'val/psnr'?",
    ),
    "a metric of the test": (
        {"metric": {"name": "test/psnr", "goal": "maximize"}},
        "the metric 'test/psnr' is never logged by this experiment",
    ),
    "a stand-in's metric": (
        {"metric": {"name": "val/lpips"}},
        "the metric 'val/lpips' is never logged by this experiment: did you mean 'val/lpips_random'?",
    ),
    "bayes without a metric": ({"method": "bayes", "metric": None}, "method bayes needs a metric"),
    "early stop without a metric": (
        {"early_terminate": {"type": "hyperband", "min_iter": 1}, "metric": None},
        "early_terminate needs a metric",
    ),
    "early stop": (
        {"early_terminate": {"type": "median"}},
        "early_terminate is {'type': 'median'}; expected a mapping with type: hyperband",
    ),
    "early stop without a begin": (
        {"early_terminate": {"type": "hyperband", "max_iter": 9}},
        "early_terminate has neither min_iter nor max_iter and s",
    ),
    "early stop at nothing": (
        {"early_terminate": {"type": "hyperband", "min_iter": 0}},
        "early_terminate.min_iter is 0; expected a whole number from 1 on",
    ),
    "early stop of all": (
        {"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1}},
        "early_terminate.eta is 1; expected a number above 1",
    ),
    "run_cap": ({"run_cap": 0}, "run_cap is 0; expected a whole number from 1 on"),
    "no end": (
        {"method": "random"},
        "method random has no end of its own; give --max-trials N, or run_cap in the file",
    ),
}


def sentence(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    assert main(["sweep", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_bad_sweep_gets_its_sentence(name: str, toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes, expected = MISTAKES[name]
    content = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    Path("bad.yaml").write_text(yaml.safe_dump(content))
    found = sentence(capsys, ["--local", "bad.yaml"])
    assert found.startswith("error: bad.yaml: ") and expected in found
    assert not Path("runs").exists()


def test_the_good_one_is_good(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("good.yaml").write_text(yaml.safe_dump(GOOD))
    assert main(["sweep", "--local", "good.yaml", "--dry-run"]) == 0
    shown, notes = capsys.readouterr()
    assert shown.startswith("2 trial(s) of good.yaml, method grid\n000-width-2: repsynth fit --config ")
    assert "put --trainer.default_root_dir=runs/sweeps/good/$WANDB_RUN_ID into the command" in notes
    assert "put --trainer.logger=lightning.pytorch.loggers.WandbLogger into the command" in notes
    assert not Path("runs").exists()


def test_a_figure_that_only_a_train_step_knows_is_let_pass(toy: Path) -> None:
    changed = {**GOOD, "metric": {"name": "train/l2"}}
    Path("good.yaml").write_text(yaml.safe_dump(changed))
    assert main(["sweep", "--local", "good.yaml", "--dry-run"]) == 0


OPTIONS = {
    "no file": ([], "repsynth sweep needs --local FILE"),
    "missing file": (["--local", "no.yaml"], "no.yaml: no such sweep file (option --local)"),
    "no jobs": (["--local", "x.yaml", "--jobs=0"], "--jobs is 0; expected at least 1"),
    "no trials": (["--local", "x.yaml", "--max-trials=0"], "--max-trials is 0; expected at least 1"),
    "a negative seed": (["--local", "x.yaml", "--seed=-1"], "--seed is -1; expected at least 0"),
    "an option of the experiment": (
        ["--local", "x.yaml", "--model.width=3"],
        "unrecognized arguments: --model.width=3",
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_bad_option_gets_its_sentence(name: str, toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, expected = OPTIONS[name]
    assert expected in sentence(capsys, words)
