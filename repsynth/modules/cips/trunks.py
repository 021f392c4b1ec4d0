"""The two stacks of styled layers between the input features and the colours."""

import math
from collections.abc import Sequence
from typing import Literal, cast

from torch import Tensor, nn

from repsynth.modules.cips.layers import ResidualBlock, StyledLayer, ToRGB
from repsynth.modules.cips.products import (
    Activation,
    Folded,
    Inputs,
    colours,
    residual,
    styled,
    styled_inputs,
    styled_with_colours,
)

Variant = Literal["skip", "residual"]
"""skip: `CIPSskip` of the official code, colours added up over stages. residual: `CIPSres`, colours at the end."""


def halvings(variant: Variant, grid_size: int) -> list[int]:
    """Return how often the width is halved at every stage, of which there are log2(grid_size) - 1.

    Official code: five stages of full width; the eighth of the residual variant is as wide as its seventh.
    """
    repeated = 1 if variant == "residual" else 0
    return [max(stage - 4 - repeated * (stage > 6), 0) for stage in range(int(math.log2(grid_size)) - 1)]


class SkipTrunk(nn.Module):
    """`CIPSskip`: stages of two styled layers, whose colours are added up.

    Args:
        channels_in: of the input features.
        grid_size: gives the number of stages.
        width: of the first five stages.
        style_size: of w.
        activation: see `Activation`.
    """

    def __init__(
        self, channels_in: int, grid_size: int, width: int, style_size: int, activation: Activation
    ) -> None:
        super().__init__()
        widths = [width >> count for count in halvings("skip", grid_size)]
        before = [width, *widths]
        self.first = StyledLayer(channels_in, width, style_size, activation)
        self.layers = nn.ModuleList(
            StyledLayer(start, after, style_size, activation)
            for narrow, after in zip(before, widths, strict=False)
            for start in (narrow, after)
        )
        self.to_rgb = nn.ModuleList(ToRGB(after, style_size) for after in widths)
        self.activation: Activation = activation
        self.noises = 1 + len(self.layers)
        self.styles = self.noises + len(self.to_rgb)

    def fold(self, styles: Sequence[Tensor]) -> list[Folded]:
        """Fold `self.styles` styles [B, style_size]: of the first layer, then of two layers and colours per stage."""
        modules: list[StyledLayer | ToRGB] = [self.first]
        layers, to_rgbs = cast("list[StyledLayer]", self.layers), cast("list[ToRGB]", self.to_rgb)
        for stage, to_rgb in enumerate(to_rgbs):
            modules += [*layers[2 * stage : 2 * stage + 2], to_rgb]
        return [module.fold(w) for module, w in zip(modules, styles, strict=True)]

    def colours(self, folded: Sequence[Folded], inputs: Inputs, noise: Sequence[Tensor | None]) -> Tensor:
        """Return the colours [B, 3, N] of folded layers, with noise [B, N] or None for each styled one."""
        layers, noises = iter(folded), iter(noise)
        x = styled_inputs(next(layers), inputs, next(noises), self.activation)
        rgb = None
        for _ in self.to_rgb:
            x = styled(next(layers), x, next(noises), self.activation)
            layer, to_rgb = next(layers), next(layers)
            x, rgb = styled_with_colours(layer, to_rgb, x, next(noises), rgb, self.activation)
        assert rgb is not None
        return rgb


class ResidualTrunk(nn.Module):
    """`CIPSres`: residual blocks, and one linear layer to the colours at the end.

    Args:
        channels_in: of the input features.
        grid_size: gives the number of blocks.
        width: of the first five blocks.
        style_size: of w.
        activation: see `Activation`.
    """

    def __init__(
        self, channels_in: int, grid_size: int, width: int, style_size: int, activation: Activation
    ) -> None:
        super().__init__()
        widths = [width >> count for count in halvings("residual", grid_size)]
        self.first = StyledLayer(channels_in, width, style_size, activation)
        self.blocks = nn.ModuleList(
            ResidualBlock(before, after, style_size, activation)
            for before, after in zip([width, *widths], widths, strict=False)
        )
        self.to_rgb = ToRGB(widths[-1], style_size)
        self.activation: Activation = activation
        self.noises = 1 + 2 * len(self.blocks)
        self.styles = self.noises + 1

    def fold(self, styles: Sequence[Tensor]) -> list[Folded]:
        """Fold `self.styles` styles [B, style_size]: of the first layer, two per block, the colours."""
        folded = [self.first.fold(styles[0])]
        blocks = cast("list[ResidualBlock]", self.blocks)
        for block, first, second in zip(blocks, styles[1::2], styles[2::2], strict=False):
            folded += block.fold(first, second)
        return [*folded, self.to_rgb.fold(styles[-1])]

    def colours(self, folded: Sequence[Folded], inputs: Inputs, noise: Sequence[Tensor | None]) -> Tensor:
        """Return the colours [B, 3, N] of folded layers, with noise [B, N] or None for each styled one."""
        layers = iter(folded)
        x = styled_inputs(next(layers), inputs, noise[0], self.activation)
        for index, block in enumerate(self.blocks):
            pair = noise[2 * index + 1 : 2 * index + 3]
            x = residual(layers, block.skip is not None, x, pair, self.activation)
        return colours(next(layers), x, None)
