"""`repsynth profile`: where the time of an experiment's training goes."""

import argparse
from pathlib import Path

from repsynth.errors import UserError

SUMMARY = "show where a training step's time goes"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options; overrides of the experiment follow them as in `repsynth fit`."""
    parser.usage = "repsynth profile --config FILE [--steps N] [--warm-up N] [--json FILE] [--KEY VALUE ...]"
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="steps to measure (default: 20)")
    parser.add_argument(
        "--warm-up", type=int, default=5, metavar="N", help="steps before them that do not count (default: 5)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")


def run(options: argparse.Namespace) -> None:
    """Train an experiment for some steps, without checkpoints and loggers, and print where the time went.

    Raises:
        UserError: any mistake in the options, the configuration or the data.
    """
    for name, value, least in (("--steps", options.steps, 1), ("--warm-up", options.warm_up, 0)):
        if value < least:
            raise UserError(f"{name} is {value}; expected at least {least}")
    if not options.overrides:
        raise UserError("repsynth profile needs --config experiments/METHOD/DATA.yaml (see `repsynth list`)")
    from repsynth.cli.configuration import merge

    configuration = merge(options.overrides)
    from repsynth.cli.profiling.command import run_profile

    run_profile(options.overrides, configuration, options.steps, options.warm_up, options.json)
