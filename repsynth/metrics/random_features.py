"""The offline stand-in for published networks: a small convolutional network with weights from a fixed seed."""

import torch
from torch import Tensor, nn

from repsynth.metrics.features import Extractor, checksum
from repsynth.weights import RANDOM, fill_randomly

SMALLEST = 16
_CHANNELS = (16, 32, 40, 40)


class RandomFeatures(nn.Module):
    """Four convolutions with stride 2; the mean of each one's rectified maps: [N, 3, H, W] to [N, 128]."""

    def __init__(self) -> None:
        super().__init__()
        widths = zip((3, *_CHANNELS), _CHANNELS, strict=False)
        self.stages = nn.ModuleList(nn.Conv2d(inputs, outputs, 3, 2, 1) for inputs, outputs in widths)

    def forward(self, x: Tensor) -> Tensor:
        """Return means over space, from fine to coarse."""
        means = []
        for stage in self.stages:
            x = stage(x).relu()
            means.append(x.mean((2, 3)))
        return torch.cat(means, 1)


def random_extractor() -> Extractor:
    """Build the stand-in: distances in its features order sets of images, but compare with no published figure."""
    network = RandomFeatures()
    fill_randomly(network)
    return Extractor(RANDOM, network, checksum(network), _prepare, sum(_CHANNELS), "none", SMALLEST)


def _prepare(images: Tensor) -> Tensor:
    return images / 127.5 - 1
