"""What makes a run fast on a machine without an accelerator."""

import os

import torch
from lightning.pytorch import LightningDataModule, Trainer

from repsynth.memory import keep_freed_memory

KEPT_BYTES = 2**31
"""Freed memory that a run keeps: activations of a step, or of a picture (`benchmarks/hidt.py --parts enhancement`)."""


def prepare(trainer: Trainer, data: LightningDataModule) -> None:
    """Let a CPU run keep its memory, and give it the cores that its other ranks and its loader processes leave.

    Threads that outnumber the free cores wait for each other while they spin: with one busy loader process on two
    cores, two threads took six times as long for a training step as one. `OMP_NUM_THREADS` overrules.
    """
    if trainer.strategy.root_device.type != "cpu":
        return
    keep_freed_memory(KEPT_BYTES)
    if "OMP_NUM_THREADS" in os.environ:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads_for(cores, trainer.num_devices, getattr(data, "num_workers", 0)))


def threads_for(cores: int, ranks: int, workers: int) -> int:
    """Threads of one of `ranks` processes that share the cores and each feed from `workers` loaders; at least one."""
    return max(1, cores // ranks - workers)
