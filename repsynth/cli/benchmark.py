"""`repsynth benchmark nvs`: several trained models on the same data, in one table."""

import argparse
from pathlib import Path

from repsynth.errors import UserError

SUMMARY = "compare trained models on the same data"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the tasks and their options."""
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True)
    nvs = tasks.add_parser(
        "nvs",
        help="novel-view synthesis: figures, size, speed, memory and coverage",
        description="Test models on the same examples and print one table; docs/benchmark.md describes it.",
        allow_abbrev=False,
    )
    nvs.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="NAME=RUN",
        help="run directories, checkpoint files, or modules without parameters (NearestView, PlaneWarp)",
    )
    nvs.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="FILE",
        help="YAML files with a section `data`, or classes; NAME=FILE gives it another name than the file's",
    )
    nvs.add_argument(
        "--protocol", type=Path, required=True, metavar="FILE", help="YAML file with the conditions"
    )
    nvs.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for tables, figures per image, configurations"
    )
    nvs.add_argument("--device", default="auto", metavar="auto|cpu|cuda|cuda:N", help="where the models run")


def run(options: argparse.Namespace) -> None:
    """Run one task.

    Raises:
        UserError: any mistake, before anything is computed.
    """
    if options.overrides:
        raise UserError(
            f"repsynth benchmark nvs: unrecognized arguments: {' '.join(options.overrides)} (see `repsynth benchmark "
            "nvs --help`); options of the evaluation belong into the protocol, options of data into their file"
        )
    from repsynth.benchmark.command import run_nvs

    run_nvs(options.models, options.data, options.protocol, options.out, options.device)
