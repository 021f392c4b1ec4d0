"""The residual block of content encoder and decoder."""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from repsynth.modules.hidt.normalisation import Modulation, Source, instance_normalised
from repsynth.nn.reflection import ReflectedConv2d


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance norm, a ReLU between them, none after the sum.

    Args:
        channels: width.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(ReflectedConv2d(channels, channels, 3, margin=1) for _ in range(2))

    def forward(
        self,
        x: Tensor,
        modulations: tuple[Modulation, Modulation] | None = None,
        source: Source | None = None,
    ) -> Tensor:
        """Map x [B, C, H, W] to the same shape; without modulations the normalisations are not adaptive."""
        first, second = modulations or (None, None)
        convs = cast("list[ReflectedConv2d]", self.convs)
        y = F.relu_(instance_normalised(convs[0](x), first, source))
        return instance_normalised(convs[1](y), second, source).add_(x)
