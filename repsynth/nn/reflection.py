"""Padding by reflection, and the convolution that has it on all four sides."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def reflected(x: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Pad x [B, C, H, W] by the pixels beyond its outermost ones: ... 2 1 | 0 1 2 ...

    Every margin must be smaller than the side that it continues. Where deterministic algorithms are demanded on a GPU,
    which have no gradient of this padding, it is put together from slices.
    """
    if x.is_cuda and torch.are_deterministic_algorithms_enabled():
        return of_slices(x, left, right, top, bottom)
    return F.pad(x, (left, right, top, bottom), mode="reflect")


def of_slices(x: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """The same as `reflected`, in operators that have deterministic gradients everywhere; copies x twice."""
    for axis, before, after in ((3, left, right), (2, top, bottom)):
        side = x.shape[axis]
        first = x.narrow(axis, 1, before).flip(axis)
        last = x.narrow(axis, side - 1 - after, after).flip(axis)
        x = torch.cat((first, x, last), dim=axis)
    return x


class ReflectedConv2d(nn.Conv2d):
    """A square convolution of an image padded by reflection; may be spectrally normalised.

    Args:
        channels_in, channels_out: widths.
        kernel: its side.
        stride: pixels from one result to the next.
        margin: pixels to pad on every side.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, margin: int = 0
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride)
        self.margin = margin

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x [B, channels_in, H, W]."""
        # The power iteration of a spectrally normalised weight would lose its vectors in half precision.
        with torch.autocast(x.device.type, enabled=False):
            weight = self.weight
        padded = reflected(x, *(4 * (self.margin,))) if self.margin else x
        return F.conv2d(padded, weight, self.bias, self.stride)
