"""Photometric augmentation, the same for all views of an example."""

from functools import cache
from typing import Any

import numpy as np

from repsynth.datamodules.augmentation import albumentations


def jitter_colours(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation, hue and gamma at random, identically in all images.

    Args:
        images: [N, 3, H, W] uint8 RGB.
        rng: of the example; equal generators give equal results.

    Returns:
        [N, 3, H, W] uint8.
    """
    # Below one another in one picture, so that also what depends on the picture's mean is the same for all.
    count, channels, height, width = images.shape
    joined = images.transpose(0, 2, 3, 1).reshape(count * height, width, channels)
    transform = _transform()
    transform.set_random_seed(int(rng.integers(2**31)))
    changed = transform(image=np.ascontiguousarray(joined))["image"]
    return np.ascontiguousarray(changed.reshape(count, height, width, channels).transpose(0, 3, 1, 2))


@cache
def _transform() -> Any:  # noqa: ANN401
    """The albumentations pipeline."""
    package = albumentations()
    return package.Compose(
        [
            package.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05, p=0.8),
            package.RandomGamma(gamma_limit=(80, 125), p=0.3),
        ]
    )
