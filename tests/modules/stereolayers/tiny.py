"""A StereoLayers that trains in milliseconds on 32 x 32 pixels."""

from typing import Any

import torch

from repsynth.modules.stereolayers.adversarial_module import AdversarialStereoLayers, DiscriminatorOptions
from repsynth.modules.stereolayers.module import StereoLayers

SMALLEST: dict[str, Any] = {
    "layers": 2,
    "planes": 4,
    "near": 1.5,
    "far": 15.0,
    "geometry_width": 4,
    "geometry_levels": 0,
    "coloring_width": 4,
    "perceptual": "random",
    "perceptual_levels": 1,
}


def tiny_stereolayers(**options: Any) -> StereoLayers:  # noqa: ANN401
    """The method with the smallest networks; always the same weights."""
    torch.manual_seed(0)
    return StereoLayers(**(SMALLEST | options))


def tiny_adversarial(**options: Any) -> AdversarialStereoLayers:  # noqa: ANN401
    """The same with a small discriminator."""
    torch.manual_seed(0)
    discriminator = DiscriminatorOptions(width=4, levels=2, r1_every=2)
    return AdversarialStereoLayers(**(SMALLEST | {"discriminator": discriminator} | options))
