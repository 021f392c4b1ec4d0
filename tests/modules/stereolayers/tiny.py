"""A StereoLayers that trains in milliseconds on 32 x 32 pixels."""

from typing import Any

import torch

from repsynth.modules.stereolayers.module import StereoLayers


def tiny_stereolayers(**options: Any) -> StereoLayers:  # noqa: ANN401
    """The method with the smallest networks; always the same weights."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {
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
    return StereoLayers(**(settings | options))
