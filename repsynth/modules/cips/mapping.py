"""From latents z to styles w."""

import torch
from torch import Tensor, nn

from repsynth.geometry.precision import full_precision
from repsynth.modules.cips.equalised import EqualLinear


class Mapping(nn.Module):
    """Pixel norm, then equalised linear layers that learn a hundredth as fast as others (official code).

    Args:
        style_size: of z and w.
        layers: how many.
    """

    LEARNING_RATE_MULTIPLIER = 0.01

    def __init__(self, style_size: int = 512, layers: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                EqualLinear(style_size, style_size, multiplier=self.LEARNING_RATE_MULTIPLIER, activate=True)
                for _ in range(layers)
            )
        )

    @full_precision
    def forward(self, z: Tensor) -> Tensor:
        """Map z [..., style_size] to w of the same shape, in float32 also under autocast."""
        normed = z * torch.rsqrt(z.square().mean(dim=-1, keepdim=True) + 1e-8)
        w: Tensor = self.layers(normed)
        return w
