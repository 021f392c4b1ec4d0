"""The enhancer: from a stack of translated crops to one larger image (ESRGAN's network; official code)."""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsynth.geometry.precision import full_precision
from repsynth.modules.hidt.crops import stack_of
from repsynth.modules.hidt.interpolating_start import interpolate
from repsynth.modules.hidt.options import Border, EnhancerOptions, Padding
from repsynth.nn.layout import laid_out
from repsynth.nn.reflection import ReflectedConv2d

SLOPE, RESIDUAL = 0.2, 0.2
"""Of every leaky ReLU; what a block's result is multiplied by before its input is added."""
_FIRST_WEIGHTS = 0.1
"""Blocks start near the identity (ESRGAN)."""


def _conv(channels_in: int, channels_out: int, padding: Padding) -> nn.Conv2d:
    if padding == "reflect":
        return ReflectedConv2d(channels_in, channels_out, 3, margin=1)
    return nn.Conv2d(channels_in, channels_out, 3, padding=1)


class _DenseBlock(nn.Module):
    """Five convolutions, each of all that was computed before."""

    CONVS = 5

    def __init__(self, width: int, growth: int, padding: Padding) -> None:
        super().__init__()
        outputs = [*(self.CONVS - 1) * [growth], width]
        self.convs = nn.ModuleList(
            _conv(width + i * growth, after, padding) for i, after in enumerate(outputs)
        )
        for conv in cast("list[nn.Conv2d]", self.convs):
            nn.init.kaiming_normal_(conv.weight).data.mul_(_FIRST_WEIGHTS)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        found, convs = x, cast("list[nn.Conv2d]", self.convs)
        for conv in convs[:-1]:
            found = torch.cat((found, F.leaky_relu_(conv(found), SLOPE)), dim=1)
        return torch.add(x, convs[-1](found), alpha=RESIDUAL)


class _Block(nn.Module):
    """Three dense blocks around which the input is added again."""

    DENSE = 3

    def __init__(self, width: int, growth: int, padding: Padding) -> None:
        super().__init__()
        self.dense = nn.ModuleList(_DenseBlock(width, growth, padding) for _ in range(self.DENSE))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for dense in self.dense:
            y = dense(y)
        return torch.add(x, y, alpha=RESIDUAL)


class Enhancer(nn.Module):
    """Residual-in-residual dense blocks at the working size, then pixel shuffles. No normalisation.

    It starts as an interpolation of the crops (`interpolating_start`).

    Args:
        options: see `EnhancerOptions`.

    Raises:
        UserError: an option out of its range.
    """

    def __init__(self, options: EnhancerOptions = EnhancerOptions()) -> None:  # noqa: B008  frozen
        super().__init__()
        options.check()
        self.factor, self.stacking, self.padding = options.factor, options.stacking, options.padding
        width, padding = options.width, options.padding
        self.first = _conv(3 * self.factor**2, width, padding)
        self.blocks = nn.ModuleList(_Block(width, options.growth, padding) for _ in range(options.blocks))
        self.trunk = _conv(width, width, padding)
        self.ups = nn.ModuleList(_conv(width, 4 * width, padding) for _ in range(int(math.log2(self.factor))))
        self.fine = _conv(width, width, padding)
        self.last = _conv(width, 3, padding)
        later = [*cast("list[nn.Conv2d]", list(self.ups)), self.fine, self.last]
        interpolate(self.first, self.trunk, later, SLOPE, self.stacking)

    @property
    def features_halo(self) -> int:
        """Pixels around a part of the stack that `features` of the part depend on."""
        return 2 + len(self.blocks) * _Block.DENSE * _DenseBlock.CONVS

    @property
    def enlarging_halo(self) -> int:
        """Pixels of the working size around a part of the features that `enlarged` depends on."""
        radius = 2  # of the two last convolutions
        for _ in self.ups:
            radius = -(-radius // 2) + 1
        return radius

    def stack(self, crops: Tensor, border: Border) -> Tensor:
        """Stack translated crops [B, f^2, 3, h, w] in [0, 1] to what the network takes, see `crops.stack_of`."""
        return stack_of(crops, self.factor, border, self.stacking)

    def features(self, stack: Tensor) -> Tensor:
        """Map a stack [B, 3 f^2, h, w] in [-1, 1] to features [B, width, h, w]."""
        first: Tensor = self.first(laid_out(stack))
        x = first
        for block in self.blocks:
            x = block(x)
        return first + self.trunk(x)

    def enlarged(self, features: Tensor) -> Tensor:
        """Map features [B, width, h, w] to images [B, 3, f h, f w], about [-1, 1], float32."""
        x = laid_out(features)
        for up in self.ups:
            x = F.leaky_relu_(F.pixel_shuffle(up(x), 2), SLOPE)
        x = F.leaky_relu_(self.fine(x), SLOPE)
        return full_precision(self.last)(x)  # half precision would be colours in visible steps

    def forward(self, stack: Tensor) -> Tensor:
        """Map a stack of translated crops [B, 3 f^2, h, w] in [-1, 1] to images [B, 3, f h, f w], about [-1, 1]."""
        return self.enlarged(self.features(stack))
