"""The command line. Nothing heavy is imported before the verb that needs it is known."""

import argparse
import importlib
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import repsynth
from repsynth.cli.wording import one_line, suggestion
from repsynth.errors import UserError

TRAINING_VERBS = {
    "fit": "train a method",
    "validate": "compute the figures of a checkpoint on the validation set",
    "test": "compute the figures of a checkpoint on the test set",
    "predict": "write what a checkpoint predicts",
}
_OWN_OPTIONS = {
    "benchmark": "repsynth.cli.benchmark",
    "ckpt": "repsynth.cli.ckpt",
    "data": "repsynth.cli.data",
    "import": "repsynth.cli.import_official",
    "profile": "repsynth.cli.profile",
    "sweep": "repsynth.cli.sweep",
}
"""Verbs with files of their own: each has `SUMMARY`, `add_options(parser)` and `run(options)`, which finds in
`options.overrides` the words that the parser does not know; none imports anything heavy before `run`."""
_OF_FIT = ("--resume", "--init_from", "--init-from")
_INTERRUPTED = 130
_BROKEN_PIPE = 141
_EPILOG = """\
Every value of the experiment can be overridden, by its full name or without init_args:
  --trainer.max_epochs 5   --model.init_args.NAME VALUE   --model.NAME VALUE   --data.NAME VALUE
`repsynth describe METHOD` lists the options of a method, --print_config shows the merged configuration,
--model.help CLASS_PATH and --data.help CLASS_PATH the options of any class.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after `repsynth`; by default those of this process.

    Returns:
        The exit code: 0 done, 2 a mistake of the user (told in one sentence), 130 interrupted, 141 nobody reads
        the output any more; any other failure leaves with its traceback and code 1.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        code = _dispatch([word for word in arguments if word != "--debug"])
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit as error:
        # Lightning answers Ctrl+C with sys.exit(1) from inside its handler.
        return _INTERRUPTED if isinstance(error.__context__, KeyboardInterrupt) else _exit_code(error)
    except BrokenPipeError:
        if not _reader_left():
            raise
        return _BROKEN_PIPE
    except UserError as error:
        if debug:
            raise
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """Answers a mistake with one sentence."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message} (see `{self.prog} --help`)")


def _dispatch(arguments: list[str]) -> int:
    parser = _parser()
    if arguments and not arguments[0].startswith("-") and arguments[0] not in _verbs():
        raise UserError(f"unknown command '{arguments[0]}': {suggestion(arguments[0], _verbs())}")
    options, rest = parser.parse_known_args(arguments)
    if options.verb in TRAINING_VERBS:
        return _run_training(options, rest)
    if options.verb in _OWN_OPTIONS:
        options.overrides = rest
        importlib.import_module(_OWN_OPTIONS[options.verb]).run(options)
        return 0
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if options.verb == "list":
        from repsynth.cli import experiments

        experiments.print_list(experiments.folder(options.experiments))
    elif options.verb == "describe":
        from repsynth.cli import describe

        describe.print_description(options.method)
    elif options.verb == "doctor":
        from repsynth.cli import doctor

        doctor.print_report()
    else:
        parser.print_help()
    return 0


def _run_training(options: argparse.Namespace, rest: list[str]) -> int:
    from repsynth.cli.configuration import merge

    misplaced = [word for word in rest if options.verb != "fit" and word.split("=")[0] in _OF_FIT]
    if misplaced:
        raise UserError(
            f"{misplaced[0]} is an option of `repsynth fit`; {options.verb} takes its checkpoint from --ckpt_path"
        )
    if getattr(options, "init_from", None) and options.ckpt_path not in (None, "none"):
        raise UserError("--init_from and --ckpt_path both name a checkpoint to start from; give one of them")
    if not rest:
        raise UserError(
            f"repsynth {options.verb} needs --config experiments/METHOD/DATA.yaml (see `repsynth list`)"
        )
    configuration = merge(rest)
    from repsynth.cli.training import Request, run

    run(
        Request(
            verb=options.verb,
            arguments=rest,
            configuration=configuration,
            ckpt_path=options.ckpt_path,
            resume=getattr(options, "resume", False),
            init_from=getattr(options, "init_from", None),
            dry_run=options.dry_run,
        )
    )
    return 0


def _verbs() -> list[str]:
    return [*TRAINING_VERBS, *_OWN_OPTIONS, "list", "describe", "doctor"]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="repsynth",
        description="Train, evaluate and apply methods that learn representations of images and 3D scenes.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"repsynth {repsynth.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", parser_class=_Parser)
    for verb, text in TRAINING_VERBS.items():
        add_training_options(verbs.add_parser(verb, **_texts(text)), verb)
    for verb, path in _OWN_OPTIONS.items():
        module = importlib.import_module(path)
        module.add_options(verbs.add_parser(verb, **_texts(module.SUMMARY)))
    listing = verbs.add_parser("list", **_texts("list the experiments and what they need on disk"))
    listing.add_argument("--experiments", type=Path, metavar="DIR", help="folder to look in")
    describing = verbs.add_parser("describe", **_texts("say what a method is and what it can be told"))
    describing.add_argument("method", help="name of a method, or a package that defines CARD")
    verbs.add_parser("doctor", **_texts("versions, devices, optional parts and what each would enable"))
    return parser


def add_training_options(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of a training verb that are no part of the configuration."""
    parser.usage = f"repsynth {verb} --config FILE [options] [--KEY VALUE ...]"
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--dry-run", action="store_true", help="show configuration, data and networks, then leave"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    checkpoint = "start from this state" if verb == "fit" else "weights to use (default: best, else last)"
    parser.add_argument(
        "--ckpt_path", "--ckpt-path", metavar="PATH|best|last|none", help=f"checkpoint: {checkpoint}"
    )
    if verb == "fit":
        parser.add_argument(
            "--resume", action="store_true", help="continue from the run's newest good checkpoint"
        )
        parser.add_argument(
            "--init_from", "--init-from", type=Path, metavar="PATH", help="take the weights only"
        )


def _texts(text: str) -> dict[str, Any]:
    return {"help": text, "description": text[0].upper() + text[1:] + ".", "allow_abbrev": False}


def _reader_left() -> bool:
    """Whether nobody reads the output any more, as after `| head`; from then on it goes nowhere."""
    closed = [stream.fileno() for stream in (sys.stdout, sys.stderr) if _is_closed_pipe(stream.fileno())]
    for number in closed:
        # Python would complain again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return bool(closed)


def _is_closed_pipe(number: int) -> bool:
    polling = select.poll()
    polling.register(number, 0)
    return any(event & select.POLLERR for _, event in polling.poll(0))


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1
