"""Structural similarity (Wang et al. 2004), one figure per image."""

import math
from typing import Literal

import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.metrics.filters import separable

_RADIUS = 5
_SIGMA = 1.5
_GAUSS = [math.exp(-(x**2) / (2 * _SIGMA**2)) for x in range(-_RADIUS, _RADIUS + 1)]
_WINDOW = [weight / sum(_GAUSS) for weight in _GAUSS]
_C1 = 0.01**2
_C2 = 0.03**2


def ssim(predicted: Tensor, expected: Tensor, border: Literal["zero", "valid"] = "zero") -> Tensor:
    """Return the structural similarity of each image, [N] float32 in [-1, 1].

    Gaussian window of 11 x 11 with standard deviation 1.5, per channel, constants for the range [0, 1], the
    mean over the map. Computed in float32 also inside autocast regions.

    Args:
        predicted: [N, C, H, W] in [0, 1].
        expected: [N, C, H, W] in [0, 1].
        border: "zero" surrounds both images with zeros and keeps the map's size, as the papers' scorer
            does; "valid" counts only the windows that lie inside, as Wang et al. do.

    Raises:
        UserError: When border is "valid" and a side is smaller than the window.
    """
    if border == "valid" and min(predicted.shape[-2:]) <= 2 * _RADIUS:
        raise UserError(
            f"SSIM with the border option 'valid' needs sides of at least 11 pixels, but gets "
            f"{list(predicted.shape)}: evaluate larger images or take the border option 'zero'"
        )
    with torch.autocast(predicted.device.type, enabled=False):
        p, e = predicted.float(), expected.float()
        moments = separable(torch.cat([p, e, p * p, e * e, p * e]), _WINDOW, _WINDOW, border)
        return _similarity(*moments.chunk(5)).mean((1, 2, 3))


def _similarity(
    mean_p: Tensor, mean_e: Tensor, square_p: Tensor, square_e: Tensor, product: Tensor
) -> Tensor:
    both, squares = mean_p * mean_e, mean_p.square() + mean_e.square()
    covariance, variances = product - both, square_p + square_e - squares
    return (2 * both + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))
