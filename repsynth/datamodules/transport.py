"""Joining examples to a batch that travels from a loader process in one block of shared memory, used again and again.

torch gives each tensor of a batch shared memory of its own, new for every batch, and sends each through a connection
with a handshake. On a virtual machine the pages and handshakes of a batch cost a third of the time that its pictures
take to decode.
"""

import itertools
import multiprocessing
import os
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

_ALIGNMENT = 64
"""Bytes; more than any instruction asks for."""
_FREE, _BUSY = 0, 1

Arrays = dict[str, Any]
"""Arrays, or dictionaries of them."""


class _Place(NamedTuple):
    """Where the arrays of one key are to lie in a block, stacked."""

    path: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    end: int


def stack(examples: Sequence[Arrays], **others: Any) -> Any:  # noqa: ANN401  a loader process wraps the dictionary
    """Stack the arrays of nested dictionaries, like torch's `default_collate`.

    Args:
        examples: B nested dictionaries of the same keys, shapes and types.
        others: what the batch holds besides, such as its ids.

    Returns:
        A nested dictionary of tensors [B, ...]; in a loader process something that arrives as this dictionary. All of
        them are parts of one block, which is free for another batch when none of them is left.
    """
    columns = list(zip(*(list(_leaves(example)) for example in examples), strict=True))
    places = list(_places(columns))
    size = places[-1].end
    block = None if get_worker_info() is None else _free_block(size)
    memory = np.empty(size, dtype=np.uint8) if block is None else block.memory
    for place, column in zip(places, columns, strict=True):
        np.stack([array for _, array in column], out=_part(memory, place))
    return _batch(memory, places, others) if block is None else _Parcel(block, places, others)


class _Block:
    """Shared memory of a loader process. Its first byte says whether the receiver still needs it."""

    numbers = itertools.count()

    def __init__(self, size: int) -> None:
        self.key = (os.getpid(), next(self.numbers))
        self.shared = torch.empty(0, dtype=torch.uint8).set_(
            torch.UntypedStorage._new_shared(_ALIGNMENT + size)
        )
        self.state = self.shared.numpy()[:1]
        self.memory = self.shared.numpy()[_ALIGNMENT:]
        self.has_arrived = False

    def take(self) -> bool:
        """Take it for another batch if nobody needs the one before."""
        if self.state[0] == _BUSY:
            return False
        self.state[0] = _BUSY
        return True

    def address(self) -> Tensor | None:
        """What the receiver finds it by, besides its key: None once it has come back, because it is known then."""


_blocks: list[_Block] = []
"""Those of this loader process."""
_known: dict[tuple[int, int], Tensor] = {}
"""The blocks of all loader processes of this process, by (process, number)."""


def _free_block(size: int) -> _Block:
    for block in _blocks:
        if len(block.memory) >= size and block.state[0] == _FREE:
            block.has_arrived = True
            break
    else:
        block = _Block(size)
        _blocks.append(block)
    block.state[0] = _BUSY
    return block


class _Parcel:
    """A batch on its way from a loader process; it arrives as a dictionary."""

    def __init__(self, block: _Block, places: list[_Place], others: dict[str, Any]) -> None:
        self.block, self.places, self.others = block, places, others

    def __reduce__(self) -> tuple[Any, ...]:
        # A block that has come back once is known to the receiver.
        shared = None if self.block.has_arrived else self.block.shared
        return _unpacked, (self.block.key, shared, self.places, self.others)


def _unpacked(
    key: tuple[int, int], shared: Tensor | None, places: list[_Place], others: dict[str, Any]
) -> dict[str, Any]:
    if shared is not None:
        _forget_ended_processes()
        _known[key] = shared
    shared = _known[key]
    lease = shared.numpy()  # the views below keep it alive, and nothing else does
    weakref.finalize(lease, _release, shared).atexit = False
    return _batch(lease[_ALIGNMENT:], places, others)


def _release(shared: Tensor) -> None:
    shared.numpy()[0] = _FREE


def _forget_ended_processes() -> None:
    running = {process.pid for process in multiprocessing.active_children()}
    for key in [key for key in _known if key[0] not in running]:
        del _known[key]


def _leaves(nested: Arrays, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _places(columns: Sequence[Sequence[tuple[tuple[str, ...], np.ndarray]]]) -> Iterator[_Place]:
    start = 0
    for column in columns:
        path, first = column[0]
        end = start + len(column) * first.nbytes
        yield _Place(path, (len(column), *first.shape), first.dtype, start, end)
        start = -(-end // _ALIGNMENT) * _ALIGNMENT


def _part(memory: np.ndarray, place: _Place) -> np.ndarray:
    return memory[place.start : place.end].view(place.dtype).reshape(place.shape)


def _batch(memory: np.ndarray, places: list[_Place], others: dict[str, Any]) -> dict[str, Any]:
    batch = dict(others)
    for place in places:
        folder = batch
        for key in place.path[:-1]:
            folder = folder.setdefault(key, {})
        folder[place.path[-1]] = torch.from_numpy(_part(memory, place))
    return batch
