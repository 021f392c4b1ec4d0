"""Showing a photograph in another light without learning anything: what every translation has to beat."""

import numpy as np
import torch
from torch import Tensor

_FLAT = 1e-5
"""Deviation below which a channel has no contrast to stretch."""


def copied(content: Tensor, style: Tensor) -> Tensor:
    """The content as it is.

    Args:
        content: [N, 3, H, W] float32 in [0, 1].
        style: [N, 3, h, w] float32 in [0, 1].

    Returns:
        [N, 3, H, W] float32 in [0, 1], as of all functions here.
    """
    return content


def with_moments_of(content: Tensor, style: Tensor) -> Tensor:
    """The content with mean and deviation of each channel of the style; see `copied`.

    The idea is that of Reinhard et al., Color Transfer between Images (2001), in RGB.
    """
    mean, deviation = content.mean((2, 3), keepdim=True), content.std((2, 3), keepdim=True)
    wanted_mean, wanted = style.mean((2, 3), keepdim=True), style.std((2, 3), keepdim=True)
    return ((content - mean) / deviation.clamp_min(_FLAT) * wanted + wanted_mean).clamp(0, 1)


def with_histogram_of(content: Tensor, style: Tensor) -> Tensor:
    """The content with the histogram of each channel of the style, by scikit-image; see `copied`."""
    from skimage.exposure import match_histograms  # takes a while to import

    pairs = zip(content.detach().cpu().numpy(), style.detach().cpu().numpy(), strict=True)
    matched = [match_histograms(image, wanted, channel_axis=0) for image, wanted in pairs]
    return torch.from_numpy(np.stack(matched)).to(content).clamp(0, 1)


BASELINES = {
    "copy of the input": copied,
    "mean and deviation of each channel": with_moments_of,
    "histogram of each channel": with_histogram_of,
}
"""By the names that tables give them."""
