"""What the callbacks ask the other ranks."""

import lightning.pytorch as pl
import torch


def largest(trainer: pl.Trainer, *values: int) -> list[int]:
    """Each number's maximum over all ranks; one small collective, none in a run of one rank."""
    if trainer.world_size == 1:
        return list(values)
    gathered = torch.tensor(values, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(gathered, torch.distributed.ReduceOp.MAX)
    return gathered.tolist()
