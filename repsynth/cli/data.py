"""`repsynth data check | fetch-frames | prepare-images`: look at data before anyone pays for GPUs, and prepare it."""

import argparse
import os
from pathlib import Path
from typing import Any

from repsynth.errors import UserError

SUMMARY = "check a data set, cut frames out of videos, or prepare images at exact sizes"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_check(actions)
    _add_fetch_frames(actions)
    _add_prepare_images(actions)


def run(options: argparse.Namespace) -> None:
    """Run one action."""
    if options.action == "check":
        _check(options)
        return
    if options.overrides:
        verb = f"repsynth data {options.action}"
        raise UserError(
            f"{verb}: unrecognized arguments: {' '.join(options.overrides)} (see `{verb} --help`)"
        )
    if options.action == "fetch-frames":
        _fetch_frames(options)
    else:
        _prepare_images(options)


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


def _add_prepare_images(actions: Any) -> None:  # noqa: ANN401  argparse does not name its type
    text = "write the pictures of a set at exact sizes, for training and for figures on them"
    parser = actions.add_parser(
        "prepare-images", help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
    )
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="a folder of pictures, a .zip, an LMDB, or .tar files")
    add(
        "target", type=Path, metavar="TARGET", help="folder that gets preparation.json and an output per size"
    )
    add("--size", type=int, nargs="+", required=True, metavar="S", help="of the shorter side, in pixels")
    add(
        "--recipe",
        choices=("cips", "repsynth"),
        default="cips",
        help="cips: behind the published figures (bilinear, no crop, JPEG 85, LMDB; default); repsynth: loses nothing "
        "(Lanczos, centre crop, PNG, folder); what follows overrides it",
    )
    add("--filter", choices=("lanczos", "bicubic", "bilinear", "box"), help="Pillow's, with antialiasing")
    add(
        "--crop",
        choices=("none", "centre", "square"),
        help="none: keep the aspect; centre: resize, then cut the middle square out; square: cut it out, then resize",
    )
    add("--format", choices=("png", "jpeg", "webp-lossless"), help="of the pictures")
    add("--quality", type=int, metavar="1..100", help="of jpeg")
    add("--to", choices=("folder", "lmdb", "zip"), help="what holds the pictures of a size")
    add(
        "--convert-colours",
        action=argparse.BooleanOptionalAction,
        help="accept transparency, which is dropped, and CMYK",
    )
    add("--allow-upscale", action="store_true", help="enlarge pictures that are smaller than the size")
    add(
        "--on-bad-image",
        choices=("stop", "skip"),
        default="stop",
        help="skip: leave pictures out that cannot be used, and list them (default: stop)",
    )
    add(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes (default: one per core; 0: this one)",
    )


def _prepare_images(options: argparse.Namespace) -> None:
    from repsynth.datamodules.image_preparation import Preparation, prepare_images

    preparation = Preparation.of(
        options.recipe,
        options.size,
        options.allow_upscale,
        filter=options.filter,
        crop=options.crop,
        format=options.format,
        quality=options.quality,
        to=options.to,
        convert_colours=options.convert_colours,
    )
    prepare_images(options.source, options.target, preparation, options.on_bad_image, options.workers)
