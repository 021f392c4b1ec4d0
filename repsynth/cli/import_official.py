"""`repsynth import METHOD FILE`: turn an officially released file into one of our checkpoints."""

import argparse

SUMMARY = "turn official weights into a checkpoint"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("method")


def run(options: argparse.Namespace) -> None:
    """Import."""
    raise NotImplementedError
