"""`repsynth ckpt inspect | average | export`: checkpoints outside of a run."""

import argparse
import json
from pathlib import Path
from typing import Any

from repsynth.errors import UserError

SUMMARY = "look into checkpoints, average them, export their weights"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the tasks and their options."""
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True)
    inspect = tasks.add_parser("inspect", **_texts("say what a checkpoint holds, and whether it is whole"))
    inspect.add_argument("file", type=Path, help="a checkpoint, or an exported .safetensors file")
    inspect.add_argument("--json", action="store_true", help="print it as JSON, sizes in bytes")
    average = tasks.add_parser("average", **_texts("write the mean of the weights of several checkpoints"))
    average.add_argument("files", nargs="+", type=Path, metavar="FILE", help="checkpoints of one method")
    average.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    average.add_argument(
        "--weights", choices=("raw", "ema"), default="raw", help="which to average (default: raw)"
    )
    export = tasks.add_parser("export", **_texts("write the weights of a checkpoint as a safetensors file"))
    export.add_argument("file", type=Path, help="the checkpoint")
    export.add_argument(
        "--out", type=Path, required=True, metavar="FILE.safetensors", help="the file to write"
    )
    export.add_argument(
        "--weights", choices=("ema", "raw"), help="which to export (default: ema where there are averages)"
    )


def run(options: argparse.Namespace) -> None:
    """Run one task.

    Raises:
        UserError: any mistake, or a damaged file; nothing is written then.
    """
    if options.overrides:
        raise UserError(
            f"repsynth ckpt {options.task}: unrecognized arguments: {' '.join(options.overrides)} (see `repsynth ckpt "
            f"{options.task} --help`)"
        )
    for path in options.files if options.task == "average" else [options.file]:
        if not path.is_file():
            raise UserError(
                f"{path}: no such file; name a checkpoint, such as runs/NAME/checkpoints/last.ckpt"
            )
    {"inspect": _inspect, "average": _average, "export": _export}[options.task](options)


def _inspect(options: argparse.Namespace) -> None:
    from repsynth.checkpoint_tools.contents import report
    from repsynth.checkpoint_tools.table import text

    found = report(options.file)
    print(json.dumps(found, indent=2) if options.json else text(found))
    damaged = (found["checksums"] or {}).get("damaged")
    if damaged:
        raise UserError(
            f"the checkpoint {options.file} is damaged ({len(damaged)} records do not match their checksums, first "
            f"{damaged[0]}): use another file of its folder, or --resume, which takes the newest good one"
        )


def _average(options: argparse.Namespace) -> None:
    from repsynth.checkpoint_tools.mean import average

    average(options.files, options.out, options.weights)
    print(
        f"{options.out}: the mean {options.weights} weights of {len(options.files)} checkpoints; use it with "
        f"--ckpt_path {options.out} (validate, test, predict) or --init_from {options.out} (fit)"
    )


def _export(options: argparse.Namespace) -> None:
    from repsynth.checkpoint_tools.exported import export

    kind = export(options.file, options.out, options.weights)
    print(
        f"{options.out}: the {kind} weights of {options.file}; use it with --ckpt_path {options.out} (validate, test, "
        f"predict) or --init_from {options.out} (fit)"
    )


def _texts(text: str) -> dict[str, Any]:
    return {"help": text, "description": f"{text[0].upper()}{text[1:]}.", "allow_abbrev": False}
