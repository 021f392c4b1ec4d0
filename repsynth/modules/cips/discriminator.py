"""The discriminator: StyleGAN2's residual network for images of one size (paper section 3.4; official code)."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from repsynth.errors import UserError, require_at_least
from repsynth.geometry.precision import full_precision
from repsynth.modules.cips.blur import blurred
from repsynth.modules.cips.equalised import EqualConv2d, EqualLinear

SMALLEST = 4
"""Side of the maps that the blocks end with."""
GROUP = 4
"""Images of a set for the minibatch standard deviation, at most."""


class _Block(nn.Module):
    """Two 3x3 convolutions, the second halving both sides, beside a 1x1 that does so too; over sqrt(2)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = EqualConv2d(channels_in, channels_in, 3, padding=1)
        self.second = EqualConv2d(channels_in, channels_out, 3, stride=2, gain=0.5**0.5)
        self.skip = EqualConv2d(channels_in, channels_out, 1, activate=False, gain=0.5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        skip: Tensor = self.skip(blurred(x, padding=1, stride=2))
        main: Tensor = self.second(blurred(self.first(x), padding=2))
        return main + skip


class CIPSDiscriminator(nn.Module):
    """Scores of images of one size; differentiable twice.

    Args:
        size: side of the images, the crop size in patch training: a power of two, at least 4.
        channels: 3, or 5 for images with their coordinates.
        first_layers: additional 3x3 convolutions before the blocks.
        width: channels of maps of 64 pixels and less; larger ones halve it with every doubling.
        section: what messages call the place of these options.

    Raises:
        UserError: a size that is no power of two, a number out of its range, or too narrow for the size.
    """

    def __init__(
        self,
        size: int = 256,
        channels: int = 3,
        first_layers: int = 0,
        width: int = 512,
        section: str = "model.discriminator",
    ) -> None:
        super().__init__()
        require_at_least(section, 1, channels=channels, width=width)
        require_at_least(section, 0, first_layers=first_layers)
        if size < SMALLEST or size & (size - 1):
            raise UserError(
                f"{section} is to see images of {size} pixels a side; expected a power of two of at least {SMALLEST}: "
                "change data.image_size or the size of the crops"
            )
        widths = _widths(size, width, section)
        self.size, self.channels = size, channels
        self.first = EqualConv2d(channels, widths[0], 1)
        self.first_layers = nn.Sequential(
            *(EqualConv2d(widths[0], widths[0], 3, padding=1) for _ in range(first_layers))
        )
        self.blocks = nn.Sequential(*(_Block(before, after) for before, after in pairwise(widths)))
        self.last = EqualConv2d(widths[-1] + 1, width, 3, padding=1)
        self.hidden = EqualLinear(width * SMALLEST**2, width, activate=True)
        self.score = EqualLinear(width, 1)

    def check_size(self, height: int, width: int) -> None:
        """Raise UserError unless images have the size that the network is built for."""
        if (height, width) != (self.size, self.size):
            raise UserError(
                f"The discriminator is built for images of {self.size}x{self.size} pixels, but gets {height}x{width}; "
                "change data.image_size or the size of the crops."
            )

    def forward(self, images: Tensor) -> Tensor:
        """Return scores [B, 1], large for images taken for real, float32.

        Args:
            images: [B, channels, size, size] in [-1, 1].

        Raises:
            UserError: images of another size.
        """
        self.check_size(*images.shape[-2:])
        x = self.blocks(self.first_layers(self.first(images)))
        x = self.last(with_deviation(x))
        scores: Tensor = self.score(self.hidden(x.flatten(1)))
        return scores.to(torch.promote_types(scores.dtype, torch.float32))


@full_precision
def with_deviation(x: Tensor) -> Tensor:
    """Append the minibatch standard deviation to x [B, C, H, W] as one more channel.

    The batch falls into sets of G, the largest divisor of B up to 4 (the official code takes min(B, 4), and fails where
    that is no divisor); image b belongs to set b modulo B / G. The channel holds one number per set: the mean over
    channels and positions of the standard deviation over the set's images, with the biased variance.
    """
    images = len(x)
    group = max(count for count in range(1, GROUP + 1) if images % count == 0)
    sets = x.unflatten(0, (group, images // group))
    deviation = (sets.var(0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    channel = deviation.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
    return torch.cat((x, channel), dim=1)


def _widths(size: int, width: int, section: str) -> list[int]:
    """Channels of the maps of every side from `size` down to `SMALLEST`."""
    sides = [size >> level for level in range(int(math.log2(size // SMALLEST)) + 1)]
    widths = [width * 64 // max(side, 64) for side in sides]
    if widths[0] < 1:
        raise UserError(
            f"{section}.width is {width}; expected at least {size // 64} for images of {size} pixels a side"
        )
    return widths
