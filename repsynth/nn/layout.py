"""How activations lie in memory."""

import torch
from torch import Tensor


def laid_out(x: Tensor) -> Tensor:
    """Return x [B, C, H, W] with the channels of a pixel together on a CPU, where wide convolutions are faster so."""
    return x if x.is_cuda else x.contiguous(memory_format=torch.channels_last)
