"""`repsynth data check | fetch-frames`: look at data before anyone pays for GPUs, and prepare it."""

import argparse
import os
from pathlib import Path
from typing import Any

from repsynth.errors import UserError

SUMMARY = "check a data set, or cut frames out of videos"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_check(actions)
    _add_fetch_frames(actions)


def run(options: argparse.Namespace) -> None:
    """Run one action."""
    if options.action == "fetch-frames":
        _fetch_frames(options)
        return
    _check(options)


def _add_check(actions: Any) -> None:  # noqa: ANN401  argparse does not name its type
    text = "read all scenes and pictures of an experiment's data, and list everything that is wrong"
    parser = actions.add_parser(
        "check", help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
    )
    parser.usage = "repsynth data check CONFIG [options] [--data.KEY VALUE ...]"
    add = parser.add_argument
    add("config", type=Path, metavar="CONFIG", help="an experiment; overrides of its options may follow")
    add("--json", type=Path, metavar="FILE", help="write everything that was found")
    add("--fast", action="store_true", help="read only the heads of pictures, do not decode them")
    add("--stage", choices=("fit", "validate", "test", "predict"), help="look only at what this verb reads")
    add(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes (default: one per core; 0: this one)",
    )


def _check(options: argparse.Namespace) -> None:
    from repsynth.cli.data_check import check

    if options.workers < 0:
        raise UserError(f"--workers is {options.workers}; expected 0 or more")
    check(options.config, options.overrides, options.stage, options.workers, options.fast, options.json)


def _add_fetch_frames(actions: Any) -> None:  # noqa: ANN401  argparse does not name its type
    text = "cut the frames that camera files (RealEstate10K) name out of videos that you have"
    parser = actions.add_parser(
        "fetch-frames", help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--cameras", type=Path, required=True, metavar="DIR", help="<id>.txt or <split>/<id>.txt")
    add(
        "--videos",
        type=Path,
        required=True,
        metavar="DIR",
        help="videos named by their ids, in any container",
    )
    add("--out", type=Path, required=True, metavar="DIR", help="gets [<split>/]<id>/<time stamp>.jpg")
    add("--size", type=int, metavar="SHORT_SIDE", help="scale pictures down to this short side, in pixels")
    add("--format", choices=("jpg", "png"), default="jpg", help="of the pictures (default: jpg)")
    add("--quality", type=int, metavar="1..100", help="of jpg (default: 95)")
    add(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="videos at a time (default: one per core)",
    )


def _fetch_frames(options: argparse.Namespace) -> None:
    from repsynth.datamodules.fetch_frames import Cutting, fetch_frames

    cutting = Cutting(options.out, options.size, options.format, options.quality)
    for line in fetch_frames(options.cameras, options.videos, cutting, options.workers).lines():
        print(line)
