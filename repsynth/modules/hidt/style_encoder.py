"""E_s: from a photo to its style code (official code)."""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsynth.errors import UserError
from repsynth.geometry.precision import full_precision
from repsynth.nn.reflection import ReflectedConv2d


class StyleEncoder(nn.Module):
    """Convolutions without any normalisation, because the statistics are the style, and a mean over all positions.

    Args:
        style_size: numbers of a style.
        width: channels at full size; doubles twice.
        downsamplings: convolutions of stride 2.
    """

    SLOPE = 0.2

    def __init__(self, style_size: int, width: int, downsamplings: int) -> None:
        super().__init__()
        widths = [width * 2 ** min(level, 2) for level in range(downsamplings + 1)]
        downs = pairwise(widths)
        self.convs = nn.ModuleList(
            [
                ReflectedConv2d(3, width, 7, margin=3),
                *(ReflectedConv2d(before, after, 4, 2, margin=1) for before, after in downs),
            ]
        )
        self.head = nn.Conv2d(widths[-1], style_size, 1)

    @property
    def smallest_side(self) -> int:
        """The least pixels that each side must have."""
        return max(2 ** (len(self.convs) - 1), 4)

    def check_size(self, height: int, width: int) -> None:
        """Raise UserError for images that are too small."""
        if min(height, width) < self.smallest_side:
            raise UserError(
                f"The style encoder needs image sides of at least {self.smallest_side} pixels, but gets "
                f"{height}x{width}; use larger photos, or lower model.generator.style_downsamplings."
            )

    def forward(self, images: Tensor) -> Tensor:
        """Return the styles [B, style_size] of images [B, 3, H, W] in [-1, 1], float32.

        Raises:
            UserError: images that are too small.
        """
        self.check_size(*images.shape[-2:])
        x = images
        for conv in cast("list[ReflectedConv2d]", self.convs):
            x = F.leaky_relu_(conv(x), self.SLOPE)
        means = x.mean((2, 3), keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        return full_precision(self.head)(means).flatten(1)
