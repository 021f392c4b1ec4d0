"""A discriminator that judges patches at several scales, after pix2pixHD (Wang et al. 2018)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from repsynth.errors import UserError, require_at_least


class Judgement(NamedTuple):
    """What the discriminator answers, one entry per scale, the finest first."""

    scores: list[Tensor]
    """[B, 1, h, w] each, large where a patch looks real."""
    features: list[Tensor]
    """[B, c, h, w] each: the activations of every layer of every scale, for feature matching."""


class _Scale(nn.Module):
    """Convolutions 4x4 of stride 2, one 3x3, and the scores; leaky ReLU 0.2 between them."""

    def __init__(self, channels: int, width: int, levels: int, spectral: bool) -> None:
        super().__init__()
        widths = [min(width * 2**level, 8 * width) for level in range(levels)]
        convs = [
            nn.Conv2d(before, after, 4, stride=2, padding=1)
            for before, after in zip([channels, *widths], widths, strict=False)
        ]
        convs.append(nn.Conv2d(widths[-1], widths[-1], 3, padding=1))
        score = nn.Conv2d(widths[-1], 1, 3, padding=1)
        self.convs = nn.ModuleList(spectral_norm(conv) if spectral else conv for conv in convs)
        self.score = spectral_norm(score) if spectral else score

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = [images]
        for conv in self.convs:
            features.append(F.leaky_relu(_convolved(conv, features[-1]), 0.2))
        return _convolved(self.score, features[-1]), features[1:]


class PatchDiscriminator(nn.Module):
    """The same convolutional network, with weights of its own, on the images and on their halves.

    It has no normalisation that mixes images or positions: a batch norm would tie the images of a batch, which
    gradient penalties, accumulation and DDP forbid, and an instance norm hides the mean colour, which a generator of
    colours has to learn from it.

    Args:
        channels: of the images.
        width: channels of the first convolution; doubles with every level, up to eight times.
        levels: convolutions of stride 2; with three, a score sees 54 pixels of its scale.
        scales: how many sizes are judged, each half of the one before.
        spectral: spectral normalisation of every convolution.
        section: what messages call the place of these options.

    Raises:
        UserError: a number below 1.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        levels: int = 3,
        scales: int = 2,
        spectral: bool = False,
        section: str = "model.discriminator",
    ) -> None:
        super().__init__()
        require_at_least(section, 1, width=width, levels=levels, scales=scales)
        self.levels, self.section = levels, section
        self.scales = nn.ModuleList(_Scale(channels, width, levels, spectral) for _ in range(scales))

    @property
    def smallest_side(self) -> int:
        """The least pixels that each side must have: the coarsest scale then has a score."""
        return 2 ** (self.levels + len(self.scales) - 1)

    def check_size(self, height: int, width: int) -> None:
        """Raise UserError unless every scale has at least one score of images of this size."""
        if min(height, width) < self.smallest_side:
            raise UserError(
                f"The discriminator with levels={self.levels} and scales={len(self.scales)} needs image sides of at "
                f"least {self.smallest_side} pixels, but gets {height}x{width}; change data.image_size, or lower "
                f"{self.section}.levels or {self.section}.scales."
            )

    def forward(self, images: Tensor) -> Judgement:
        """Judge images [B, channels, H, W], in any range.

        Raises:
            UserError: images that are too small.
        """
        self.check_size(*images.shape[-2:])
        judgement = Judgement([], [])
        for number, scale in enumerate(self.scales):
            images = F.avg_pool2d(images, 2) if number else images
            scores, features = scale(images)
            judgement.scores.append(scores)
            judgement.features.extend(features)
        return judgement


def _convolved(conv: nn.Module, x: Tensor) -> Tensor:
    """Convolve; the power iteration of a spectrally normalised weight would lose its vectors in half precision."""
    assert isinstance(conv, nn.Conv2d)
    with torch.autocast(x.device.type, enabled=False):
        weight = conv.weight
    return F.conv2d(x, weight, conv.bias, conv.stride, conv.padding)
