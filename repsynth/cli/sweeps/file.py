"""Sweep files as W&B reads them, checked more strictly than W&B does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from repsynth.cli.configuration import read_yaml
from repsynth.cli.sweeps.command import check_command
from repsynth.cli.sweeps.distributions import Distribution
from repsynth.cli.sweeps.parameter import distribution
from repsynth.cli.wording import suggestion
from repsynth.errors import UserError

Method = Literal["grid", "random", "bayes"]
Goal = Literal["minimize", "maximize"]
_KEYS = (
    "program",
    "command",
    "method",
    "metric",
    "parameters",
    "early_terminate",
    "name",
    "description",
    "project",
    "entity",
    "run_cap",
)
_METRIC_KEYS = ("name", "goal", "target", "impute", "impute_while_running")
_HYPERBAND_KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_MOST = 10_000
"""Trials of a grid that anybody can mean."""


@dataclass(frozen=True)
class Metric:
    """What a sweep looks for.

    Attributes:
        name: as it is logged, such as val/psnr.
        goal: whether it is better when smaller or larger.
    """

    name: str
    goal: Goal


@dataclass(frozen=True)
class Sweep:
    """A sweep file.

    Attributes:
        path: the file.
        name: its name for W&B, else the file's.
        method: how parameters are chosen.
        command: the words of a trial, with W&B's placeholders.
        parameters: name as on the command line -> values.
        metric: what is looked for; None where the sweep does not say.
        early_terminate: whether W&B stops trials that fall behind.
        run_cap: most trials, or None.
    """

    path: Path
    name: str
    method: Method
    command: tuple[str, ...]
    parameters: dict[str, Distribution]
    metric: Metric | None
    early_terminate: bool
    run_cap: int | None


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        UserError: it is no YAML, or W&B could not run it, or would run something else.
    """
    if not path.is_file():
        beside = [file.name for file in path.parent.glob("*.yaml")]
        raise UserError(f"{path}: no such sweep file (option --local); {suggestion(path.name, beside)}")
    content = read_yaml(path)
    try:
        return _sweep(path, content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _sweep(path: Path, content: dict[str, Any]) -> Sweep:
    _check_keys(content, _KEYS, "a sweep")
    method: Any = content.get("method")
    if method not in get_args(Method):
        raise UserError(f"method is {method!r}; expected grid, random or bayes")
    metric = _metric(content.get("metric"))
    if metric is None and (method == "bayes" or "early_terminate" in content):
        reason = "method bayes" if method == "bayes" else "early_terminate"
        raise UserError(f"{reason} needs a metric; give metric.name, such as val/psnr, and metric.goal")
    if "early_terminate" in content:
        _check_hyperband(content["early_terminate"])
    run_cap = content.get("run_cap")
    if run_cap is not None and (not _is_whole(run_cap) or run_cap < 1):
        raise UserError(f"run_cap is {run_cap!r}; expected a whole number from 1 on")
    return Sweep(
        path=path,
        name=str(content.get("name") or path.stem),
        method=method,
        command=check_command(content.get("command")),
        parameters=_parameters(content.get("parameters"), method),
        metric=metric,
        early_terminate="early_terminate" in content,
        run_cap=run_cap,
    )


def _check_keys(content: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in content:
        if key not in known:
            raise UserError(f"{what} has no '{key}': {suggestion(str(key), known)}")


def _metric(given: object) -> Metric | None:
    if given is None:
        return None
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise UserError(f"metric is {given!r}; expected a mapping with name, such as val/psnr, and goal")
    _check_keys(given, _METRIC_KEYS, "metric")
    goal = given.get("goal", "minimize")
    if goal not in get_args(Goal):
        raise UserError(f"metric.goal is {goal!r}; expected minimize or maximize")
    return Metric(given["name"], goal)


def _check_hyperband(given: object) -> None:
    if not isinstance(given, Mapping) or given.get("type") != "hyperband":
        raise UserError(f"early_terminate is {given!r}; expected a mapping with type: hyperband")
    _check_keys(given, _HYPERBAND_KEYS, "early_terminate")
    if not ("min_iter" in given or {"max_iter", "s"} <= given.keys()):
        raise UserError(
            "early_terminate has neither min_iter nor max_iter and s; give min_iter, a count of evaluations"
        )
    for key in ("min_iter", "max_iter", "s"):
        if key in given and (not _is_whole(given[key]) or given[key] < 1):
            raise UserError(f"early_terminate.{key} is {given[key]!r}; expected a whole number from 1 on")
    eta = given.get("eta", 3)
    if isinstance(eta, bool) or not isinstance(eta, int | float) or eta <= 1:
        raise UserError(f"early_terminate.eta is {eta!r}; expected a number above 1")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _parameters(given: object, method: Method) -> dict[str, Distribution]:
    if not isinstance(given, Mapping) or not given:
        raise UserError(
            "the sweep has no parameters; name options of the command line below 'parameters', such as "
            "model.learning_rate"
        )
    found: dict[str, Distribution] = {}
    for name, description in given.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(
                f"parameter {name!r} is no name; expected an option of the command line, such as model.learning_rate"
            )
        found[name] = distribution(description, name)
    if method == "grid":
        _check_grid(found)
    return found


def _check_grid(parameters: Mapping[str, Distribution]) -> None:
    count = 1
    for name, each in parameters.items():
        if not each.values or each.kind == "categorical_w_probabilities":
            raise UserError(
                f"parameter '{name}' is {each.kind}, which a grid cannot go through; give values, or take method random"
            )
        count *= len(each.values)
    if count > _MOST:
        raise UserError(f"the grid has {count:,} trials; expected at most {_MOST:,}: take method random")
