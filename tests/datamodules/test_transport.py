"""Batches from loader processes: whole, never overwritten while somebody holds them, in memory that comes back."""

import gc
import multiprocessing
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from repsynth.datamodules import transport

Example = dict[str, Any]


def example(number: int, side: int = 8) -> Example:
    return {
        "images": {
            "a": np.full((2, 3, side, side), number, np.uint8),
            "b": np.full((1, side), number, np.float32),
        },
        "pose": np.full((3, 4), number / 7),
        "number": np.array(number),
        "depth": np.array(number / 3, dtype=np.float32),
        "none": np.empty((0, 4), dtype=np.float32),
    }


class Numbers(Dataset[Example]):
    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Example:
        return example(index)


def join(examples: list[Example]) -> Any:  # noqa: ANN401
    return transport.stack(examples, ids=[str(each["number"]) for each in examples])


def loader(workers: int, **options: Any) -> DataLoader[Any]:  # noqa: ANN401
    return DataLoader(Numbers(), batch_size=4, num_workers=workers, collate_fn=join, **options)


def assert_same(found: Any, expected: Any) -> None:  # noqa: ANN401
    assert type(found) is type(expected) and found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            assert_same(found[key], value)
        else:
            torch.testing.assert_close(found[key], value, rtol=0, atol=0)
            assert found[key].is_contiguous()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_is_that_of_torch(workers: int) -> None:
    for place, batch in enumerate(loader(workers)):
        numbers = range(4 * place, 4 * place + 4)
        assert batch.pop("ids") == [str(number) for number in numbers]
        assert_same(batch, default_collate([example(number) for number in numbers]))


def test_nothing_is_overwritten_while_it_is_held() -> None:
    numbers = [batch["number"] for batch in loader(2, prefetch_factor=2)]  # one tensor keeps its whole block
    gc.collect()
    assert torch.cat(numbers).tolist() == list(range(24))


def blocks_after(hold: int) -> set[tuple[int, int]]:
    """The blocks that four epochs take when the last `hold` batches are kept."""
    before = set(transport._known)
    batches = loader(1, persistent_workers=True, prefetch_factor=2)
    held: list[Any] = []
    for _ in range(4):
        for batch in batches:
            held = [*held, batch][-hold:] if hold else []
            del batch
    return set(transport._known) - before


def test_memory_comes_back_when_nobody_holds_it() -> None:
    # One is filled, two wait, one is looked at, one may just be on its way back.
    assert len(blocks_after(hold=1)) <= 5
    assert 8 <= len(blocks_after(hold=8)) <= 13


def test_blocks_of_ended_processes_are_forgotten() -> None:
    for _ in range(3):
        for batch in loader(2):
            del batch
        gc.collect()
    ended = {key for key in transport._known if not transport._is_running(key[0])}
    assert len({process for process, _ in transport._known}) <= 4
    next(iter(loader(1)))
    assert not ended & set(transport._known)


def test_a_loader_that_is_left_early_goes_on_with_the_next_epoch() -> None:
    batches = loader(2, persistent_workers=True)
    for _ in range(3):
        next(iter(batches))
    assert [batch["ids"][0] for batch in batches] == ["0", "4", "8", "12", "16", "20"]


class Growing(Dataset[Example]):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Example:
        return example(index, side=8 + index)


def test_batches_may_grow() -> None:
    batches = DataLoader(Growing(), batch_size=1, num_workers=1, collate_fn=join)
    for number, batch in enumerate(batches):
        assert batch["images"]["a"].shape == (1, 2, 3, 8 + number, 8 + number)
        assert (batch["images"]["a"] == number).all()


def test_loader_processes_may_be_started_anew() -> None:
    context = multiprocessing.get_context("spawn")
    batch = next(iter(loader(1, multiprocessing_context=context)))
    assert batch["number"].tolist() == [0, 1, 2, 3]


@pytest.fixture
def in_a_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process were a loader's."""
    monkeypatch.setattr(transport, "get_worker_info", lambda: True)
    monkeypatch.setattr(transport, "keep_freed_memory", lambda at_most: None)
    monkeypatch.setattr(transport, "_blocks", [])


def reserved(count: int, first: int = 0) -> list[Example]:
    """Examples whose largest arrays were made where the batch will be."""
    small, large = transport.reserve([(count, 1, 3, 8, 8), (count, 2, 3, 8, 8)])
    examples = []
    for place in range(count):
        small[place], large[place] = first + place, first + place
        examples.append(
            {"few": {"images": small[place]}, "number": np.array(place), "many": {"images": large[place]}}
        )
    return examples


def arrived(parcel: Any) -> Any:  # noqa: ANN401
    build, parts = parcel.__reduce__()
    return build(*parts)


def test_arrays_in_reserved_memory_are_not_copied(in_a_loader: None, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = reserved(4)
    plain = default_collate(examples)
    copied = []
    stack = np.stack
    monkeypatch.setattr(
        np, "stack", lambda arrays, **options: copied.append(len(arrays)) or stack(arrays, **options)
    )
    batch = arrived(transport.stack(examples))
    assert copied == [4]  # the numbers
    assert_same(batch, plain)
    assert len(transport._blocks) == 1


def test_reserved_memory_may_hold_only_a_part_of_the_batch(in_a_loader: None) -> None:
    examples = [*reserved(3), *reserved(2, first=3)]
    examples[1]["many"]["images"] = examples[1]["many"]["images"][::-1].copy()
    expected = default_collate(examples)
    assert_same(arrived(transport.stack(examples)), expected)


def test_reserved_memory_that_is_too_small_for_the_rest_is_left(in_a_loader: None) -> None:
    examples = reserved(2)
    for each in examples:
        each["depth"] = np.full((300, 300), 7.0)
    expected = default_collate(examples)
    assert_same(arrived(transport.stack(examples)), expected)


def test_memory_that_is_never_sent_is_free_again(in_a_loader: None) -> None:
    for _ in range(3):
        examples = reserved(2)
        del examples
    assert len(transport._blocks) == 1 and transport._blocks[0].is_free


def test_what_this_process_still_holds_is_not_overwritten(in_a_loader: None) -> None:
    held = reserved(2)
    batch = arrived(transport.stack(held))
    del batch  # the receiver needs it no more
    others = [reserved(2, first=100 * number) for number in (1, 2)]
    assert held[1]["many"]["images"].max() == 1 and others[0][1]["few"]["images"].max() == 101
    assert len(transport._blocks) == 3
    del held
    assert [block.is_free for block in transport._blocks] == [True, False, False]


def test_a_block_goes_its_second_way_by_its_name_alone(in_a_loader: None) -> None:
    shared = []
    for _ in range(3):
        parcel = transport.stack([example(0)])
        shared.append(parcel.__reduce__()[1][1] is not None)
        batch = arrived(parcel)
        del batch, parcel
    assert shared == [True, False, False]


def test_examples_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        transport.stack([example(0), example(1, side=9)])
