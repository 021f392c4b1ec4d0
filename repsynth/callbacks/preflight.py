"""Finds what would fail later: a run directory that cannot take the run, and ranks that drift apart."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from repsynth.callbacks.checkpoint import folder
from repsynth.callbacks.determinism import samples_seen
from repsynth.callbacks.ranks import largest
from repsynth.checkpoints import use_durable_files
from repsynth.errors import UserError

_COPIES = 4
"""A checkpoint holds the weights, two moments of Adam and perhaps an average."""
_FILES = 3
"""Files at once: the last, the one before it and the one being written."""


class Preflight(pl.Callback):
    """Checks the run directory before training, and the equality of all ranks at every checkpoint."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check the run directory.

        Raises:
            UserError: it cannot be written, or is too small.
        """
        use_durable_files(trainer, pl_module)
        if stage == "fit":
            root = Path(trainer.default_root_dir)
            check_writable(root)
            check_space(root, pl_module)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check that no other run keeps its checkpoints in the run directory.

        Raises:
            UserError: it does.
        """
        if samples_seen(trainer) == 0 or trainer.ckpt_path is not None:
            resumed_from = None if trainer.ckpt_path is None else Path(trainer.ckpt_path)
            check_unused(Path(trainer.default_root_dir), resumed_from)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Compare weights and buffers with those of rank 0, bit for bit (as the official code of EDM2 does).

        Raises:
            UserError: on every rank, if any rank differs.
        """
        if trainer.world_size > 1:
            check_ranks(trainer, pl_module.state_dict())


def check_writable(root: Path) -> None:
    """UserError if the folder, or the one that it would be made in, takes no file; nothing is left there."""
    try:
        with tempfile.TemporaryFile(dir=_existing(root)):
            pass
    except OSError as error:
        raise UserError(
            f"the output folder {root} cannot be written ({error.strerror or error}): "
            "choose another with trainer.default_root_dir, or change its permissions"
        ) from error


def check_space(root: Path, module: torch.nn.Module) -> None:
    """UserError if the checkpoints of this module would not fit on the disk."""
    tensors = [*module.parameters(), *module.buffers()]
    need = _FILES * _COPIES * sum(t.numel() * t.element_size() for t in tensors)
    # The files of a run that goes on are there, and make room for those that replace them.
    need -= sum(path.stat().st_size for path in folder(root).glob("*.ckpt"))
    free = shutil.disk_usage(_existing(root)).free
    if free < need:
        raise UserError(
            f"the disk of {root} has {free / 2**30:.2f} GiB free, and the checkpoints of this run may need "
            f"{need / 2**30:.2f} GiB: free some space or choose another folder with trainer.default_root_dir"
        )


def _existing(root: Path) -> Path:
    """The folder itself or the nearest above it that is there."""
    return next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())


def check_unused(root: Path, resumed_from: Path | None) -> None:
    """UserError if the folder holds the checkpoints of a run that is not the one being resumed."""
    files = sorted(folder(root).glob("*.ckpt"))
    if files and (resumed_from is None or resumed_from.resolve().parent != folder(root).resolve()):
        raise UserError(
            f"{folder(root)} already holds the checkpoints of a run ({files[0].name}), and a second run "
            "would mix with it: go on with it (--resume), or choose another folder (trainer.default_root_dir)"
        )


def check_ranks(trainer: pl.Trainer, state: dict[str, Any]) -> None:
    """UserError on all ranks, naming the first tensor that is not the same on each."""
    names = [name for name, value in state.items() if isinstance(value, Tensor)]
    # Every rank goes through every tensor: the broadcasts have to meet.
    odd = [i for i, name in enumerate(names) if not _equals_first(state[name])]
    lag = largest(trainer, len(names) - odd[0] if odd else 0)[0]
    if lag:
        raise UserError(
            f"the ranks disagree about {names[len(names) - lag]}: weights and buffers must be equal on all: "
            "set trainer.sync_batchnorm: true if it is a statistic of a batch norm, else the method "
            "has a bug"
        )


def _equals_first(value: Tensor) -> bool:
    """Whether a tensor has the bits of rank 0's."""
    first = value.detach().clone().contiguous()
    torch.distributed.broadcast(first, src=0)
    return torch.equal(_bits(first), _bits(value.detach().contiguous()))


def _bits(value: Tensor) -> Tensor:
    return value.view(-1).view(torch.uint8)
