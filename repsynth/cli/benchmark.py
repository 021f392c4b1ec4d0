"""`repsynth benchmark nvs`: several trained models on the same data, in one table."""

import argparse

SUMMARY = "compare trained models on the same data"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the tasks and their options."""
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True)
    tasks.add_parser("nvs")


def run(options: argparse.Namespace) -> None:
    """Run one task."""
    raise NotImplementedError
