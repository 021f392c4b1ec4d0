"""What figures need from the process group; without one there is a single rank, the first."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

from repsynth.errors import UserError

T = TypeVar("T")


def several_ranks() -> bool:
    """Whether there is a process group."""
    return dist.is_available() and dist.is_initialized()


def is_first() -> bool:
    """Whether this is rank zero."""
    return not several_ranks() or dist.get_rank() == 0


def to_first(value: T) -> list[T] | None:
    """Bring every rank's value to rank zero, in the order of the ranks; None on the others.

    Every rank must call it.

    Args:
        value: Anything that can be pickled.
    """
    if not several_ranks():
        return [value]
    gathered: list[Any] | None = [None] * dist.get_world_size() if is_first() else None
    dist.gather_object(value, gathered)
    return gathered


def from_first(work: Callable[[], T]) -> T:
    """Let rank zero do some work and give every rank the result, which must be small and can be pickled.

    Every rank must call it.

    Raises:
        UserError: On every rank, when the work raises it.
    """
    if not several_ranks():
        return work()
    outcome: list[Any] = [None, None]
    if is_first():
        try:
            outcome[0] = work()
        except UserError as error:
            outcome[1] = str(error)
    dist.broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise UserError(outcome[1])
    return outcome[0]
