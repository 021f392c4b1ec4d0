"""The translation network: content encoder, style encoder and decoder (paper section 3; official code)."""

import torch
from torch import Tensor, nn

from repsynth.errors import UserError
from repsynth.modules.hidt.content_encoder import Content, ContentEncoder
from repsynth.modules.hidt.decoder import Decoder, Translation
from repsynth.modules.hidt.initialisation import initialise
from repsynth.modules.hidt.normalisation import Source
from repsynth.modules.hidt.options import GeneratorOptions
from repsynth.modules.hidt.style_encoder import StyleEncoder


class HiDTGenerator(nn.Module):
    """Images [B, 3, H, W] in [-1, 1] become contents and styles, and these become images again.

    Args:
        options: see `GeneratorOptions`.

    Raises:
        UserError: an option out of its range.
    """

    def __init__(self, options: GeneratorOptions = GeneratorOptions()) -> None:  # noqa: B008  frozen
        super().__init__()
        options.check()
        self.options = options
        self.content_encoder = ContentEncoder(
            options.width,
            options.downsamplings,
            options.content_blocks,
            options.skip_channels,
            options.skip_levels,
        )
        self.style_encoder = StyleEncoder(options.style_size, options.width, options.style_downsamplings)
        self.decoder = Decoder(options)
        self.apply(initialise)

    @property
    def side_multiple(self) -> int:
        """What height and width must be multiples of."""
        return 2**self.options.downsamplings

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.out.weight.device

    @property
    def halo(self) -> int:
        """Pixels around a part of an image that its translation depends on beside the norms' statistics.

        Rounded up to a multiple of `side_multiple`.
        """
        options, radius = self.options, 4  # of the last convolution
        for _ in range(options.downsamplings):
            radius = -(-(radius + 3) // 2)  # convolution 7x7 after the enlargement
        radius += 2 * (options.decoder_blocks + options.content_blocks)
        for _ in range(options.downsamplings):
            radius = 2 * radius + 2  # convolution 6x6 of stride 2
        return -(-(radius + 4) // self.side_multiple) * self.side_multiple

    def check_size(self, height: int, width: int) -> None:
        """Raise UserError unless content encoder and decoder can take images of this size."""
        multiple, least = self.side_multiple, max(2 * self.side_multiple, 8)
        if height % multiple or width % multiple or min(height, width) < least:
            raise UserError(
                f"HiDT with downsamplings={self.options.downsamplings} needs image sides that are multiples of "
                f"{multiple} and at least {least} pixels, but gets {height}x{width}; change the size of the images, or "
                "model.generator.downsamplings."
            )

    def encode_content(self, images: Tensor, source: Source | None = None) -> Content:
        """Return the content of images [B, 3, H, W] in [-1, 1].

        Raises:
            UserError: a size that `check_size` refuses.
        """
        self.check_size(*images.shape[-2:])
        content: Content = self.content_encoder(images, source)
        return content

    def encode_style(self, images: Tensor) -> Tensor:
        """Return the styles [B, style_size] of images [B, 3, H, W] in [-1, 1], float32.

        Raises:
            UserError: images that are too small.
        """
        styles: Tensor = self.style_encoder(images)
        return styles

    def decode(
        self, content: Content, styles: Tensor, maps: bool = True, source: Source | None = None
    ) -> Translation:
        """Return images of B contents in B styles [B, style_size]; arguments are those of `Decoder.forward`."""
        translation: Translation = self.decoder(content, styles, maps, source)
        return translation

    def forward(self, images: Tensor, styles: Tensor) -> Translation:
        """Translate images [B, 3, H, W] in [-1, 1] into styles [B, style_size].

        Raises:
            UserError: a size that `check_size` refuses.
        """
        return self.decode(self.encode_content(images), styles)
