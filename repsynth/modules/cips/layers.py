"""What the generator's layers learn, and what that becomes for the styles of some images."""

import torch
from torch import Tensor, nn

from repsynth.modules.cips.equalised import GAIN, EqualLinear
from repsynth.modules.cips.folding import fold_weight
from repsynth.modules.cips.products import Activation, Folded


class ModulatedLinear(nn.Module):
    """A linear layer without bias whose input channels are scaled by the style.

    Args:
        channels_in, channels_out: widths.
        style_size: of w.
        demodulate: normalise the rows of the scaled weight.
    """

    def __init__(self, channels_in: int, channels_out: int, style_size: int, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in))
        self.modulation = EqualLinear(style_size, channels_in, bias=1.0)
        self.demodulate = demodulate

    def fold(self, w: Tensor, gain: float = 1.0) -> Tensor:
        """Return the matrices [B, channels_out, channels_in] for styles w [B, style_size]."""
        return fold_weight(self.weight, self.modulation(w), gain, self.demodulate)


class StyledLayer(nn.Module):
    """Modulated linear layer, noise, bias, activation.

    Args:
        channels_in, channels_out: widths.
        style_size: of w.
        activation: see `Activation`.
    """

    def __init__(self, channels_in: int, channels_out: int, style_size: int, activation: Activation) -> None:
        super().__init__()
        self.linear = ModulatedLinear(channels_in, channels_out, style_size)
        self.strength = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.gain = GAIN if activation == "leaky_relu" else 1.0

    def fold(self, w: Tensor) -> Folded:
        """Fold styles w [B, style_size]; a leaky ReLU's gain moves into all that comes before it."""
        return Folded(self.linear.fold(w, self.gain), self.bias * self.gain, self.strength * self.gain)


class ToRGB(nn.Module):
    """Modulated linear layer to three channels without demodulation, and a bias.

    Args:
        channels_in: width.
        style_size: of w.
    """

    def __init__(self, channels_in: int, style_size: int) -> None:
        super().__init__()
        self.linear = ModulatedLinear(channels_in, 3, style_size, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def fold(self, w: Tensor) -> Folded:
        """Fold styles w [B, style_size]."""
        return Folded(self.linear.fold(w), self.bias)


class ResidualBlock(nn.Module):
    """Two styled layers beside the identity, or beside a plain linear layer where widths differ; over sqrt(2).

    Args:
        channels_in, channels_out: widths.
        style_size: of w.
        activation: see `Activation`.
    """

    def __init__(self, channels_in: int, channels_out: int, style_size: int, activation: Activation) -> None:
        super().__init__()
        self.first = StyledLayer(channels_in, channels_out, style_size, activation)
        self.second = StyledLayer(channels_out, channels_out, style_size, activation)
        self.skip = (
            None if channels_in == channels_out else nn.Parameter(torch.randn(channels_out, channels_in))
        )

    def fold(self, w: Tensor, second_w: Tensor) -> list[Folded]:
        """Fold the styles [B, style_size] of both layers; the skip, where there is one, comes last."""
        layers = [self.first.fold(w), self.second.fold(second_w)]
        if self.skip is not None:
            scaled = self.skip / self.skip.shape[1] ** 0.5
            layers.append(Folded(scaled.expand(len(w), -1, -1)))
        return layers
