import numpy as np
import pytest
import torch

from repsynth.metrics.pool import Pool

IDS = [f"image {index}" for index in range(50)]
FEATURES = torch.arange(100.0).reshape(50, 2)


def pool_of(order: list[int], limit: int, batch: int, salt: str = "real") -> Pool:
    pool = Pool(limit, 2, salt)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        pool.add([IDS[row] for row in rows], FEATURES[rows])
    return pool


@pytest.mark.parametrize("limit", [1, 10, 50, 80])
def test_the_choice_depends_on_the_ids_alone(limit: int) -> None:
    digests, kept = pool_of(list(range(50)), limit, 50).kept()
    assert len(kept) == len(digests) == min(limit, 50)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1)).tolist()
    for batch in (1, 7, 16):
        again = pool_of(order, limit, batch).kept()
        assert np.array_equal(again[0], digests) and torch.equal(again[1], kept)


def test_parts_merge_to_the_whole_and_small_limits_are_the_beginning_of_large_ones() -> None:
    whole = pool_of(list(range(50)), 10, 50).kept()
    merged = pool_of(list(range(0, 50, 2)), 10, 4)
    merged.add_all(*pool_of(list(range(1, 50, 2)), 10, 4).kept())
    assert len(merged) == 10
    assert torch.equal(merged.kept()[1], whole[1]) and np.array_equal(merged.kept()[0], whole[0])
    assert torch.equal(pool_of(list(range(50)), 30, 50).kept()[1][:10], whole[1])


def test_the_choice_is_random_and_another_salt_makes_another_one() -> None:
    first = pool_of(list(range(50)), 25, 50).kept()[1][:, 0] / 2
    other = pool_of(list(range(50)), 25, 50, "generated").kept()[1][:, 0] / 2
    assert sorted(first.tolist()) != sorted(other.tolist())
    assert 5 < (first < 25).sum() < 20
