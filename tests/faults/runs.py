"""Runs of `repsynth fit` in processes of their own, watched and signalled from here."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from processes import started

from faults.observer import Event, Hold, fit

_PATIENCE = 240.0
"""Seconds without an event after which a run hangs."""


class Run:
    """A run under way; killed when the block ends, if it still runs.

    Args:
        words: what follows `repsynth fit`.
        output: file to which all that it prints is appended.
        hold: where it waits for a signal.

    Attributes:
        events: what it has reported.
    """

    def __init__(self, words: list[str], output: Path, hold: Hold | None = None) -> None:
        self._receiver, sender = Pipe(duplex=False)
        self.output = output
        self._printed = output.stat().st_size if output.exists() else 0
        self.events: list[Event] = []
        self._process = started(fit, words, sender, hold, output=output)
        sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.signal(signal.SIGKILL, everyone=True)
        self.end()
        self._receiver.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def until(self, condition: Callable[[Event], bool]) -> Event | None:
        """Wait for an event; None if the run ended without it."""
        while (event := self._next()) is not None:
            self.events.append(event)
            if condition(event):
                return event
        return None

    def end(self) -> int:
        """Wait for the end.

        Returns:
            The exit code, negative after a signal that ended it at once.
        """
        self.until(lambda event: False)
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def signal(self, number: int, everyone: bool = False) -> None:
        """Send a signal, if asked to all its processes, as schedulers do."""
        if self._process.exitcode is not None:
            return
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            loaders = psutil.Process(self.pid).children(recursive=True) if everyone else []
            os.kill(self.pid, number)
            for loader in loaders:
                loader.send_signal(number)

    def steps(self) -> int:
        """Training steps that are finished."""
        return max((event.step for event in self.events), default=0)

    def printed(self) -> str:
        """What this run printed."""
        return self.output.read_bytes()[self._printed :].decode(errors="replace")

    def _next(self) -> Event | None:
        # Loaders hold the other end of the pipe as well, so only the process itself tells its end.
        ready = wait([self._receiver, self._process.sentinel], _PATIENCE)
        if self._receiver in ready or self._receiver.poll():
            with suppress(EOFError):
                event: Event = self._receiver.recv()
                return event
        if not ready:
            raise AssertionError(f"the run hangs after {self.events[-1:]}:\n{self.printed()}")
        return None
