"""E_c: from a photo to its content code, and the activations that skip the bottleneck (official code)."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsynth.modules.hidt.normalisation import Source, instance_normalised
from repsynth.modules.hidt.residual import ResidualBlock
from repsynth.nn.layout import laid_out
from repsynth.nn.reflection import ReflectedConv2d


class Content(NamedTuple):
    """What a decoder needs of B images beside a style; code and skips of the same pass belong together."""

    code: Tensor
    """[B, C, H / 2^D, W / 2^D] after D downsamplings."""
    skips: tuple[Tensor, ...]
    """[B, k, H / 2^l, W / 2^l] of every level l with a skip, in the order of the option `skip_levels`."""

    def part(self, images: slice) -> "Content":
        """Content of some of the images."""
        return Content(self.code[images], tuple(skip[images] for skip in self.skips))

    def expand(self, count: int) -> "Content":
        """The content of one image as that of `count` images, without copying it."""
        return Content(
            self.code.expand(count, -1, -1, -1), tuple(s.expand(count, -1, -1, -1) for s in self.skips)
        )

    def compact(self) -> "Content":
        """The same with skips of their own, which no longer hold the activations that they were cut from."""
        return Content(
            self.code, tuple(skip.clone(memory_format=torch.preserve_format) for skip in self.skips)
        )


def joined(contents: Sequence[Content]) -> Content:
    """Return the content of the images of several, in order."""
    codes, skips = zip(*contents, strict=True)
    return Content(torch.cat(codes), tuple(torch.cat(level) for level in zip(*skips, strict=True)))


class ContentEncoder(nn.Module):
    """Convolutions and residual blocks with instance norm, which takes the light of an image out of its content.

    Args:
        width: channels at full size, doubled by every downsampling.
        downsamplings: D.
        blocks: residual blocks at the smallest size.
        skip_channels: how many channels, the first ones, go into a skip.
        skip_levels: levels with a skip; level l has 1 / 2^l of the image's sides.
    """

    def __init__(
        self, width: int, downsamplings: int, blocks: int, skip_channels: int, skip_levels: Sequence[int]
    ) -> None:
        super().__init__()
        self.skip_channels, self.skip_levels = skip_channels, tuple(skip_levels)
        self.first = ReflectedConv2d(3, width, 9, margin=4)
        widths = [width * 2**level for level in range(downsamplings)]
        self.downs = nn.ModuleList(ReflectedConv2d(wide, 2 * wide, 6, 2, margin=2) for wide in widths)
        self.blocks = nn.ModuleList(ResidualBlock(width * 2**downsamplings) for _ in range(blocks))

    def forward(self, images: Tensor, source: Source | None = None) -> Content:
        """Encode images [B, 3, H, W] in [-1, 1]; sides are multiples of 2^D.

        Args:
            images: see above.
            source: of the statistics of the norms; None measures them.
        """
        # What that gains (`benchmarks/hidt.py --parts layers`) is not known of training.
        x = images if torch.is_grad_enabled() else laid_out(images)
        cut = []
        for conv in (self.first, *cast("list[ReflectedConv2d]", self.downs)):
            x = F.relu_(instance_normalised(conv(x), source=source))
            cut.append(x[:, : self.skip_channels])
        for block in cast("list[ResidualBlock]", self.blocks):
            x = block(x, source=source)
        return Content(x, tuple(cut[level] for level in self.skip_levels))
