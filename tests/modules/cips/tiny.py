"""A generator that takes milliseconds, with every part of a large one."""

from typing import Any

import torch

from repsynth.modules.cips.generator import CIPSGenerator


def tiny_generator(**options: Any) -> CIPSGenerator:  # noqa: ANN401
    """Always the same weights; biases and noise strengths are not their initial zeros."""
    torch.manual_seed(0)
    settings = {"grid_size": 16, "features": 12, "width": 16, "style_size": 8, "mapping_layers": 2}
    generator = CIPSGenerator(**{**settings, **options})
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith(("strength", "bias")):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return generator
