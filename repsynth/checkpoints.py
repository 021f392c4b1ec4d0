"""Checkpoint files that are never half-written, are checked before they count, and load without running code.

Lightning writes through a temporary file too, but does not flush it to the disk, and its version 2.6.6
reports success after a permission error.
"""

import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import CheckpointIO
from torch import Tensor

from repsynth.errors import UserError

State = dict[str, Any]
"""What `Trainer.dump_checkpoint` returns: tensors, numbers, strings and containers of them, nothing else."""


def write(state: State, path: Path, previous: Path | None = None) -> None:
    """Write a checkpoint so that `path` holds at every moment either the whole old file or the whole new one.

    The bytes go to a temporary file in the same folder, are flushed to the disk and read back, and only then
    take the name.

    Args:
        state: content; must load again with `weights_only=True`.
        path: where to; parent folders are made.
        previous: if given, the file that is at `path` now stays under this name.

    Raises:
        UserError: when the file cannot be written or does not read back. What was there before is untouched.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        _read_back(partial)
        if previous is not None and path.exists():
            _keep(path, previous)
        partial.replace(path)
        _flush_folder(path.parent)
    # torch reports a failed write as a RuntimeError, and unpicklable or unsafe content as others.
    except Exception as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise UserError(
            f"the checkpoint {path} could not be written ({_reason(error)}); what was there before is "
            "untouched: check free space and permissions, or choose another folder (trainer.default_root_dir)"
        ) from error


def write_weights(module: pl.LightningModule, path: Path, others: State | None = None) -> None:
    """Write a checkpoint with the weights of a module and, without `others`, nothing to resume from.

    Args:
        module: whose weights are written.
        path: where to.
        others: further entries, such as the states of optimisers and callbacks.

    Raises:
        UserError: see `write`.
    """
    write(
        {
            **(others or {}),
            "state_dict": module.state_dict(),
            "method": _method(module),
            "pytorch-lightning_version": pl.__version__,
        },
        path,
    )


def verify(path: Path) -> State:
    """Read a whole checkpoint file and compare the checksum of every record.

    Returns:
        The content with tensors that have shapes but no values.

    Raises:
        UserError: when the file is missing, damaged or not a checkpoint.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}: check the path (option --ckpt_path)")
    try:
        return _read_back(path)
    except pickle.UnpicklingError as error:  # every record has the right checksum
        raise UserError(
            f"the checkpoint {path} holds objects other than tensors, numbers and text, and loading them "
            "could run foreign code: give a checkpoint that repsynth wrote"
        ) from error
    except Exception as error:
        raise UserError(
            f"the checkpoint {path} is damaged ({_reason(error)}): use another file of its folder, "
            "or --resume, which takes the newest good one"
        ) from error


def newest_good(folder: Path) -> Path | None:
    """The complete checkpoint of `folder` with the most samples seen that reads back without error.

    Order is by samples seen, then by time of writing: times alone do not survive a copy of the run directory.
    Damaged files are named in a warning each; files with weights only are passed over.

    Returns:
        The file, or None if there is none.
    """
    ranked = []
    for path in sorted(folder.glob("*.ckpt")):
        try:
            state = _outline(path)
        except Exception as error:
            _warn_damaged(path, error)
        else:
            if "optimizer_states" in state:
                ranked.append((seen(state), path.stat().st_mtime_ns, path))
    for _, _, path in sorted(ranked, reverse=True):
        try:
            _read_back(path)
        except Exception as error:
            _warn_damaged(path, error)
        else:
            return path
    return None


def seen(state: State) -> int:
    """Samples seen when a checkpoint was saved; 0 if it does not tell."""
    return int(state.get("callbacks", {}).get("Determinism", {}).get("samples_seen", 0))


class DurableCheckpointIO(CheckpointIO):
    """Lightning's checkpoint plugin on `write` and `verify`. Loads with `weights_only=True` always.

    Attributes:
        module: if set (see `use_durable_files`), a checkpoint that does not fit it is refused.
    """

    def __init__(self) -> None:
        self.module: pl.LightningModule | None = None

    def save_checkpoint(
        self, checkpoint: State, path: str | Path, storage_options: dict[str, Path] | None = None
    ) -> None:
        """Write a checkpoint; `storage_options={"previous": path}` keeps the file that it replaces."""
        if self.module is not None:
            checkpoint["method"] = _method(self.module)
        write(checkpoint, Path(path), **(storage_options or {}))

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[[Any, str], Any] | None = None,
        weights_only: bool | None = None,
    ) -> State:
        """Load a checkpoint onto the CPU (or by `map_location`).

        Raises:
            UserError: when the file is missing or damaged, or belongs to another method or configuration.
        """
        path = Path(path)
        verify(path)
        state = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        if self.module is not None:
            check_fits(state, self.module, path)
        return state

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint that is there; a failure is told, and does not end the run."""
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as error:
            warnings.warn(f"could not delete {path}: {_reason(error)}", stacklevel=2)


def use_durable_files(trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """Make a trainer read and write checkpoints through `DurableCheckpointIO`, checked against its module."""
    plugin = trainer.strategy.checkpoint_io
    if not isinstance(plugin, DurableCheckpointIO):
        plugin = trainer.strategy.checkpoint_io = DurableCheckpointIO()
    plugin.module = module


def check_fits(state: State, module: pl.LightningModule, path: Path) -> None:
    """Compare a checkpoint with the module that is to load it, before Lightning's page of missing keys.

    Raises:
        UserError: for a checkpoint of another method, or of the same one with other networks.
    """
    if not isinstance(state, dict) or "state_dict" not in state:
        raise UserError(f"{path} is not a checkpoint of repsynth (it has no 'state_dict'): give another file")
    method = state.get("method", _method(module))
    if method != _method(module):
        raise UserError(
            f"the checkpoint {path} belongs to {method}, this experiment trains {_method(module)}: "
            "give a checkpoint of the same method"
        )
    if module.strict_loading:
        difference = _difference(state["state_dict"], module.state_dict())
        if difference:
            raise UserError(
                f"the checkpoint {path} does not fit the networks of this experiment ({difference}): "
                "use the configuration that it was trained with (config.yaml beside its folder)"
            )


def _difference(saved: dict[str, Tensor], wanted: dict[str, Tensor]) -> str:
    missing = [name for name in wanted if name not in saved]
    unknown = [name for name in saved if name not in wanted]
    reshaped = [name for name in wanted if name in saved and saved[name].shape != wanted[name].shape]
    parts = []
    if missing:
        parts.append(f"{len(missing)} weights are missing, first {missing[0]}")
    if unknown:
        parts.append(f"{len(unknown)} are unknown, first {unknown[0]}")
    if reshaped:
        name = reshaped[0]
        shapes = f"{tuple(saved[name].shape)} instead of {tuple(wanted[name].shape)}"
        parts.append(f"{len(reshaped)} have another shape, first {name} with {shapes}")
    return "; ".join(parts)


def _method(module: pl.LightningModule) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _outline(path: Path) -> State:
    """A checkpoint's content with tensors that have shapes but no values: proves that the pickle is whole."""
    if not zipfile.is_zipfile(path):
        raise zipfile.BadZipFile("it is empty" if path.stat().st_size == 0 else "it has no whole zip archive")
    return torch.load(path, map_location="meta", weights_only=True, mmap=True)


def _read_back(path: Path) -> State:
    if zipfile.is_zipfile(path):  # `_outline` says what other files are
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise zipfile.BadZipFile(f"record {broken} does not match its checksum")
    return _outline(path)


def _keep(path: Path, previous: Path) -> None:
    """Give the file at `path` a second name, so that neither name is ever without a whole file."""
    link = previous.with_name(f".{previous.name}.partial")
    try:
        link.unlink(missing_ok=True)
        link.hardlink_to(path)
    except OSError:  # a file system without hard links
        path.replace(previous)
    else:
        link.replace(previous)


def _flush_folder(folder: Path) -> None:
    """Make a rename survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: BaseException) -> str:
    """The first sentence of an error, or of the system's that led to it: torch adds pages of advice."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    error = cause or error
    text = (getattr(error, "strerror", None) or str(error)).strip().splitlines()
    return text[0].partition(". ")[0].rstrip(".") if text else type(error).__name__


def _warn_damaged(path: Path, error: Exception) -> None:
    warnings.warn(f"the checkpoint {path} is damaged ({_reason(error)}) and is passed over", stacklevel=3)
