"""Joining examples to a batch that travels from a loader process in one block of shared memory, used again and again.

torch gives each tensor of a batch shared memory of its own, new for every batch, and sends each through a connection
with a handshake. On a virtual machine these pages and handshakes take longer than the pictures take to decode.
"""

import itertools
import os
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from repsynth.memory import keep_freed_memory

_ALIGNMENT = 64
"""Bytes; more than any instruction asks for."""
_ROOM_FOR_THE_REST = 64 * 2**10
"""Bytes of a reserved block that are left for cameras and other small arrays."""
_FREE, _BUSY = 0, 1
_KEPT_BYTES = 64 * 2**20
"""Freed memory that a loader process keeps: what the pictures of a batch took, a fifth of the time of a picture."""

Arrays = dict[str, Any]
"""Arrays, or dictionaries of them."""


class _Place(NamedTuple):
    """Where the stacked arrays of one key lie in a block."""

    path: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    end: int


_Leaf = tuple[tuple[str, ...], np.ndarray]


def reserve(shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Memory for the largest arrays of a batch, where `stack` finds them in their places and need not copy them.

    Args:
        shapes: [B, ...] of each.

    Returns:
        A uint8 array of each shape, not filled.
    """
    if get_worker_info() is None:
        return [np.empty(shape, dtype=np.uint8) for shape in shapes]
    leaves = [[((str(number),), np.empty(shape, dtype=np.uint8))] for number, shape in enumerate(shapes)]
    places = {place.path: place for place in _places(leaves)}
    memory = _free_block(max(place.end for place in places.values()) + _ROOM_FOR_THE_REST).lease()
    return [_part(memory, places[str(number),])[0] for number in range(len(shapes))]


def stack(examples: Sequence[Arrays], **others: Any) -> Any:  # noqa: ANN401  a loader process wraps the dictionary
    """Stack the arrays of nested dictionaries, like torch's `default_collate`.

    Args:
        examples: B nested dictionaries of the same keys, shapes and types.
        others: what the batch holds besides, such as its ids.

    Returns:
        A nested dictionary of tensors [B, ...]; in a loader process something that arrives as this dictionary. All of
        them are parts of one block, which is free for another batch when none of them is left.
    """
    columns = list(zip(*(_leaves(example) for example in examples), strict=True))
    places = list(_places(columns))
    size = max(place.end for place in places)
    if get_worker_info() is None:
        memory = np.empty(size, dtype=np.uint8)
        _fill(memory, places, columns)
        return _batch(memory, places, others)
    arrays = [array for column in columns for _, array in column]
    block, memory = _reserved(arrays, size)
    _fill(memory, places, columns)
    block.is_sent = True
    return _Parcel(block, places, others)


class _Block:
    """Shared memory of a loader process; its first byte says whether anybody needs what it holds."""

    _numbers = itertools.count()

    def __init__(self, size: int) -> None:
        self.key = os.getpid(), next(self._numbers)
        storage = torch.UntypedStorage._new_shared(_ALIGNMENT + size)
        self.shared = torch.empty(0, dtype=torch.uint8).set_(storage)
        self.state = self.shared.numpy()[:1]
        self.size = size
        self.is_leased = self.is_sent = self.has_returned = False

    @property
    def is_free(self) -> bool:
        """Whether neither this process nor the receiver needs what it holds."""
        return not self.is_leased and self.state[0] == _FREE

    def lease(self) -> np.ndarray:
        """Its memory for one batch, until no part of it is left here; what was sent then belongs to the receiver."""
        self.has_returned = self.has_returned or self.is_sent
        self.state[0], self.is_sent, self.is_leased = _BUSY, False, True
        whole = self.shared.numpy()
        _leased[id(whole)] = self
        weakref.finalize(whole, self._end_lease, id(whole)).atexit = False
        return whole[_ALIGNMENT:]

    def _end_lease(self, lease: int) -> None:
        del _leased[lease]
        self.is_leased = False
        if not self.is_sent:
            self.state[0] = _FREE


_blocks: list[_Block] = []
"""Those of this loader process."""
_leased: dict[int, _Block] = {}
"""The block of each lease, by the id of the array that all its parts are based on."""
_known: dict[tuple[int, int], Tensor] = {}
"""In the receiver: the blocks of all its loader processes by (process, number)."""


def _free_block(size: int) -> _Block:
    for block in _blocks:
        if block.is_free and block.size >= size:
            return block
    if not _blocks:
        keep_freed_memory(_KEPT_BYTES)
    _blocks.append(_Block(size))
    return _blocks[-1]


def _reserved(arrays: Sequence[np.ndarray], size: int) -> tuple[_Block, np.ndarray]:
    """The block that the first of these arrays lies in, or another where it is in none, with its memory."""
    base = max(arrays, key=lambda array: array.nbytes).base
    block = _leased.get(id(base))
    if block is not None and isinstance(base, np.ndarray) and block.size >= size:
        return block, base[_ALIGNMENT:]
    block = _free_block(size)
    return block, block.lease()


class _Parcel:
    """A batch on its way from a loader process; it arrives as a dictionary."""

    def __init__(self, block: _Block, places: list[_Place], others: dict[str, Any]) -> None:
        self.block, self.places, self.others = block, places, others

    def __reduce__(self) -> tuple[Any, ...]:
        # Who has given a block back knows it: the handshake is needed once.
        shared = None if self.block.has_returned else self.block.shared
        return _unpacked, (self.block.key, shared, self.places, self.others)


def _unpacked(
    key: tuple[int, int], shared: Tensor | None, places: list[_Place], others: dict[str, Any]
) -> dict[str, Any]:
    if shared is not None:
        _forget_ended_processes()
        _known[key] = shared
    shared = _known[key]
    whole = shared.numpy()  # the tensors of the batch keep it alive, and nothing else does
    weakref.finalize(whole, _give_back, shared).atexit = False
    return _batch(whole[_ALIGNMENT:], places, others)


def _give_back(shared: Tensor) -> None:
    shared.numpy()[0] = _FREE


def _forget_ended_processes() -> None:
    for key in [key for key in _known if not _is_running(key[0])]:
        del _known[key]


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _leaves(nested: Arrays, path: tuple[str, ...] = ()) -> Iterator[_Leaf]:
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _places(columns: Sequence[Sequence[_Leaf]]) -> Iterator[_Place]:
    """Where each column lies; the largest come first, whatever else there is."""
    starts, start = {}, 0
    sizes = [len(column) * column[0][1].nbytes for column in columns]
    for number in sorted(range(len(columns)), key=lambda number: -sizes[number]):
        starts[number] = start
        start += -(-sizes[number] // _ALIGNMENT) * _ALIGNMENT
    for number, column in enumerate(columns):
        path, first = column[0]
        shape = (len(column), *first.shape)
        yield _Place(path, shape, first.dtype, starts[number], starts[number] + sizes[number])


def _fill(memory: np.ndarray, places: Sequence[_Place], columns: Sequence[Sequence[_Leaf]]) -> None:
    for place, column in zip(places, columns, strict=True):
        target, arrays = _part(memory, place), [array for _, array in column]
        if not all(map(_is_same, target, arrays)):
            np.stack(arrays, out=target)


def _is_same(target: np.ndarray, array: np.ndarray) -> bool:
    """Whether an array is where it has to go already."""
    if array.base is not target.base or array.shape != target.shape or array.dtype != target.dtype:
        return False
    return bool(
        array.flags.c_contiguous
        and array.__array_interface__["data"][0] == target.__array_interface__["data"][0]
    )


def _part(memory: np.ndarray, place: _Place) -> np.ndarray:
    return memory[place.start : place.end].view(place.dtype).reshape(place.shape)


def _batch(memory: np.ndarray, places: Sequence[_Place], others: dict[str, Any]) -> dict[str, Any]:
    batch = dict(others)
    for place in places:
        folder = batch
        for key in place.path[:-1]:
            folder = folder.setdefault(key, {})
        folder[place.path[-1]] = torch.from_numpy(_part(memory, place))
    return batch
