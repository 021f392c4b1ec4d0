"""Which samples a rank reads, in which order: a pure function of (seed, epoch), started from a counter.

Lightning's own samplers do not resume inside an epoch and pad evaluation sets by repeating samples; these do
neither. They yield `SampleKey`s, so that a data set can derive every random choice of an example from
(seed, epoch, index) whichever worker or rank loads it.
"""

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np


class SampleKey(NamedTuple):
    """What a data set is indexed by. Evaluation always has epoch 0."""

    epoch: int
    index: int  # type: ignore[assignment]  # a tuple's method of that name is not needed

    def rng(self, seed: int) -> np.random.Generator:
        """The generator of every random choice made for this example."""
        return np.random.default_rng(np.random.SeedSequence([seed, self.epoch, self.index]))


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation [size] int64 in which an epoch visits its samples."""
    # The third word keeps this stream apart from those of the examples, which are seeded by three words too.
    return np.random.default_rng(np.random.SeedSequence([seed, epoch, 0, 0x0EDE])).permutation(size)


class TrainBatchSampler:
    """Batches of one rank, shuffled by (seed, epoch), from batch `start_batch` of epoch `start_epoch` on.

    A global batch is a run of `global_batch` neighbours of the epoch's permutation; rank r takes every
    world-th sample of it, starting at r, so the global order is the same for any number of ranks. The
    incomplete last batch is dropped. `len()` is that of a whole epoch also when the first one starts in its
    middle, because Lightning ends the epoch by its own count of batches.
    """

    def __init__(
        self,
        size: int,
        global_batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        start_epoch: int = 0,
        start_batch: int = 0,
    ) -> None:
        self.size = size
        self.global_batch = global_batch
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = start_epoch
        self.start_batch = start_batch
        self.repeats = False

    def repeat_first_epoch(self) -> None:
        """Give the batches of epoch 0 in every epoch, for `trainer.overfit_batches`."""
        self.repeats, self.epoch = True, 0

    @property
    def sampler(self) -> Self:
        """Lightning calls `set_epoch` on `loader.batch_sampler.sampler` only."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of another epoch; the present one keeps its starting batch."""
        if epoch != self.epoch:
            self.epoch = 0 if self.repeats else epoch
            self.start_batch = 0

    def __len__(self) -> int:
        return self.size // self.global_batch

    def __iter__(self) -> Iterator[list[SampleKey]]:
        epoch = self.epoch
        order = epoch_order(self.size, self.seed, epoch)
        for batch in range(self.start_batch, len(self)):
            joined = order[batch * self.global_batch : (batch + 1) * self.global_batch]
            yield [SampleKey(epoch, int(index)) for index in joined[self.rank :: self.world]]


class EvalBatchSampler:
    """Batches of one rank in order: every sample once over all ranks, none repeated, none dropped.

    The set is cut into the same batches on any number of ranks, and rank r reads the batches r, r + world, ...
    So a batch has the same ids, hence the same noise (`callbacks.determinism` seeds it from them) and the
    same rounding, wherever it is evaluated. Ranks may have different numbers of batches, also none.
    """

    def __init__(self, size: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.size = size
        self.per_batch = batch_size
        self.starts = range(rank * batch_size, size, world * batch_size)

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for start in self.starts:
            yield [SampleKey(0, index) for index in range(start, min(start + self.per_batch, self.size))]
