"""A clock whose time always belongs to exactly one part, so that the parts of a step add up to it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

Part = Literal["data", "transfer", "forward", "backward", "optimiser", "figures", "callbacks", "other"]
PARTS: tuple[Part, ...] = get_args(Part)
Lap = dict[Part, float]
"""Seconds of each part."""


class PartClock:
    """Adds up seconds by part; parts nest, and time belongs to the innermost.

    Args:
        wait: is called before the time is read, to let a device finish what it was given.
        now: the time in seconds.

    Attributes:
        synchronised: whether to call `wait`.
    """

    def __init__(
        self, wait: Callable[[], None] = lambda: None, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self.synchronised = True
        self._wait, self._now = wait, now
        self._open: list[Part] = []
        self._seconds = _nothing()
        self._since = now()

    def enter(self, part: Part) -> None:
        """Let time belong to a part, until it is left."""
        self._settle(self.synchronised)
        self._open.append(part)

    def leave(self) -> None:
        """Let time belong to the part around the innermost one."""
        self._settle(self.synchronised)
        self._open.pop()

    @contextmanager
    def inside(self, part: Part) -> Iterator[None]:
        """Let the time of a block belong to a part."""
        self.enter(part)
        try:
            yield
        finally:
            self.leave()

    def lap(self) -> Lap:
        """Return the seconds of every part since the last lap, and begin the next one."""
        self._settle(self.synchronised)
        lap, self._seconds = self._seconds, _nothing()
        return lap

    def wait(self) -> None:
        """Let the device finish, whether or not the clock is synchronised."""
        self._wait()

    def _settle(self, wait: bool) -> None:
        if wait:
            self._wait()
        now = self._now()
        self._seconds[self._open[-1] if self._open else "other"] += now - self._since
        self._since = now


def _nothing() -> Lap:
    return dict.fromkeys(PARTS, 0.0)
