"""Bars for what takes long within one photograph: the frames of a video, the styles of a grid, tiles."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")


class Progress:
    """Shows bars below the trainer's, on terminals only.

    Args:
        shown: whether the trainer shows one.
    """

    def __init__(self, shown: bool = False) -> None:
        # None lets tqdm look whether there is a terminal.
        self._disabled = None if shown else True

    def of(self, items: Iterable[T], count: int, title: str) -> Iterator[T]:
        """Yield the items, `count` of them, and show how many are done."""
        return iter(tqdm(items, title, count, leave=False, disable=self._disabled, dynamic_ncols=True))
