"""Structural similarity (Wang et al. 2004), one figure per image."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

_RADIUS = 5
_SIGMA = 1.5
_C1 = 0.01**2
_C2 = 0.03**2


def ssim(predicted: Tensor, expected: Tensor, border: Literal["zero", "valid"] = "zero") -> Tensor:
    """Return the structural similarity of each image, [N] float32 in [-1, 1].

    Gaussian window of 11 x 11 with standard deviation 1.5, per channel, constants for the range [0, 1], the mean
    over the map. Computed in float32 also inside autocast regions.

    Args:
        predicted: [N, C, H, W] in [0, 1].
        expected: [N, C, H, W] in [0, 1].
        border: "zero" surrounds both images with zeros and keeps the map's size, as the scorer of the papers does;
            "valid" counts only the windows that lie inside, as Wang et al. do.

    Raises:
        ValueError: When border is "valid" and a side is smaller than the window.
    """
    if border == "valid" and min(predicted.shape[-2:]) <= 2 * _RADIUS:
        raise ValueError(
            f"ssim with border 'valid' needs sides of at least 11 pixels, got {list(predicted.shape)}"
        )
    with torch.autocast(predicted.device.type, enabled=False):
        p, e = predicted.float(), expected.float()
        moments = _blurred(torch.stack([p, e, p * p, e * e, p * e]), border)
        return _similarity(*moments).mean((1, 2, 3))


def _similarity(mean_p: Tensor, mean_e: Tensor, square_p: Tensor, square_e: Tensor, product: Tensor) -> Tensor:
    both, squares = mean_p * mean_e, mean_p.square() + mean_e.square()
    covariance, variances = product - both, square_p + square_e - squares
    return (2 * both + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))


def _blurred(maps: Tensor, border: str) -> Tensor:
    """Filter [..., H, W] with the window, one axis after the other."""
    height, width = maps.shape[-2:]
    window = _window(maps.device)
    pad = _RADIUS if border == "zero" else 0
    planes = maps.reshape(-1, 1, height, width)
    planes = F.conv2d(planes, window.view(1, 1, -1, 1), padding=(pad, 0))
    planes = F.conv2d(planes, window.view(1, 1, 1, -1), padding=(0, pad))
    return planes.view(*maps.shape[:-2], *planes.shape[-2:])


def _window(device: torch.device) -> Tensor:
    weights = [math.exp(-(x**2) / (2 * _SIGMA**2)) for x in range(-_RADIUS, _RADIUS + 1)]
    return torch.tensor([weight / sum(weights) for weight in weights], device=device)
