"""Peak signal-to-noise ratio, one figure per image."""

import torch
from torch import Tensor

FLOOR = 1e-6
"""Added to the squared error: a perfect image scores 60 dB, one of 30 dB loses 0.004 dB (official code)."""


def decibels(squared_error: Tensor, floor: float = FLOOR) -> Tensor:
    """Return `-10 log10(squared_error + floor)`, the PSNR of images in [0, 1].

    Args:
        squared_error: Mean squared errors, any shape.
        floor: 0 for the textbook formula, where a perfect image scores infinity.
    """
    return -10 * torch.log10(squared_error + floor)


def squared_error(predicted: Tensor, expected: Tensor) -> Tensor:
    """Return the mean squared error of each image, [N] float32; images [N, C, H, W] are clamped to [0, 1]."""
    difference = predicted.float().clamp(0, 1) - expected.float().clamp(0, 1)
    return difference.square().mean((1, 2, 3))


def psnr(predicted: Tensor, expected: Tensor, mask: Tensor | None = None, floor: float = FLOOR) -> Tensor:
    """Return the PSNR of each image in dB, [N] float32.

    Args:
        predicted: [N, C, H, W], clamped to [0, 1].
        expected: [N, C, H, W], clamped to [0, 1].
        mask: [N, 1, H, W] in [0, 1]. Both images are set to zero outside it, and the error is divided by the
            mask's mean (official code): not comparable with unmasked figures.
        floor: As in `decibels`.
    """
    if mask is None:
        return decibels(squared_error(predicted, expected), floor)
    mask = mask.float()
    error = squared_error(predicted.float().clamp(0, 1) * mask, expected.float().clamp(0, 1) * mask)
    # The released scorer divides after the floor was added.
    return decibels((error + floor) / mask.mean((1, 2, 3)), 0.0)
