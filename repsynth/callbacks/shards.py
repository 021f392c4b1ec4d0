"""Make Lightning evaluate shards of unequal and of zero length.

Two habits of Lightning 2.6 hang a run whose ranks have different numbers of evaluation batches. During `fit`
the validation step goes through `DistributedDataParallel.forward`, which broadcasts buffers at every call.
And a rank whose shard is empty skips the whole loop with its hooks, while the others wait for it at the
epoch's end.
"""

import lightning.pytorch as pl
import torch.distributed as dist
from lightning.pytorch.loops import _EvaluationLoop
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel


class _LoopOfAllRanks(_EvaluationLoop):
    """Runs its hooks also with no batch on this rank; skips only when no loader was asked for."""

    @property
    def skip(self) -> bool:
        return not self._max_batches


def let_every_rank_evaluate(trainer: pl.Trainer) -> None:
    """Call the hooks of validation and test also on ranks whose shard is empty."""
    for loop in (trainer.fit_loop.epoch_loop.val_loop, trainer.validate_loop, trainer.test_loop):
        # The loop is built by the trainer, holds its progress, and differs in nothing else.
        loop.__class__ = _LoopOfAllRanks


class SharedBuffers:
    """Gives all ranks the buffers of rank zero once per evaluation, instead of at every forward."""

    def __init__(self) -> None:
        self._network: DistributedDataParallel | None = None
        self._before = True

    def share(self, trainer: pl.Trainer) -> None:
        """Broadcast the buffers and stop DDP from doing so; every rank must call it. Nothing outside DDP."""
        network = trainer.strategy.model
        if not isinstance(trainer.strategy, DDPStrategy) or network is None:
            return
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)
        if isinstance(network, DistributedDataParallel) and self._network is None:
            self._network, self._before = network, network.require_forward_param_sync
            network.require_forward_param_sync = False

    def release(self) -> None:
        """Let DDP broadcast again; may be called without `share`."""
        if self._network is not None:
            self._network.require_forward_param_sync = self._before
            self._network = None
