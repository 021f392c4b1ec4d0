"""Where a checkpoint comes from, written into it, and what is not exact when a run goes on elsewhere."""

import sys
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import repsynth
from repsynth.checkpoints import State
from repsynth.errors import UserError


class Origin(pl.Callback):
    """Writes version, ranks, precision and names of buffers into every checkpoint; says what changed at a resume.

    The entries are `version` (of repsynth), `ranks` (their number), `precision` (the Trainer's), and `buffers`, the
    names in `state_dict` that are no parameters, which nothing else in a checkpoint tells. A training that goes on from
    a checkpoint of another number of ranks, or of another version, says so on stderr in one line each; nothing is
    changed for it. In another precision it is refused.
    """

    def __init__(self) -> None:
        self._before: State = {}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the entries."""
        checkpoint["version"] = repsynth.__version__
        checkpoint["ranks"] = trainer.world_size
        checkpoint["precision"] = trainer.precision
        checkpoint["buffers"] = buffers(pl_module)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remember what the checkpoint says of itself.

        Raises:
            UserError: training is to go on in another precision.
        """
        if trainer.state.fn != TrainerFn.FITTING:
            return
        self._before = {key: checkpoint.get(key) for key in ("version", "ranks")}
        precision = checkpoint.get("precision")
        if precision not in (None, trainer.precision):
            raise UserError(
                f"{trainer.ckpt_path} was trained with trainer.precision {precision}, and this run has "
                f"{trainer.precision}: go on with {precision}, or start another run from its weights (--init_from)"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what is not as it was."""
        before, self._before = self._before, {}
        if not trainer.is_global_zero:
            return
        version, ranks = before.get("version"), before.get("ranks")
        if version not in (None, repsynth.__version__):
            print(
                f"note: the checkpoint was written by repsynth {version}, this is {repsynth.__version__}",
                file=sys.stderr,
            )
        if ranks not in (None, trainer.world_size):
            batch_size = trainer.datamodule.batch_size  # type: ignore[attr-defined]
            print(rank_note(ranks, trainer.world_size, batch_size, pl_module), file=sys.stderr)


def buffers(module: nn.Module) -> list[str]:
    """The names of a module's buffers that its `state_dict` holds."""
    kept = module.state_dict(keep_vars=True)
    return [name for name, _ in module.named_buffers(remove_duplicate=False) if name in kept]


def rank_note(before: int, now: int, batch_size: int, module: nn.Module) -> str:
    """One line on what another number of ranks keeps, and what it changes.

    Args:
        before: ranks that saved the checkpoint.
        now: ranks that go on.
        batch_size: samples of a step over all ranks.
        module: what is trained, after it was prepared for its ranks.
    """
    line = (
        f"note: this run was saved by {_ranks(before)} and goes on with {now}: the same samples follow in the same "
        f"order, with batch size {batch_size} over all ranks and the learning rate as they were, but not bit for bit: "
        "random numbers drawn in a step depend on the rank, and sums over ranks round differently"
    )
    if any(
        isinstance(part, _BatchNorm) and not isinstance(part, nn.SyncBatchNorm) for part in module.modules()
    ):
        line += (
            f"; batch norm sees {batch_size // now} samples at a time instead of {batch_size // before} "
            "(trainer.sync_batchnorm: true makes it independent of the ranks)"
        )
    return line


def _ranks(number: int) -> str:
    return f"{number} rank" if number == 1 else f"{number} ranks"
