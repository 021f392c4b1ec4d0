"""First weights that make the enhancer an interpolation of its crops, so that it learns what is to be added (ours).

A picture goes through leaky ReLUs unharmed in two channels for every colour, one of them negative: of what comes out,
the difference is `1 + slope` times the colour.
"""

import math

import torch
from torch import Tensor, nn

from repsynth.modules.hidt.options import PICTURE_CHANNELS, Stacking

_SMALL = 0.01
"""Factor of the weights by which other channels reach the picture; without them, those would learn nothing at first."""
_QUARTER = (0.15625, 0.9375, -0.09375)
"""Weights of the pixel before one, of itself and of the one after it for the value a quarter of a pixel before: those
of a parabola."""


@torch.no_grad()
def interpolate(
    first: nn.Conv2d, trunk: nn.Conv2d, later: list[nn.Conv2d], slope: float, stacking: Stacking
) -> None:
    """Let the convolutions of an enhancer enlarge the picture that its crops have in common.

    Of crops stacked plainly it is the mean, each moved back to the first one linearly; of pasted ones, whose places are
    not the same everywhere, the first one alone. It is enlarged by parabolas.

    Args:
        first: from the stack to the features, `PICTURE_CHANNELS` or more.
        trunk: to what is added to the features.
        later: the convolutions that follow, all but the last with a leaky ReLU behind them, and those that have four
            times as many outputs as `trunk` with a pixel shuffle before that.
        slope: of the leaky ReLUs.
        stacking: of the crops.
    """
    signed = torch.cat((torch.eye(3), -torch.eye(3)))
    crops = _moved_back(math.isqrt(first.in_channels // 3)) if stacking == "plain" else _still()
    _set(first, torch.einsum("oc,khw->okchw", signed, crops).flatten(1, 2))
    _set(trunk, torch.zeros(PICTURE_CHANNELS, 0, 3, 3))
    gain = 1 / 2  # of features, where no leaky ReLU was
    for conv in later[:-1]:
        kernels = _quarters() if conv.out_channels == 4 * trunk.out_channels else _still()
        _set(conv, gain * torch.einsum("oc,ic,khw->okihw", signed, signed, kernels).flatten(0, 1))
        gain = 1 / (1 + slope)
    _set(later[-1], gain * torch.einsum("ic,hw->cihw", signed, _still()[0]))


def _set(conv: nn.Conv2d, weight: Tensor) -> None:
    """Give the first outputs of a convolution a weight [outputs, inputs, 3, 3] of its first inputs."""
    outputs, inputs = weight.shape[:2]
    conv.weight[:outputs] *= _SMALL
    conv.weight[:outputs, :inputs] = weight
    assert conv.bias is not None
    conv.bias[:outputs] = 0


# Kernels, [K, 3, 3].


def _still() -> Tensor:
    """The one that leaves a picture as it is."""
    return torch.tensor([[[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])


def _quarters() -> Tensor:
    """Those of the four pixels in place of one, in the order of a pixel shuffle."""
    before = torch.tensor(_QUARTER)
    sides = torch.stack((before, before.flip(0)))
    return torch.einsum("yh,xw->yxhw", sides, sides).flatten(0, 1)


def _moved_back(factor: int) -> Tensor:
    """Those that take the mean of all crops where the first one is, in the order of the crops (right, down)."""
    shares = torch.arange(factor) / factor
    sides = torch.stack((shares, 1 - shares, torch.zeros(factor)), dim=1)
    return torch.einsum("xw,yh->xyhw", sides, sides).flatten(0, 1) / factor**2
