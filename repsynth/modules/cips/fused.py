"""Styled layers whose backward pass lives in the memory of the forward pass; `products.py` has a plain twin of each.

The output of a layer with leaky ReLU is all that its derivative needs, and the next layer keeps it as its input anyway.
On the way back, when its own layer is reached, it has done its duty, and so has the gradient that arrives there: that
one is masked in place, and the gradient of the layer's input is written over the output. So the way back makes no large
tensors, which would cost memory and time (on the CPU every page of theirs is cleared first).

Nobody else may hold a layer's output or the gradient that arrives at it, which is so inside a trunk. A second pass
through the same graph is refused by autograd, which sees that saved tensors were written to; so are second derivatives.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from repsynth.modules.cips.equalised import SLOPE

Gradients = tuple[Tensor | None, ...]


class StyledProduct(torch.autograd.Function):
    """`y = leaky_relu(A x + b + strength noise)` and, where C is given, the colours `rgb + C y + c`.

    x [B, I, N], A [B, O, I], b [O], strength [1], noise [B, N] or None; rgb [B, 3, N] or None, C [B, 3, O], c [3].
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        strength: Tensor,
        noise: Tensor | None,
        rgb: Tensor | None,
        colour_weight: Tensor | None,
        colour_bias: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)  # of the last layer only the colours are used
        y = before_product(weight, bias, strength, noise, x.shape[-1]).baddbmm_(weight, x)
        F.leaky_relu_(y, SLOPE)
        ctx.save_for_backward(x, weight, bias, noise, y, colour_weight)
        if colour_weight is None or colour_bias is None:
            return y, None
        return y, with_colours(rgb, colour_weight, colour_bias, y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, of_rgb: Tensor | None) -> Gradients:  # noqa: ANN401, D102
        x, weight, bias, noise, y, colour_weight = ctx.saved_tensors
        of_colours: Gradients = (None, None)
        with torch.autocast(y.device.type, enabled=False):
            if of_rgb is not None:
                narrow, back = of_rgb.to(y.dtype), colour_weight.transpose(1, 2)
                of_colours = torch.bmm(narrow, y.transpose(1, 2)), of_rgb.sum((0, 2))
                gradient = torch.bmm(back, narrow) if gradient is None else gradient.baddbmm_(back, narrow)
            assert gradient is not None
            gradient = _masked(gradient, y)
            sums = _of_sums(gradient, bias, noise)
            of_weight = torch.bmm(gradient, x.transpose(1, 2))
            of_x = _of_input(gradient, weight, y) if ctx.needs_input_grad[0] else None
        of_rgb = of_rgb if ctx.needs_input_grad[5] else None
        return of_x, of_weight, *sums, None, of_rgb, *of_colours


class StyledInputs(torch.autograd.Function):
    """`leaky_relu(A [f; E] + b + strength noise)` with Fourier features `f = sin(W p + v)`, which are not kept.

    p [1 or B, K, N], W [h, K], v [h], E [1 or B, h, N], A [B, O, 2 h]; the others as of `StyledProduct`.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any,  # noqa: ANN401
        fourier_weight: Tensor,
        fourier_bias: Tensor,
        points: Tensor,
        embedding: Tensor,
        weight: Tensor,
        bias: Tensor,
        strength: Tensor,
        noise: Tensor | None,
    ) -> Tensor:
        features = phases(fourier_weight, fourier_bias, points).sin_().to(weight.dtype)
        y = before_product(weight, bias, strength, noise, points.shape[-1])
        _multiplied(y, weight, features, embedding.to(weight.dtype))
        F.leaky_relu_(y, SLOPE)
        ctx.save_for_backward(fourier_weight, fourier_bias, points, embedding, weight, bias, noise, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Gradients:  # noqa: ANN401, D102
        fourier_weight, fourier_bias, points, embedding, weight, bias, noise, y = ctx.saved_tensors
        with torch.autocast(y.device.type, enabled=False):
            gradient = _masked(gradient, y)
            sums = _of_sums(gradient, bias, noise)
            phase = phases(fourier_weight, fourier_bias, points)
            parts = phase.sin().to(weight.dtype), embedding.to(weight.dtype)
            of_weight = torch.cat([_of_half(gradient, part) for part in parts], dim=2)
            left, right = weight.split(fourier_weight.shape[0], dim=2)
            of_embedding = _back(right, gradient, len(embedding)).to(embedding.dtype)
            of_phase = _back(left, gradient, len(points)).to(phase.dtype).mul_(phase.cos_())
            of_fourier = torch.matmul(of_phase, points.transpose(1, 2)).sum(0), of_phase.sum((0, 2))
        return *of_fourier, None, of_embedding, of_weight, *sums, None


def before_product(
    weight: Tensor, bias: Tensor, strength: Tensor, noise: Tensor | None, points: int
) -> Tensor:
    """Return bias and noise [B, O, N] in the type of the weight; the product is added to them in place."""
    narrow = bias.to(weight.dtype)[:, None]
    if noise is None:
        shape = (*weight.shape[:2], points)
        return narrow.expand(shape).clone(memory_format=torch.contiguous_format)
    return narrow + (strength * noise).to(weight.dtype)[:, None]


def with_colours(rgb: Tensor | None, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """Return what a folded `ToRGB` makes of x [B, I, N], plus rgb [B, 3, N] if there is one, in the bias' type."""
    found = torch.bmm(weight, x).to(bias.dtype) + bias[:, None]
    return found if rgb is None else found.add_(rgb)


def phases(weight: Tensor, bias: Tensor, points: Tensor) -> Tensor:
    """Return `W p + v` [1 or B, h, N] of points [1 or B, K, N], whose sines are the Fourier features."""
    return torch.matmul(weight, points).add_(bias[:, None])


def _multiplied(y: Tensor, weight: Tensor, *parts: Tensor) -> None:
    """Add the product of the weight [B, O, 2 h] and its inputs, given in two parts [1 or B, h, N], to y."""
    halves = weight.split(parts[0].shape[1], dim=2)
    for half, part in zip(halves, parts, strict=True):
        if len(part) == 1:  # one product for all images
            y.flatten(0, 1).addmm_(half.flatten(0, 1), part[0])
        else:
            y.baddbmm_(half, part)


def _of_half(gradient: Tensor, part: Tensor) -> Tensor:
    """Gradient [B, O, h] of one half of a weight."""
    if len(part) == 1:
        return torch.mm(gradient.flatten(0, 1), part[0].T).unflatten(0, gradient.shape[:2])
    return torch.bmm(gradient, part.transpose(1, 2))


def _back(half: Tensor, gradient: Tensor, images: int) -> Tensor:
    """Gradient [1 or B, h, N] of the input of one half of a weight; of one that all images share, their sum."""
    if images == 1:
        return torch.mm(half.flatten(0, 1).T, gradient.flatten(0, 1))[None]
    return torch.bmm(half.transpose(1, 2), gradient)


def _masked(gradient: Tensor, y: Tensor) -> Tensor:
    """The gradient before the activation, in the place of the one after it."""
    gradient = gradient.contiguous()
    in_place = torch.ops.aten.leaky_relu_backward.grad_input
    masked: Tensor = in_place(gradient, y, SLOPE, True, grad_input=gradient)
    return masked


def _of_sums(gradient: Tensor, bias: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Gradients of bias and noise strength."""
    of_bias = gradient.sum((0, 2), dtype=bias.dtype)
    if noise is None:
        return of_bias, None
    return of_bias, (gradient.sum(1, dtype=bias.dtype) * noise).sum().reshape(1)


def _of_input(gradient: Tensor, weight: Tensor, y: Tensor) -> Tensor:
    """The gradient of a layer's input, in the place of its output where that is as large."""
    back = weight.transpose(1, 2)
    if back.shape[1] == back.shape[2]:
        return torch.bmm(back, gradient, out=y)
    return torch.bmm(back, gradient)
