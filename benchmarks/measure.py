"""Time and memory of a piece of work, measured the same way by every benchmark."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

import repsynth  # noqa: F401  guards torchvision, before a benchmark imports Lightning


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
    return Measurement(statistics.median(times), min(times), max(times))


def side_by_side(works: dict[str, Callable[[], object]], rounds: int = 5) -> dict[str, Measurement]:
    """Time several functions in turn, round by round: a busy moment of the machine meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            taken = seconds(work, repeats=1, warm_up=0).median
            if turn:
                times[name].append(taken)
    return {name: Measurement(statistics.median(t), min(t), max(t)) for name, t in times.items()}


def peak_memory() -> int:
    """Return the largest memory of this process so far, in bytes: of the device with CUDA, else of the host.

    The host's is Linux's VmHWM: unlike ru_maxrss it does not begin with the peak of the parent process.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024


def memory_of(script: str, arguments: list[str]) -> int:
    """Run a script in a fresh process; return the bytes that it prints last, as JSON {"bytes": ...}.

    Only a fresh process knows its own peak: that of a running one never comes down again.

    Args:
        script: path of a Python file.
        arguments: of its command line.
    """
    command = [sys.executable, str(Path(script).resolve()), *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(json.loads(printed.strip().splitlines()[-1])["bytes"])


def print_memory_growth(prepare: Callable[[], Callable[[], object]]) -> None:
    """Run some work once and print by how much it raised the peak memory, as `memory_of` reads it."""
    work = prepare()
    before = peak_memory()
    work()
    print(json.dumps({"bytes": peak_memory() - before}))
