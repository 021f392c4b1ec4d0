"""From a style to the shifts and scales of every adaptive normalisation (official code)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from repsynth.geometry.precision import full_precision
from repsynth.modules.hidt.normalisation import Modulation


class ModulationNetwork(nn.Module):
    """Linear layers with ReLU between them. Scales are used as they come, without 1 added.

    Args:
        style_size: numbers of a style.
        width: of the hidden layers.
        layers: linear layers, the last one included.
        channels: of every adaptive normalisation, in their order.
    """

    def __init__(self, style_size: int, width: int, layers: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.sizes = [size for count in channels for size in (count, count)]
        widths = [style_size, *(layers - 1) * [width], sum(self.sizes)]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))

    @full_precision
    def forward(self, styles: Tensor) -> list[Modulation]:
        """Return the shifts and scales [B, C] of every norm for styles [B, style_size], float32.

        The last layer puts out the shifts of the first norm, its scales, the shifts of the second one and so on.
        """
        x, layers = styles, cast("list[nn.Linear]", self.layers)
        for layer in layers[:-1]:
            x = F.relu(layer(x))
        parts = layers[-1](x).split(self.sizes, dim=1)
        return [Modulation(shift, scale) for shift, scale in zip(parts[::2], parts[1::2], strict=True)]
