"""Layers with equalised learning rates (Karras et al. 2018): weights of unit variance, scaled when they are used."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
"""Of every leaky ReLU (official code)."""
GAIN = math.sqrt(2)
"""What every leaky ReLU's output is multiplied by, so that it keeps the variance of its input."""


class EqualLinear(nn.Module):
    """`y = x (W m / sqrt(channels_in))^T + b m`, with W drawn from N(0, 1) / m.

    The scale may be folded into W and b because a leaky ReLU commutes with positive factors.

    Args:
        channels_in, channels_out: widths.
        bias: initial value of b.
        multiplier: m, the factor of the layer's learning rate.
        activate: apply `GAIN * leaky_relu(., SLOPE)`.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        bias: float = 0.0,
        multiplier: float = 1.0,
        activate: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in) / multiplier)
        self.bias = nn.Parameter(torch.full((channels_out,), bias))
        self.multiplier, self.activate = multiplier, activate

    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., channels_in] to [..., channels_out]."""
        gain = self.multiplier * (GAIN if self.activate else 1.0)
        scale = gain / math.sqrt(self.weight.shape[1])
        y = F.linear(x, self.weight * scale, self.bias * gain)
        return F.leaky_relu_(y, SLOPE) if self.activate else y


class EqualConv2d(nn.Module):
    """A convolution whose weight, drawn from N(0, 1), is multiplied by `gain / sqrt(channels_in kernel^2)`.

    Args:
        channels_in, channels_out: widths.
        kernel: its side.
        stride, padding: as of `nn.Conv2d`.
        activate: add a bias and apply `GAIN * leaky_relu(., SLOPE)`; without it there is no bias.
        gain: of the output as a whole.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        activate: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out)) if activate else None
        self.stride, self.padding = stride, padding
        self.gain = gain * (GAIN if activate else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x [B, channels_in, H, W]."""
        weight = self.weight * (self.gain / math.sqrt(self.weight[0].numel()))
        bias = None if self.bias is None else self.bias * self.gain
        y = F.conv2d(x, weight, bias, self.stride, self.padding)
        return y if bias is None else F.leaky_relu_(y, SLOPE)
