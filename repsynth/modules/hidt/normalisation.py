"""Instance normalisation, adaptive or not, and total layer norm, with statistics measured or given.

A translation in tiles needs the statistics of the whole photo in every tile. So a network takes a `Source` of
statistics: none measures those of what passes through; `recording` keeps what it measures, in the order of the
network's normalisations, and `replaying` hands that out again.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from repsynth.geometry.precision import widened
from repsynth.nn.norm import TotalLayerNorm

EPSILON = 1e-5
"""Added to variances under the root by instance norm."""


class Moments(NamedTuple):
    """Statistics of activations, float32, that broadcast over [B, C, H, W]."""

    mean: Tensor
    deviation: Tensor
    """What to divide by."""


class Modulation(NamedTuple):
    """What is made of normalised activations: `scale * x + shift`, [B or 1, C] each."""

    shift: Tensor
    scale: Tensor


Source = Callable[[Callable[[], Moments]], Moments]
"""Gets a way to measure statistics, and returns those to use."""


def recording(kept: list[Moments]) -> Source:
    """Return a source that measures, and appends to a list what it found."""

    def source(measure: Callable[[], Moments]) -> Moments:
        kept.append(measure())
        return kept[-1]

    return source


def replaying(kept: Sequence[Moments]) -> Source:
    """Return a source of recorded statistics, for one pass through the same network."""
    rest = iter(kept)
    return lambda _measure: next(rest)


def instance_normalised(
    x: Tensor, modulation: Modulation | None = None, source: Source | None = None
) -> Tensor:
    """Normalise every channel of every image, `(x - mean) / sqrt(biased variance + 1e-5)`, then modulate it.

    Args:
        x: [B, C, H, W], of more than one pixel.
        modulation: of B images; None leaves the normalised values.
        source: of the statistics; None measures them.

    Returns:
        [B, C, H, W] in the type and memory format of x; computed in float32.
    """
    if source is None and x.is_contiguous():
        return _fused(x, modulation)
    by_pixel = not x.is_cuda and x.is_contiguous(memory_format=torch.channels_last)
    if source is None and by_pixel and not torch.is_grad_enabled():
        return _fused_by_image(x, modulation)
    return _normalised(x, (2, 3), _channel_deviation, modulation, source)


def layer_normalised(x: Tensor, norm: TotalLayerNorm, source: Source | None = None) -> Tensor:
    """Apply a total layer norm to x [B, C, H, W], in the type and memory format of x; computed in float32.

    Equal to the norm's own `forward`, but its statistics may come from a source, and they are measured in two passes,
    which are several times faster on a CPU and keep one tensor less for the gradient.
    """
    modulation = Modulation(norm.beta[None], norm.gamma[None])
    return _normalised(x, (1, 2, 3), _total_deviation, modulation, source)


def _fused(x: Tensor, modulation: Modulation | None) -> Tensor:
    """Batch norm of one image whose channels are those of all images; keeps x alone for the gradient."""
    shift, scale = (part if part is None else part.flatten() for part in _of_images(x, modulation))
    one = x.reshape(1, -1, *x.shape[2:])
    return F.batch_norm(one, None, None, scale, shift, training=True, eps=EPSILON).view_as(x)


def _fused_by_image(x: Tensor, modulation: Modulation | None) -> Tensor:
    """Batch norm of each image; on a CPU faster than all images as one, where the channels of a pixel lie together."""
    shifts, scales = _of_images(x, modulation)
    y, statistics = torch.empty_like(x), _unused_statistics(x if scales is None else scales)
    for n in range(len(x)):
        shift, scale = (part if part is None else part[n] for part in (shifts, scales))
        torch.native_batch_norm(
            x[n : n + 1], scale, shift, None, None, True, 0, EPSILON, out=(y[n : n + 1], *statistics)
        )
    return y


def _unused_statistics(like: Tensor) -> tuple[Tensor, Tensor]:
    """Where mean and deviation of channels go, in the type of a tensor [B, C, ...]."""
    return like.new_empty(like.shape[1]), like.new_empty(like.shape[1])


def _of_images(x: Tensor, modulation: Modulation | None) -> tuple[Tensor | None, Tensor | None]:
    """Shift and scale [B, C] of each image of x, in float32 or wider: on a CPU statistics have the type of these."""
    wide = torch.promote_types(x.dtype, torch.float32)
    if modulation is None:
        if x.dtype == wide:
            return None, None
        channels = (1, x.shape[1])
        modulation = Modulation(x.new_zeros(channels, dtype=wide), x.new_ones(channels, dtype=wide))
    return modulation.shift.to(wide).expand(len(x), -1), modulation.scale.to(wide).expand(len(x), -1)


def _normalised(
    x: Tensor,
    axes: tuple[int, ...],
    deviation_of: Callable[[Tensor], Tensor],
    modulation: Modulation | None,
    source: Source | None,
) -> Tensor:
    wide: Tensor = widened(x)

    def measured() -> Moments:
        mean = wide.mean(axes, keepdim=True)
        return Moments(mean, deviation_of(wide - mean))

    if source is None:
        centred = wide - wide.mean(axes, keepdim=True)
        deviation = deviation_of(centred)
    else:
        mean, deviation = source(measured)
        centred = wide - mean
    if modulation is None:
        return (centred / deviation).to(x.dtype)
    shift, scale = (part[:, :, None, None] for part in modulation)
    return torch.addcmul(shift, centred, scale / deviation).to(x.dtype)


def _channel_deviation(centred: Tensor) -> Tensor:
    return (centred.square().mean((2, 3), keepdim=True) + EPSILON).sqrt()


def _total_deviation(centred: Tensor) -> Tensor:
    """As `TotalLayerNorm` has it; the root of zero has no gradient."""
    values = centred[0].numel()
    variance = centred.square().sum((1, 2, 3), keepdim=True) / (values - 1)
    return variance.clamp_min(1e-12).sqrt() + TotalLayerNorm.EPSILON
