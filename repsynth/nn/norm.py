"""Normalisation used by the novel-view methods."""

import torch
from torch import Tensor, nn


class TotalLayerNorm(nn.Module):
    """Normalise every item over all its channels and positions, then scale and shift each channel.

    Differs from `nn.GroupNorm(1, C)`, whose variance is biased and whose epsilon stands inside the root: here
    `(x - mean) / (std + 1e-5)` with the unbiased standard deviation (official code of StereoLayers and SIMPLI).
    """

    EPSILON = 1e-5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [B, C, ...]; statistics in float32, the result in the type of x."""
        variance, mean = torch.var_mean(x.float(), dim=tuple(range(1, x.dim())), keepdim=True)
        per_channel = (1, -1) + (1,) * (x.dim() - 2)
        std = variance.clamp_min(1e-12).sqrt()  # the root of zero has no gradient
        scale = self.gamma.view(per_channel) / (std + self.EPSILON)
        return torch.addcmul(self.beta.view(per_channel), x - mean, scale).to(x.dtype)
