"""Work done on one part of the points at a time, so that its memory does not grow with their number."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Work = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
"""From tensors that all points share and tensors [..., N] of one value per point to a result [..., N] in which every
point depends on its own values alone. It reads no other tensor that needs a gradient, and draws no random numbers."""


def in_parts(work: Work, shared: Sequence[Tensor], per_point: Sequence[Tensor], size: int) -> Tensor:
    """Return `work(shared, per_point)`, computed for at most `size` points at a time.

    Where a gradient is wanted, nothing but the arguments is kept for it: every part is computed again in the backward
    pass, so the price is one more forward pass. Gradients are added up in tensors that are there before the first part,
    so that all parts use the same memory; made among the parts' own, they would leave holes that the C library's
    allocator cannot fill. Differentiable once.

    Args:
        work: see `Work`.
        shared: tensors that it gets whole.
        per_point: tensors [..., N] that it gets in parts.
        size: points of a part.
    """
    if size >= per_point[0].shape[-1]:
        return work(shared, per_point)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (*shared, *per_point)):
        result: Tensor = _InParts.apply(work, size, len(shared), *shared, *per_point)
        return result
    return _collected(work, shared, per_point, size)


def _parts(points: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, points, size)]


def _collected(work: Work, shared: Sequence[Tensor], per_point: Sequence[Tensor], size: int) -> Tensor:
    """All parts, written into one tensor."""
    points = per_point[0].shape[-1]
    result: Tensor | None = None
    for part in _parts(points, size):
        found = work(shared, [t[..., part] for t in per_point])
        if result is None:
            result = found.new_empty((*found.shape[:-1], points))
        result[..., part] = found
    assert result is not None
    return result


class _InParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, work: Work, size: int, count: int, *tensors: Tensor) -> Tensor:  # noqa: ANN401
        ctx.work, ctx.size, ctx.count = work, size, count
        ctx.save_for_backward(*tensors)
        return _collected(work, tensors[:count], tensors[count:], size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        needed, tensors = ctx.needs_input_grad[3:], ctx.saved_tensors
        leaves = [t.detach().requires_grad_(need) for t, need in zip(tensors, needed, strict=True)]
        shared, per_point = leaves[: ctx.count], leaves[ctx.count :]
        for leaf in shared:
            if leaf.requires_grad:
                leaf.grad = torch.zeros_like(leaf)
        of_points = [torch.empty_like(t) if t.requires_grad else None for t in per_point]
        for part in _parts(gradient.shape[-1], ctx.size):
            pieces = [t.detach()[..., part].requires_grad_(t.requires_grad) for t in per_point]
            with torch.enable_grad():
                found = ctx.work(shared, pieces)
            torch.autograd.backward(found, gradient[..., part])
            for whole, piece in zip(of_points, pieces, strict=True):
                if whole is not None and piece.grad is not None:
                    whole[..., part] = piece.grad
        return None, None, None, *(t.grad for t in shared), *of_points
