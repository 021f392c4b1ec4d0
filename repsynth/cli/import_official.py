"""`repsynth import METHOD FILE --config EXPERIMENT`: an officially released file becomes one of our checkpoints.

Each `repsynth/reference/<method>.py` has `load_official(module, state)`, which fills a module from the official keys.
It may have `read(path)` where a file holds more than one network, and `continuation(module, content)`, which gives what
a checkpoint needs to continue the official training.
"""

import argparse
import importlib
import importlib.util
from pathlib import Path

from repsynth.errors import UserError

SUMMARY = "turn official weights into a checkpoint"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options; overrides of the experiment follow them as in `repsynth fit`."""
    parser.usage = "repsynth import METHOD FILE --config EXPERIMENT [--out PATH] [--model.KEY VALUE ...]"
    parser.add_argument("method", help="whose release the file is, for example stereolayers")
    parser.add_argument("file", type=Path, help="the released file")
    parser.add_argument("--out", type=Path, help="the checkpoint to write (default: FILE with .ckpt)")


def run(options: argparse.Namespace) -> None:
    """Build the experiment's module, fill it from the file and save it.

    Raises:
        UserError: the file or the experiment is unusable, or they do not fit.
    """
    loader = f"repsynth.reference.{options.method}"
    if importlib.util.find_spec(loader) is None:
        raise UserError(f"no import of '{options.method}' is known; {_known()}")
    out = options.out or options.file.with_suffix(".ckpt")
    if out.exists():
        raise UserError(f"{out} is there already; remove it or name another file with --out")
    if not options.overrides:
        raise UserError(
            "repsynth import needs --config EXPERIMENT.yaml, whose model says what the file fills"
        )
    from repsynth.checkpoints import write_weights
    from repsynth.cli.configuration import merge
    from repsynth.cli.training import build_model
    from repsynth.reference.files import read_official

    reference = importlib.import_module(loader)
    model = build_model(options.overrides, merge(options.overrides))
    content = getattr(reference, "read", read_official)(options.file)
    reference.load_official(model, content)
    others = reference.continuation(model, content) if hasattr(reference, "continuation") else {}
    write_weights(model, out, others)
    if others:
        print(
            f"{out}: continue the training with `repsynth fit --ckpt_path {out}`, at iteration {others['iterations']}"
        )
    else:
        print(f"{out}: use it with --ckpt_path {out} or --init_from {out}")


def _known() -> str:
    import pkgutil

    from repsynth import reference

    names = [module.name for module in pkgutil.iter_modules(reference.__path__)]
    return f"expected one of {', '.join(name for name in names if name not in ('files', 'state'))}"
