"""The two discriminators: how real an image looks, and how real it looks as an image in a given style.

Paper section 3; their layers are MUNIT's, and the style enters by projection (Miyato and Koyama 2018): neither is in
the official release.
"""

from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from repsynth.errors import UserError
from repsynth.geometry.precision import full_precision
from repsynth.modules.hidt.initialisation import initialise
from repsynth.modules.hidt.options import DiscriminatorOptions
from repsynth.nn.patch_discriminator import Judgement
from repsynth.nn.reflection import ReflectedConv2d


class Verdicts(NamedTuple):
    """What both discriminators answer."""

    unconditional: Judgement
    conditional: Judgement


class HiDTDiscriminators(nn.Module):
    """Multi-scale patch discriminators without normalisation of activations.

    Args:
        style_size: numbers of a style.
        options: see `DiscriminatorOptions`.

    Raises:
        UserError: an option out of its range.
    """

    def __init__(
        self,
        style_size: int,
        options: DiscriminatorOptions = DiscriminatorOptions(),  # noqa: B008  frozen
    ) -> None:
        super().__init__()
        options.check()
        self.options = options
        trunks = 1 if options.shared_trunk else 2
        self.trunks = nn.ModuleList(_Trunk(options) for _ in range(trunks))
        self.unconditional = nn.ModuleList(_Head(options, None) for _ in range(options.scales))
        self.conditional = nn.ModuleList(_Head(options, style_size) for _ in range(options.scales))

    @property
    def smallest_side(self) -> int:
        """The least pixels that each side must have: the coarsest scale can then be padded at every level."""
        return (2**self.options.levels - 1) * 2 ** (self.options.scales - 1) + 1

    def check_size(self, height: int, width: int) -> None:
        """Raise UserError unless every scale has at least one score of images of this size."""
        if min(height, width) < self.smallest_side:
            raise UserError(
                f"The discriminators with levels={self.options.levels} and scales={self.options.scales} need image "
                f"sides of at least {self.smallest_side} pixels, but get {height}x{width}; use larger images, or lower "
                "model.discriminator.levels or model.discriminator.scales."
            )

    def forward(self, images: Tensor, styles: Tensor) -> Verdicts:
        """Judge images [B, 3, H, W] in [-1, 1], the second time as ones in styles [B, style_size].

        No gradient flows into the styles, by which the style encoder could help the discriminator.

        Raises:
            UserError: images that are too small.
        """
        self.check_size(*images.shape[-2:])
        features = [trunk(images) for trunk in self.trunks]
        styles = styles.detach()
        return Verdicts(
            _judged(features[0], self.unconditional, styles), _judged(features[-1], self.conditional, styles)
        )


class _Trunk(nn.Module):
    """The features of every layer of every scale, the finest scale first."""

    def __init__(self, options: DiscriminatorOptions) -> None:
        super().__init__()
        widths = [3, *_widths(options)]
        self.scales = nn.ModuleList(
            nn.ModuleList(
                _normalised(ReflectedConv2d(before, after, 4, 2, margin=1), options.spectral)
                for before, after in pairwise(widths)
            )
            for _ in range(options.scales)
        )

    def forward(self, images: Tensor) -> list[list[Tensor]]:
        features = []
        for number, convs in enumerate(cast("list[nn.ModuleList]", self.scales)):
            if number:
                images = F.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            layers = [images]
            for conv in convs:
                layers.append(F.leaky_relu(conv(layers[-1]), 0.2))
            features.append(layers[1:])
        return features


class _Head(nn.Module):
    """Scores of one scale: a 1x1 convolution, plus the inner product with an embedding of the style."""

    def __init__(self, options: DiscriminatorOptions, style_size: int | None) -> None:
        super().__init__()
        channels = _widths(options)[-1]
        self.score = _normalised(ReflectedConv2d(channels, 1, 1), options.spectral)
        self.embedding = (
            _normalised(nn.Linear(style_size, channels, bias=False), options.spectral) if style_size else None
        )

    def forward(self, features: Tensor, styles: Tensor) -> Tensor:
        scores: Tensor = self.score(features)
        if self.embedding is None:
            return scores
        embedded = full_precision(self.embedding)(styles).to(features.dtype)
        return scores + torch.einsum("bchw,bc->bhw", features, embedded)[:, None]


def _judged(features: list[list[Tensor]], heads: nn.ModuleList, styles: Tensor) -> Judgement:
    scores = [head(layers[-1], styles) for head, layers in zip(heads, features, strict=True)]
    return Judgement(scores, [layer for layers in features for layer in layers])


def _widths(options: DiscriminatorOptions) -> list[int]:
    return [min(options.width * 2**level, 8 * options.width) for level in range(options.levels)]


def _normalised(layer: nn.Module, spectral: bool) -> nn.Module:
    """The layer with its first weights, spectrally normalised if asked for."""
    initialise(layer)
    return spectral_norm(layer) if spectral else layer
