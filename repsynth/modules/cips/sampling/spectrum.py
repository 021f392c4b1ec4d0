"""How much images have of every spatial frequency, to show what upsampling would leave behind."""

from typing import Any

import torch
from torch import Tensor

_GREY = (0.299, 0.587, 0.114)
"""Of red, green and blue (BT.601)."""
_FLOOR = 1e-9
"""Added to the power before its logarithm: a thousandth of what rounding to 8 bits leaves everywhere."""
_PIXELS = 2**20
"""Transformed together."""


def frequencies(height: int, width: int) -> Tensor:
    """Return the spatial frequencies of `spectrum`, [F] in cycles per pixel: k / S up to 0.5, S the shorter side."""
    shorter = min(height, width)
    return torch.arange(shorter // 2 + 1, dtype=torch.float64) / shorter


def spectrum(images: Tensor) -> Tensor:
    """Return the azimuthal average of the power spectrum of images, [B, F] float64, as logarithms to base 10.

    Power is averaged before the logarithm: what upsampling leaves behind are few bright points of a ring, which hardly
    change the mean of their ring's logarithms.

    Grey values less their mean go through a Hann window; power is divided by the window's, so that white noise of
    variance v has the mean power v at every frequency. What lies beyond 0.5 cycles per pixel, in the corners, is left
    out.

    Args:
        images: [B, 3, H, W] in [0, 1] or uint8; sides of at least 4.
    """
    unit = images.double() / 255 if images.dtype == torch.uint8 else images.double()
    grey = torch.einsum("bchw,c->bhw", unit, unit.new_tensor(_GREY))
    height, width = grey.shape[1:]
    across, down = (torch.hann_window(side, dtype=grey.dtype, device=grey.device) for side in (width, height))
    window = down[:, None] * across
    windowed = (grey - grey.mean(dim=(1, 2), keepdim=True)) * window
    power = torch.fft.fft2(windowed).abs().square() / window.square().sum()
    return (_around(power) + _FLOOR).log10()


def _around(values: Tensor) -> Tensor:
    """The mean [B, F] of values [B, H, W] at the frequencies of a discrete Fourier transform, over all directions."""
    height, width = values.shape[1:]
    fy, fx = (torch.fft.fftfreq(side, dtype=values.dtype, device=values.device) for side in (height, width))
    ring = ((fy[:, None].square() + fx.square()).sqrt() * min(height, width)).round().long().flatten()
    count = min(height, width) // 2 + 1
    inside = ring < count
    sums = values.new_zeros(len(values), count).index_add_(1, ring[inside], values.flatten(1)[:, inside])
    return sums / torch.bincount(ring[inside], minlength=count)


class SpectrumStatistics:
    """Mean and deviation of the spectra of a set of images, which come batch by batch.

    Attributes:
        count: images seen.
        size: their (height, width); None before the first.
    """

    def __init__(self) -> None:
        self.count = 0
        self.size: tuple[int, int] | None = None
        self._sum = self._squares = torch.zeros(())

    def add(self, images: Tensor) -> None:
        """Count images [B, 3, H, W], uint8 or in [0, 1].

        Raises:
            ValueError: of another size than before.
        """
        height, width = images.shape[-2:]
        if self.size not in (None, (height, width)):
            raise ValueError(f"images of {height}x{width} pixels after images of {self.size}")
        few = images.split(max(1, _PIXELS // (height * width)))
        found = torch.cat([spectrum(part) for part in few]).cpu()
        self.size, self.count = (height, width), self.count + len(found)
        self._sum = self._sum + found.sum(0)
        self._squares = self._squares + found.square().sum(0)

    @property
    def mean(self) -> Tensor:
        """[F] float64."""
        return self._sum / self.count

    @property
    def deviation(self) -> Tensor:
        """Standard deviation over images, [F] float64."""
        return (self._squares / self.count - self.mean.square()).clamp(min=0).sqrt()

    def as_figures(self) -> dict[str, Any]:
        """What is known of the set, for JSON."""
        return {"images": self.count, "mean": self.mean.tolist(), "deviation": self.deviation.tolist()}
