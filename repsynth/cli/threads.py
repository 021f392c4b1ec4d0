"""How many threads compute on a machine without an accelerator."""

import os

import torch
from lightning.pytorch import LightningDataModule, Trainer


def leave_cores_to_loaders(trainer: Trainer, data: LightningDataModule) -> None:
    """Give a CPU run the cores that its other ranks and its loader processes leave.

    Threads that outnumber the free cores wait for each other while they spin: with one busy loader process on two
    cores, two threads took six times as long for a training step as one. `OMP_NUM_THREADS` overrules.
    """
    if trainer.strategy.root_device.type != "cpu" or "OMP_NUM_THREADS" in os.environ:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads_for(cores, trainer.num_devices, getattr(data, "num_workers", 0)))


def threads_for(cores: int, ranks: int, workers: int) -> int:
    """Threads of one of `ranks` processes that share the cores and each feed from `workers` loaders; at least one."""
    return max(1, cores // ranks - workers)
