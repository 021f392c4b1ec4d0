"""Which checkpoint a command starts from."""

import sys
from pathlib import Path

from lightning.pytorch import LightningModule

from repsynth.callbacks.checkpoint import folder, resume_path
from repsynth.checkpoint_tools import exported
from repsynth.checkpoints import DurableCheckpointIO, check_fits, seen, verify
from repsynth.errors import UserError

_NONE = "none"


def find(verb: str, root: Path, ckpt_path: str | None, resume: bool, dry_run: bool = False) -> Path | None:
    """The checkpoint to load, or None to start from the initial weights.

    Args:
        verb: `fit`, `validate`, `test` or `predict`.
        root: Run directory.
        ckpt_path: A file, `best`, `last`, `none`; None means the initial weights for `fit`, otherwise the
            run's best checkpoint or, where none was kept, its last one.
        resume: Whether `fit` goes on from the run's newest good checkpoint.
        dry_run: Nothing is loaded.

    Raises:
        UserError: There is no such checkpoint, none is whole, the options contradict each other, or `fit` would
            go back behind the newest checkpoint of its own run.
    """
    if resume and ckpt_path:
        raise UserError("--resume and --ckpt_path both name a checkpoint to start from; give one of them")
    if dry_run or ckpt_path == _NONE:
        return None
    if resume:
        return _resumed(root)
    if ckpt_path is None:
        return None if verb == "fit" else _best(root) or _last(root, verb)
    if ckpt_path == "last":
        return _last(root, verb)
    path = _best_or_error(root) if ckpt_path == "best" else _file(Path(ckpt_path))
    if verb == "fit" and not _is_exported(path):
        _refuse_going_back(path, root)
    return path


def check(model: LightningModule, path: Path, verb: str = "test") -> None:
    """See that a checkpoint is whole and fits, before anything is written.

    Raises:
        UserError: It is damaged, belongs to another method or other networks, or `fit` is to go on from weights only.
    """
    state = exported.read(path) if _is_exported(path) else verify(path)
    check_fits(state, model, path)
    if verb == "fit" and "optimizer_states" not in state:
        raise UserError(
            f"{path} holds weights only, and training cannot go on from it: start with its weights (--init_from {path})"
        )


def without_exported(model: LightningModule, path: Path | None) -> Path | None:
    """The checkpoint for Lightning to load; the weights of an exported file it cannot load are put into the module."""
    if path is None or not _is_exported(path):
        return path
    load_weights(model, path)
    return None


def load_weights(model: LightningModule, path: Path) -> None:
    """Load the weights of a checkpoint or an exported file, and nothing else of it, into a module.

    A module may have `adapted(state_dict)` for weights that were learned at another size.

    Raises:
        UserError: The file is missing, damaged, or belongs to another method or other networks.
    """
    _file(path)
    state = exported.read(path) if _is_exported(path) else DurableCheckpointIO().load_checkpoint(path)
    adapted = getattr(model, "adapted", None)
    if adapted is not None and "state_dict" in state:
        state["state_dict"] = adapted(state["state_dict"])
    check_fits(state, model, path)
    model.load_state_dict(state["state_dict"], strict=model.strict_loading)


def _resumed(root: Path) -> Path | None:
    path = resume_path(root)
    if path is None:
        _refuse_damaged(root)
        print(
            f"--resume: no checkpoint below {root} yet, training starts from the beginning", file=sys.stderr
        )
    return path


def _best(root: Path) -> Path | None:
    single = folder(root) / "best.ckpt"
    if single.is_file():
        return single
    several = sorted(folder(root).glob("best-*.ckpt"))
    if len(several) > 1:
        names = ", ".join(path.name for path in several[:3])
        raise UserError(f"{folder(root)} holds several best checkpoints ({names}); name one with --ckpt_path")
    return several[0] if several else None


def _best_or_error(root: Path) -> Path:
    path = _best(root)
    if path is None:
        raise UserError(
            f"--ckpt_path best: no best.ckpt in {folder(root)}; the callback Checkpoint keeps one "
            "when its `monitor` is set, --ckpt_path last takes the newest"
        )
    return path


def _last(root: Path, verb: str) -> Path:
    path = resume_path(root)
    if path is None:
        _refuse_damaged(root)
        raise UserError(
            f"{verb} finds no checkpoint in {folder(root)} (trainer.default_root_dir); train first, "
            "name a file with --ckpt_path, or take the initial weights with --ckpt_path none"
        )
    return path


def _is_exported(path: Path) -> bool:
    return path.suffix == exported.SUFFIX


def _refuse_going_back(path: Path, root: Path) -> None:
    """UserError if the same run has a newer checkpoint: later starts would take one of either past."""
    if path.resolve().parent != folder(root).resolve():
        return
    newest = resume_path(root)
    if newest is None or newest.samefile(path):
        return
    here, there = seen(verify(path)), seen(verify(newest))
    if here < there:
        raise UserError(
            f"{path} was saved after {here} samples, but {newest} of the same run after {there}, and "
            "training from the older one would mix two runs: go on with --resume, or choose another folder "
            "(trainer.default_root_dir)"
        )


def _refuse_damaged(root: Path) -> None:
    """UserError if there are checkpoints, none of which could be taken."""
    names = ", ".join(path.name for path in sorted(folder(root).glob("*.ckpt")))
    if names:
        raise UserError(
            f"none of the checkpoints in {folder(root)} can be used ({names}): each is damaged or holds weights "
            "only; put back a copy, or start again in another folder (trainer.default_root_dir)"
        )


def _file(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; name a file, or best, last or none (--ckpt_path)")
    return path
