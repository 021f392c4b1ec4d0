from itertools import chain

import numpy as np
import pytest

from repsynth.datamodules.samplers import EvalBatchSampler, SampleKey, TrainBatchSampler, epoch_order


def joined_order(size: int, batch: int, world: int, epoch: int = 0) -> list[list[int]]:
    """Global batches, put together again from those of all ranks."""
    ranks = [list(TrainBatchSampler(size, batch, 5, rank, world, epoch)) for rank in range(world)]
    batches = []
    for parts in zip(*ranks, strict=True):
        whole = [-1] * batch
        for rank, part in enumerate(parts):
            whole[rank::world] = [key.index for key in part]
        batches.append(whole)
    return batches


@pytest.mark.parametrize("world", [2, 3, 6])
def test_global_order_does_not_depend_on_the_number_of_ranks(world: int) -> None:
    assert joined_order(40, 6, world) == joined_order(40, 6, 1)


def test_an_epoch_visits_every_sample_of_its_full_batches_once() -> None:
    batches = joined_order(25, 6, 3)
    seen = list(chain(*batches))
    assert len(batches) == 4 and len(set(seen)) == 24 and set(seen) < set(range(25))


def test_epochs_and_seeds_differ() -> None:
    orders = [tuple(epoch_order(20, seed, epoch)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9
    assert all(sorted(order) == list(range(20)) for order in orders)


def test_starts_in_the_middle_and_goes_on_with_whole_epochs() -> None:
    whole = TrainBatchSampler(20, 4, 1, start_epoch=2)
    part = TrainBatchSampler(20, 4, 1, start_epoch=2, start_batch=3)
    assert len(part) == len(whole) == 5
    assert list(part) == list(whole)[3:]
    part.sampler.set_epoch(2)  # Lightning says it again for the running epoch
    assert list(part) == list(whole)[3:]
    part.sampler.set_epoch(3)
    assert list(part) == list(TrainBatchSampler(20, 4, 1, start_epoch=3))


def test_keys_carry_the_epoch_and_seed_their_examples() -> None:
    assert {key.epoch for batch in TrainBatchSampler(8, 2, 0, start_epoch=7) for key in batch} == {7}
    draws = {
        (seed, epoch, index): SampleKey(epoch, index).rng(seed).random()
        for seed in range(3)
        for epoch in range(3)
        for index in range(3)
    }
    assert len(set(draws.values())) == 27
    assert SampleKey(1, 2).rng(0).random() == draws[0, 1, 2]


@pytest.mark.parametrize("size", range(0, 10))
@pytest.mark.parametrize("batch", [1, 2, 3, 4])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_counts_every_sample_once(size: int, batch: int, world: int) -> None:
    samplers = [EvalBatchSampler(size, batch, rank, world) for rank in range(world)]
    seen = [key.index for sampler in samplers for part in sampler for key in part]
    assert sorted(seen) == list(range(size))
    assert all(len(list(sampler)) == len(sampler) for sampler in samplers)
    # What depends on the ids of a batch, such as evaluation noise, is the same on any number of ranks.
    alone = list(EvalBatchSampler(size, batch))
    assert sorted(part for sampler in samplers for part in sampler) == alone


def test_order_is_the_one_that_older_checkpoints_were_trained_with() -> None:
    # A change of these numbers breaks every resume across versions.
    assert epoch_order(8, 0, 0).tolist() == np.random.default_rng([0, 0, 0, 0x0EDE]).permutation(8).tolist()
