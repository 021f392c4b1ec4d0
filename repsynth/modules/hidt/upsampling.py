"""Doubling the size of the decoder's activations, and joining those that skipped the bottleneck."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsynth.modules.hidt.normalisation import Source, layer_normalised
from repsynth.nn.norm import TotalLayerNorm
from repsynth.nn.reflection import ReflectedConv2d, reflected

Upsampling = Literal["split", "plain"]
"""How a convolution of enlarged activations is computed, see `UpBlock`."""

KERNEL, MARGIN = 7, 3
_SMALLEST = 3
"""Pixels before the enlargement that `split` needs in either direction."""


class UpBlock(nn.Module):
    """Nearest-neighbour enlargement, skip joined, 7x7 convolution, total layer norm, ReLU.

    Every value of an enlarged image occurs four times, so `split` adds up weights instead of multiplying equal values:
    a 4x4 convolution of the small image gives the four results that lie on each of its pixels, 16 products for each
    instead of 49. Pixels of the skip are taken four at a time with them. Both ways agree to rounding; `split` takes
    about half the time on a CPU (`benchmarks/hidt.py --parts layers`), and needs neither the enlarged image nor its
    junction with the skip in memory.

    Args:
        channels_in: of the activations, halved by the convolution.
        skip_channels: of the skip; 0 for none.
        upsampling: split, or plain.
    """

    def __init__(self, channels_in: int, skip_channels: int, upsampling: Upsampling = "split") -> None:
        super().__init__()
        self.conv = ReflectedConv2d(channels_in + skip_channels, channels_in // 2, KERNEL, margin=MARGIN)
        self.norm = TotalLayerNorm(channels_in // 2)
        self.upsampling: Upsampling = upsampling

    def forward(self, x: Tensor, skip: Tensor | None, source: Source | None = None) -> Tensor:
        """Map x [B, C, h, w] and its skip [B, k, 2 h, 2 w] to [B, C / 2, 2 h, 2 w]."""
        if self.upsampling == "split" and min(x.shape[-2:]) >= _SMALLEST:
            y = _split(x, skip, self.conv.weight, self.conv.bias)
        else:
            wide = _doubled(x)
            y = self.conv(wide if skip is None else torch.cat((wide, skip), dim=1))
        return F.relu_(layer_normalised(y, self.norm, source))


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _split(x: Tensor, skip: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution [B, O, 2 h, 2 w] of enlarged x and skip, by the weight [O, C + k, 7, 7]."""
    of_x, of_skip = weight.split([x.shape[1], weight.shape[1] - x.shape[1]], dim=1)
    seen, kernel = _mirrored(_mirrored(x, 2), 3), _summed(of_x)
    if skip is not None:
        blocks = F.pixel_unshuffle(reflected(skip, *(4 * (MARGIN + 1,))), 2)
        seen, kernel = torch.cat((seen, blocks), dim=1), torch.cat((kernel, _spread(of_skip)), dim=1)
    all_biases = None if bias is None else bias.repeat_interleave(4)
    # The results of odd pixels come first, and lie one before those of even ones: so both are moved by one.
    y = F.pixel_shuffle(F.conv2d(seen, kernel, all_biases), 2)[..., 1:-1, 1:-1]
    _correct_border(y, x, of_x)
    return y


# Of the 4 x 4 small pixels that a result depends on, those of even results begin one before those of odd ones. In a row
# of the enlarged image, tap k of the result at 2 m + phase falls on small pixel m + phase - 2 + block, as its first or
# second copy.


def _taps(weight: Tensor) -> Tensor:
    """[phase, block, copy, k] ones where tap k falls, in the type and place of a weight; phase 1 comes first."""
    taps = weight.new_zeros(2, 4, 2, KERNEL)
    for phase in range(2):
        for k in range(KERNEL):
            block, copy = divmod(k + 1 - phase, 2)
            taps[1 - phase, block, copy, k] = 1
    return taps


def _summed(weight: Tensor) -> Tensor:
    """The kernel [4 O, C, 4, 4] for pixels whose copies are equal, of a weight [O, C, 7, 7]; each O has 4 phases."""
    taps = _taps(weight).sum(2)
    return torch.einsum("ipk,jql,ockl->oijcpq", taps, taps, weight).flatten(0, 2)


def _spread(weight: Tensor) -> Tensor:
    """The kernel [4 O, 4 k, 4, 4] for full pixels that are taken four at a time, of a weight [O, k, 7, 7]."""
    taps = _taps(weight)
    return torch.einsum("ipsk,jqtl,ockl->oijcstpq", taps, taps, weight).flatten(3, 5).flatten(0, 2)


def _mirrored(x: Tensor, axis: int) -> Tensor:
    """x with two more values before and after, the outermost ones repeated: ... 1 0 | 0 1 2 ..."""
    first, last = x.narrow(axis, 0, 2), x.narrow(axis, x.shape[axis] - 2, 2)
    return torch.cat((first.flip(axis), x, last.flip(axis)), dim=axis)


def _correct_border(y: Tensor, x: Tensor, weight: Tensor) -> None:
    """Add to a result what it lacks because both copies of a pixel could only be repeated together beyond the border.

    The enlarged image is reflected about its outermost pixel: the one before it is its copy, but the one before that is
    the second small pixel, where `_mirrored` has the first one once more. The difference is one line beyond each side
    of the image. Rows are corrected first, in which columns are reflected as they shall be; then columns, whose rows
    are still those of `_mirrored`.
    """
    _add_lines(y, x, weight, lambda line: reflected(line, MARGIN, MARGIN, 0, 0))
    _add_lines(y.mT, _mirrored(x, 2).mT, weight.mT, lambda line: line[..., 1:-1])


def _add_lines(y: Tensor, x: Tensor, weight: Tensor, widened: Callable[[Tensor], Tensor]) -> None:
    """Add to the two outermost rows at the top and the bottom of y what one row beyond gives them, by one tap each."""
    last = x.shape[2] - 1
    for outer, inner, taps, first in ((0, 1, (1, 0), 0), (last, last - 1, (6, 5), 2 * last)):
        row = _doubled(x.narrow(2, inner, 1) - x.narrow(2, outer, 1))[:, :, :1]
        kernel = torch.cat([weight.narrow(2, tap, 1) for tap in taps])
        found = F.conv2d(widened(row), kernel).unflatten(1, (2, -1))
        y.narrow(2, first, 2).add_(found.squeeze(3).transpose(1, 2))
