"""G: from a content and a style to an image and its segmentation map (official code)."""

from typing import NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional as F

from repsynth.geometry.precision import full_precision
from repsynth.modules.hidt.content_encoder import Content
from repsynth.modules.hidt.modulation import ModulationNetwork
from repsynth.modules.hidt.normalisation import Modulation, Source, instance_normalised
from repsynth.modules.hidt.options import GeneratorOptions
from repsynth.modules.hidt.residual import ResidualBlock
from repsynth.modules.hidt.upsampling import UpBlock
from repsynth.modules.hidt.wide_convolution import wide_convolution
from repsynth.nn.reflection import ReflectedConv2d, reflected


class Translation(NamedTuple):
    """What the decoder gives for B images, float32."""

    images: Tensor
    """[B, 3, H, W] in (-1, 1)."""
    maps: Tensor | None
    """[B, K, H, W]: logits of K classes, or with segmentation `colours` a coloured map in (-1, 1)."""


class Decoder(nn.Module):
    """Residual blocks with adaptive instance norm, then enlargements, each joined by a skip.

    A skip passes through a convolution and an adaptive norm of its own: a plain one would carry the old light along.
    All parameters of adaptive norms are arguments of the layers, none is kept on them between calls.

    Args:
        options: of the generator.
    """

    def __init__(self, options: GeneratorOptions) -> None:
        super().__init__()
        levels, skip = options.skip_levels, options.skip_channels
        widths = [options.width * 2**level for level in range(options.downsamplings + 1)]
        self.skip_levels, self.segmentation = levels, options.segmentation
        self.blocks = nn.ModuleList(ResidualBlock(widths[-1]) for _ in range(options.decoder_blocks))
        self.skips = nn.ModuleList(ReflectedConv2d(skip, skip, 7, margin=3) for _ in levels)
        self.ups = nn.ModuleList(
            UpBlock(widths[level + 1], skip if level in levels else 0, options.upsampling)
            for level in reversed(range(options.downsamplings))
        )
        self.out = ReflectedConv2d(options.width, 3 + options.map_channels, 9, margin=4)
        channels = [*2 * options.decoder_blocks * [widths[-1]], *len(levels) * [skip]]
        self.modulation = ModulationNetwork(
            options.style_size, options.adain_width, options.adain_layers, channels
        )

    def forward(
        self, content: Content, styles: Tensor, maps: bool = True, source: Source | None = None
    ) -> Translation:
        """Decode the contents of B images in B styles [B, style_size].

        Args:
            content: of B images.
            styles: see above.
            maps: compute segmentation maps, if the network has a head for them; images alone cost less.
            source: of the statistics of the norms; None measures them.
        """
        modulations = iter(self.modulation(styles))
        x = content.code
        for block in cast("list[ResidualBlock]", self.blocks):
            x = block(x, (next(modulations), next(modulations)), source)
        skips = {
            level: self._skip(conv, skip, modulation, source)
            for level, conv, skip, modulation in zip(
                self.skip_levels, self.skips, content.skips, modulations, strict=True
            )
        }
        for number, up in enumerate(cast("list[UpBlock]", self.ups)):
            x = up(x, skips.get(len(self.ups) - 1 - number), source)
        return self._heads(x, maps)

    def _skip(self, conv: nn.Module, skip: Tensor, modulation: Modulation, source: Source | None) -> Tensor:
        return F.relu_(instance_normalised(conv(skip), modulation, source))

    @full_precision
    def _heads(self, x: Tensor, maps: bool) -> Translation:
        """Both heads are one convolution; in half precision their colours would be in visible steps."""
        channels = None if maps else 3
        assert self.out.bias is not None
        padded = reflected(x, *(4 * (self.out.margin,)))
        raw = wide_convolution(padded, self.out.weight[:channels], self.out.bias[:channels])
        images, rest = raw[:, :3].tanh(), raw[:, 3:]
        if not rest.shape[1]:
            return Translation(images, None)
        return Translation(images, rest.tanh() if self.segmentation == "colours" else rest)
