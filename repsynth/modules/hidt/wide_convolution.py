"""A convolution by a wide kernel whose gradient is fast on a CPU."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

_FEW = 6
"""Results that are fewer than the library's convolutions compute at a time."""


def wide_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve x [B, C, H, W] by a weight [O, C, k, k] without padding: [B, O, H - k + 1, W - k + 1].

    On a CPU the gradient with respect to x, for which the library has no fast way with kernels of 9x9, is computed as
    the convolution that it is, the same to rounding: a step forward and back is four to five times faster. It can be
    differentiated once. Without gradients few results O are computed column by column of the kernel, two to three times
    as fast. (`benchmarks/hidt.py --parts layers`)
    """
    if x.device.type != "cpu":
        return F.conv2d(x, weight, bias)
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _by_columns(x, weight, bias) if len(weight) <= _FEW else F.conv2d(x, weight, bias)
    y: Tensor = _Convolution.apply(x, weight)
    return y if bias is None else y + bias[:, None, None]


def _by_columns(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One convolution by all columns of the kernel as if they were more results, which are then shifted and added."""
    outputs, side = weight.shape[0], weight.shape[-1]
    columns = F.conv2d(x, weight.permute(3, 0, 1, 2).flatten(0, 1)[..., None])
    width = x.shape[3] - side + 1
    y = columns[:, :outputs, :, :width].clone()
    for column in range(1, side):
        y += columns[:, column * outputs : (column + 1) * outputs, :, column : column + width]
    return y if bias is None else y.add_(bias[:, None, None])


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:  # noqa: ANN401
        x, weight = ctx.saved_tensors
        of_x, of_weight = ctx.needs_input_grad
        margin = weight.shape[-1] - 1
        turned = weight.flip(2, 3).transpose(0, 1).contiguous()
        return (
            F.conv2d(F.pad(gradient, 4 * (margin,)), turned) if of_x else None,
            conv2d_weight(x, weight.shape, gradient) if of_weight else None,
        )
