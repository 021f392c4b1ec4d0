"""Pixel losses between pictures, over the whole picture or inside a mask."""

import torch.nn.functional as F
from torch import Tensor

_EMPTY = 1e-6
"""Keeps the quotient finite where a mask is empty (official code)."""


def masked_mean(error: Tensor, mask: Tensor | None = None) -> Tensor:
    """Average an error map inside a mask, then over channels and images (official code).

    Args:
        error: [B, C, H, W], any unit.
        mask: [B, 1 or C, h, w] in [0, 1], resized bilinearly to the error's size. None counts all.

    Returns:
        A float32 scalar: the mean over images and channels of `sum(mask * error) / (sum(mask) + 1e-6)`.
    """
    error = error.float()
    if mask is None:
        return error.mean()
    mask = _resized(mask.float(), error.shape[-2:]).expand_as(error)
    return ((error * mask).sum((-2, -1)) / (mask.sum((-2, -1)) + _EMPTY)).mean()


def l1(predicted: Tensor, expected: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean absolute difference as a float32 scalar.

    The official code compares pictures in [-1, 1]: twice the value of the same pictures in [0, 1].

    Args:
        predicted: [B, C, H, W].
        expected: [B, C, H, W], the same unit.
        mask: As in `masked_mean`.
    """
    return masked_mean((predicted.float() - expected.float()).abs(), mask)


def l2(predicted: Tensor, expected: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean squared difference as a float32 scalar; arguments as in `l1`."""
    return masked_mean((predicted.float() - expected.float()).square(), mask)


def _resized(mask: Tensor, size: tuple[int, ...]) -> Tensor:
    if mask.shape[-2:] == size:
        return mask
    return F.interpolate(mask, size, mode="bilinear", align_corners=False)
