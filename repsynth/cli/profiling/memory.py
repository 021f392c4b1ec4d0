"""How much memory a training takes."""

import multiprocessing
from contextlib import suppress

import psutil
import torch

from repsynth.benchmark.measure import host_memory
from repsynth.cli.profiling.results import Memory


def used_memory(on_gpu: bool) -> Memory:
    """What this process and its loaders have taken; the device's since `torch.cuda.reset_peak_memory_stats`."""
    device, reserved = None, None
    if on_gpu:
        device, reserved = torch.cuda.max_memory_allocated(), torch.cuda.memory_reserved()
    return Memory(host_memory("VmHWM"), _loaders_memory(), device, reserved)


def _loaders_memory() -> int:
    """Of the processes that load data; the ranks that this one may have started are none of them."""
    total = 0
    for child in multiprocessing.active_children():
        with suppress(psutil.NoSuchProcess):
            total += psutil.Process(child.pid).memory_info().rss
    return total
