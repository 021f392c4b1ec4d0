"""Small networks of HiDT."""

from typing import Any

import numpy as np
import torch

from repsynth.modules.hidt.discriminators import HiDTDiscriminators
from repsynth.modules.hidt.enhancer import Enhancer
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.options import DiscriminatorOptions, EnhancerOptions, GeneratorOptions

OPTIONS = {
    "width": 4,
    "content_blocks": 1,
    "decoder_blocks": 1,
    "skip_channels": 2,
    "adain_width": 8,
    "classes": 5,
}


def tiny_generator(seed: int = 0, **options: Any) -> HiDTGenerator:  # noqa: ANN401
    torch.manual_seed(seed)
    return HiDTGenerator(GeneratorOptions(**(OPTIONS | options)))


def tiny_discriminators(**options: Any) -> HiDTDiscriminators:  # noqa: ANN401
    torch.manual_seed(0)
    return HiDTDiscriminators(3, DiscriminatorOptions(**({"width": 4, "levels": 2, "scales": 2} | options)))


def tiny_enhancer(**options: Any) -> Enhancer:  # noqa: ANN401
    torch.manual_seed(0)
    return Enhancer(EnhancerOptions(**({"width": 8, "blocks": 1, "growth": 3} | options)))


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture [3, H, W] uint8, smooth with some noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / 20
    waves = np.stack([np.sin(rows * (1 + c) + columns + 3 * rng.random()) for c in range(3)])
    noisy = 127 + 80 * waves + 20 * rng.standard_normal(waves.shape)
    return noisy.clip(0, 255).astype(np.uint8)
