"""Time and memory of a piece of work, measured the same way by the command and by the programs in `benchmarks/`."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import torch


class Measurement(NamedTuple):
    """Seconds of the repeated runs of one piece of work, warm."""

    median: float
    best: float
    worst: float


def seconds(work: Callable[[], object], repeats: int = 5, warm_up: int = 1) -> Measurement:
    """Time a function; with CUDA the device has finished when the clock stops."""
    times = []
    for run in range(warm_up + repeats):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if run >= warm_up:
            times.append(time.perf_counter() - start)
    return _measurement(times)


def side_by_side(works: dict[str, Callable[[], object]], rounds: int = 5) -> dict[str, Measurement]:
    """Time several functions in turn, round by round: a busy moment of the machine meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            taken = seconds(work, repeats=1, warm_up=0).median
            if turn:
                times[name].append(taken)
    return {name: _measurement(values) for name, values in times.items()}


def peak_memory() -> int:
    """Return the largest memory of this process so far, in bytes: of the device with CUDA, else of the host."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else host_memory("VmHWM")


def host_memory(kind: Literal["VmRSS", "VmHWM"]) -> int:
    """Return the memory of this process on Linux, in bytes: now (VmRSS), or the largest so far (VmHWM).

    Unlike ru_maxrss the latter does not begin with the peak of the parent process.
    """
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(kind)) * 1024


def memory_of(arguments: list[str]) -> int:
    """Run Python in a fresh process; return the bytes that it prints last, as JSON {"bytes": ...}.

    Only a fresh process knows its own peak: that of a running one never comes down again.

    Args:
        arguments: of the interpreter: a file, or -m and a module, and what follows.

    Raises:
        subprocess.CalledProcessError: the process failed.
    """
    printed = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout
    return int(json.loads(printed.strip().splitlines()[-1])["bytes"])


def print_memory_growth(prepare: Callable[[], Callable[[], object]]) -> None:
    """Run some work once and print by how much it raised the peak memory, as `memory_of` reads it."""
    work = prepare()
    before = peak_memory()
    work()
    print(json.dumps({"bytes": peak_memory() - before}))


def _measurement(times: list[float]) -> Measurement:
    return Measurement(statistics.median(times), min(times), max(times))
