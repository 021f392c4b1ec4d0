"""Whether every trial of a sweep would start, and log what the sweep looks for."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from jsonargparse import Namespace

from repsynth.callbacks.evaluation import Evaluation
from repsynth.cli import add_training_options
from repsynth.cli.configuration import merge
from repsynth.cli.parsing import CommandLine, parse
from repsynth.cli.sweeps.command import arguments
from repsynth.cli.sweeps.file import Goal, Metric, Sweep
from repsynth.cli.wording import suggestion
from repsynth.errors import UserError
from repsynth.weights import RANDOM

_GOALS: dict[str, Goal] = {
    "psnr": "maximize",
    "ssim": "maximize",
    "lpips": "minimize",
    "flip": "minimize",
    "fid": "minimize",
    "kid": "minimize",
    "precision": "maximize",
    "recall": "maximize",
}
_WEIGHTS = {
    "lpips": "lpips_weights",
    "fid": "sets.inception_weights",
    "kid": "sets.inception_weights",
    "precision": "sets.vgg_weights",
    "recall": "sets.vgg_weights",
}
"""Figure -> the option that may make it a stand-in's, whose name says so."""


def check_sweep(sweep: Sweep) -> CommandLine:
    """Parse trials until every value, or both ends of every range, was in one of them.

    Returns:
        The first of them, parsed.

    Raises:
        UserError: the parser refuses one, or the metric is never logged or sought in the wrong direction.
    """
    try:
        parsed = [_parsed(sweep, point) for point in covering(sweep)]
        for command in parsed:
            if sweep.metric is not None:
                _check_metric(sweep.metric, command)
    except UserError as error:
        raise UserError(f"{sweep.path}: {error}") from error
    return parsed[0]


def covering(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """As few points as have every corner of every parameter in one of them."""
    for index in range(max(len(each.corners) for each in sweep.parameters.values())):
        yield {name: each.corners[index % len(each.corners)] for name, each in sweep.parameters.items()}


def configuration_words(words: list[str]) -> list[str]:
    """The words of a `repsynth fit` without the command's own options."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    add_training_options(parser, "fit")
    return parser.parse_known_args(words)[1]


def logged_figures(callbacks: list[Any] | None) -> set[str] | None:
    """What the callback `Evaluation` will log while training; None where there is none to ask.

    Args:
        callbacks: as parsed, of the section `trainer`.
    """
    found: set[str] | None = None
    for callback in callbacks or []:
        if isinstance(callback, Namespace) and _is_evaluation(callback.class_path):
            options = callback.init_args
            found = found or set()
            if "val" in options.stages:
                found |= {f"val/{_named(metric, options)}" for metric in options.metrics}
    return found


def _parsed(sweep: Sweep, point: Mapping[str, Any]) -> CommandLine:
    words = configuration_words(arguments(sweep.command, point))
    # Whatever folder the sweep gives: here no trial runs.
    words.append("--trainer.default_root_dir=.")
    return parse(words, merge(words))


def _is_evaluation(class_path: str) -> bool:
    return class_path == f"{Evaluation.__module__}.{Evaluation.__qualname__}"


def _named(metric: str, options: Namespace) -> str:
    weights = options.get(_WEIGHTS.get(metric, ""))
    return f"{metric}_random" if weights == RANDOM else metric


def _check_metric(metric: Metric, command: CommandLine) -> None:
    known = logged_figures(command.config.trainer.callbacks)
    if known is None or metric.name.startswith("train/"):  # a method's own terms, which only its steps know
        return
    if metric.name not in known:
        raise UserError(
            f"the metric '{metric.name}' is never logged by this experiment: {suggestion(metric.name, known)}"
        )
    figure = metric.name.removeprefix("val/").removesuffix("_random")
    if _GOALS.get(figure, metric.goal) != metric.goal:
        raise UserError(
            f"metric.goal is {metric.goal} (W&B's default is minimize), but {metric.name} is better the other way; set "
            f"goal: {_GOALS[figure]}"
        )


def remarks(sweep: Sweep) -> list[str]:
    """What a sweep lacks where W&B runs it, or has that only W&B can do; nothing of it stops a local one."""
    words = configuration_words(arguments(sweep.command, {}))
    trainer = merge(words).values.get("trainer") or {}
    found = []
    if "WANDB_RUN_ID" not in str(trainer.get("default_root_dir")):
        found.append(
            "with W&B all trials would share one run directory; put "
            f"--trainer.default_root_dir=runs/sweeps/{sweep.path.stem}/$WANDB_RUN_ID into the command"
        )
    if "WandbLogger" not in str(trainer.get("logger")):
        found.append(
            "with W&B no trial would log to it; put --trainer.logger=lightning.pytorch.loggers.WandbLogger into the "
            "command"
        )
    if sweep.method == "bayes":
        found.append("bayes needs W&B's server; here the parameters are drawn at random")
    if sweep.early_terminate:
        found.append("early_terminate needs W&B's server; here every trial runs to its end")
    return found
