"""`repsynth data check | fetch-frames`: look at data before anyone pays for GPUs, and prepare it."""

import argparse

SUMMARY = "check a data set, or cut frames out of videos"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("check")


def run(options: argparse.Namespace) -> None:
    """Run one action."""
    raise NotImplementedError
