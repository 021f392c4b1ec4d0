"""Trials as processes: so many at a time, stopped together, each with its share of the machine."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Job:
    """A process to be started.

    Attributes:
        words: its command.
        log: file that gets what it prints, after what is there already.
    """

    words: list[str]
    log: Path


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    slot: int
    since: float
    stopped: bool = False


Started = Callable[[Job], None]
Ended = Callable[[Job, int, float], None]
"""Job, exit code (negative: the signal that killed it), seconds."""


def run_jobs(
    jobs: Sequence[Job],
    at_once: int,
    environment: Callable[[int], dict[str, str]],
    started: Started,
    ended: Ended,
) -> int:
    """Run processes, `at_once` at a time, and tell when one starts and ends.

    SIGINT, SIGTERM and SIGHUP end them all by SIGTERM, on which a training saves; nothing more is started. A second
    SIGINT kills them.

    Args:
        jobs: in the order of their start.
        at_once: most at a time.
        environment: of the process in one of the slots 0 .. at_once - 1.
        started: is called at every start.
        ended: is called at every end.

    Returns:
        The signal that stopped the jobs, or 0.
    """
    waiting, running = list(jobs), list[_Running]()
    asked: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: asked.append(number)) for number in _SIGNALS}
    try:
        while running or (waiting and not asked):
            while waiting and not asked and len(running) < at_once:
                slot = min(set(range(at_once)) - {each.slot for each in running})
                running.append(_start(waiting.pop(0), slot, environment(slot)))
                started(running[-1].job)
            _pass_on(asked, running)
            _collect(running, ended)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return asked[0] if asked else 0


def shares(devices: Sequence[str], at_once: int) -> list[str | None]:
    """CUDA_VISIBLE_DEVICES of every slot, so that processes at a time do not all take the first GPU.

    Args:
        devices: the GPUs that there are for all.
        at_once: slots.

    Returns:
        For each slot the devices, or None to leave them as they are: for one slot, and where there are none.
    """
    if at_once == 1 or not devices:
        return [None] * at_once
    if len(devices) < at_once:
        return [devices[slot % len(devices)] for slot in range(at_once)]
    return [",".join(devices[slot::at_once]) for slot in range(at_once)]


def _start(job: Job, slot: int, environment: dict[str, str]) -> _Running:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        # A session of its own: Ctrl+C reaches this process alone, which then stops all in the same way.
        process = subprocess.Popen(
            job.words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return _Running(job, process, slot, time.monotonic())


def _collect(running: list[_Running], ended: Ended) -> None:
    """Wait a moment, and take out what has ended."""
    time.sleep(_POLL)
    for each in [each for each in running if each.process.poll() is not None]:
        running.remove(each)
        ended(each.job, each.process.returncode, time.monotonic() - each.since)


def _pass_on(asked: list[int], running: list[_Running]) -> None:
    """Stop everything that runs, if a signal asked for it: first gently, and once."""
    for each in running:
        if asked and not each.stopped:
            each.process.send_signal(signal.SIGTERM)
            each.stopped = True
        elif asked.count(signal.SIGINT) > 1:
            os.killpg(each.process.pid, signal.SIGKILL)
