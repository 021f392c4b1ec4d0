"""The low-pass filter before every halving of the discriminator (official code)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

TAPS = (1.0, 3.0, 3.0, 1.0)
"""Of the filter in either direction, to be divided by their sum."""


def blurred(images: Tensor, padding: int, stride: int = 1) -> Tensor:
    """Blur images [B, C, H, W] with the outer product of `TAPS`, zero outside, and keep every `stride`-th result.

    Returns [B, C, (H + 2 padding - 4) // stride + 1, ...], differentiable any number of times.
    """
    result: Tensor = _Blur.apply(images, padding, stride)
    return result


def _kernel(images: Tensor) -> Tensor:
    """The filter for every channel, [C, 1, 4, 4]; a tap is a multiple of 1/64, exact in every type."""
    taps = torch.tensor(TAPS, device=images.device, dtype=images.dtype) / sum(TAPS)
    return (taps[:, None] * taps).expand(images.shape[1], 1, -1, -1)


class _Blur(torch.autograd.Function):
    """One depthwise convolution, whose derivative is its adjoint and the other way round.

    The second derivative of a convolution, as torch has it, goes through the groups one by one, here channel by
    channel. Passes along the two axes, which have half the arithmetic, take longer than one of 4 x 4.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, padding: int, stride: int) -> Tensor:  # noqa: ANN401
        ctx.padding, ctx.stride = padding, stride
        return F.conv2d(images, _kernel(images), stride=stride, padding=padding, groups=images.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        return _Adjoint.apply(gradients[0], ctx.padding, ctx.stride), None, None


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, padding: int, stride: int) -> Tensor:  # noqa: ANN401
        ctx.padding, ctx.stride = padding, stride
        kernel, channels = _kernel(images), images.shape[1]
        if stride == 1:  # the filter is symmetric
            return F.conv2d(images, kernel, padding=len(TAPS) - 1 - padding, groups=channels)
        return F.conv_transpose2d(images, kernel, stride=stride, padding=padding, groups=channels)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        return _Blur.apply(gradients[0], ctx.padding, ctx.stride), None, None
