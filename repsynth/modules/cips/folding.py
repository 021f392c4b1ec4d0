"""Styles folded into weights: a modulated layer becomes one matrix per image."""

import math
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-8
"""Added to the squared norm of a row before its root (official code)."""


def fold_weight(weight: Tensor, style: Tensor, gain: float = 1.0, demodulate: bool = True) -> Tensor:
    """Return the matrices of a modulated layer, [B, O, I].

    `gain d_bo W_oi s_bi / sqrt(I)`, where d makes every row a unit vector, `d_bo = rsqrt(sum_i (W_oi s_bi)^2 / I +
    1e-8)`, or is 1 without demodulation. Only W, s and d are kept for the backward pass; differentiable twice.

    Args:
        weight: W [O, I].
        style: s [B, I].
        gain: of the layer's activation.
        demodulate: divide every row by its norm.
    """
    scaled = style * (1 / math.sqrt(weight.shape[1]))
    if not demodulate:
        return _Outer.apply(weight, scaled * gain, None)
    norms = scaled.square() @ weight.square().T + EPSILON
    return _Outer.apply(weight, scaled * gain, norms.rsqrt())


class _Outer(torch.autograd.Function):
    """`W_oi s_bi d_bo`, keeping neither of the products [B, O, I] that plain operators would keep."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, style: Tensor, norm: Tensor | None) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(weight, style, norm)
        product = weight * style[:, None]
        return product if norm is None else product.mul_(norm[:, :, None])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        weight, style, norm = ctx.saved_tensors
        (gradient,) = gradients
        by_weight = gradient * weight
        of_norm = None
        if norm is None:
            of_weight = (gradient * style[:, None]).sum(0)
            of_style = by_weight.sum(1)
        else:
            of_weight = (gradient * style[:, None] * norm[:, :, None]).sum(0)
            of_style = torch.bmm(norm[:, None], by_weight)[:, 0]
            of_norm = torch.bmm(by_weight, style[:, :, None])[:, :, 0]
        return of_weight, of_style, of_norm
