"""Options of the networks, and of what is made of photos with them."""

from dataclasses import dataclass
from typing import Literal

from repsynth.errors import UserError, require_at_least
from repsynth.modules.hidt.upsampling import Upsampling

Segmentation = Literal["classes", "colours", "none"]
"""What the decoder's second head gives: logits of classes; a map of three colours in (-1, 1), as in the released
daytime model; or nothing, as in the released model of paintings."""

Border = Literal["black", "reflect"]
"""What lies outside of a photo and of its translated crops: black, as the released enhancer was trained with, which
can leave dark lines at the edges of its images; or the photo reflected and the crops' outermost pixels."""

Stacking = Literal["pasted", "plain"]
"""How translated crops are stacked: moved by up to a pixel in parts of the image, which the released enhancer was
trained with (`crops.stack_of`); or as they are, each the image at its own shift everywhere."""

PICTURE_CHANNELS = 6
"""Channels of the enhancer that carry a picture at first: red, green, blue and their negatives."""

Padding = Literal["zeros", "reflect"]
"""What the enhancer's convolutions see outside: grey, as the released one does, or the reflected activations."""


@dataclass(frozen=True)
class GeneratorOptions:
    """Encoders and decoder (paper section 3; official code); the defaults are the released daytime model's but for
    the segmentation head, which is `colours` there.

    Args:
        style_size: numbers of a style; 3 in the released daytime model, 12 in that of paintings.
        width: channels at full size, doubled by every downsampling.
        downsamplings: how often the content encoder halves an image; sides must be multiples of 2 to its power.
        content_blocks: residual blocks of the content encoder.
        decoder_blocks: residual blocks of the decoder.
        style_downsamplings: how often the style encoder halves an image.
        skip_channels: channels of every skip from content encoder to decoder.
        skip_levels: levels with a skip, 0 the full size, 1 half of it, in the order in which their adaptive norms are
            predicted; empty for a decoder without skips.
        adain_width: hidden channels of the network that predicts the adaptive norms.
        adain_layers: linear layers of that network.
        segmentation: classes, colours or none, see `Segmentation`.
        classes: of the segmentation maps, for segmentation classes.
        upsampling: split or plain, the same up to rounding; split is faster on a CPU and needs less memory.
    """

    style_size: int = 3
    width: int = 48
    downsamplings: int = 2
    content_blocks: int = 4
    decoder_blocks: int = 5
    style_downsamplings: int = 4
    skip_channels: int = 5
    skip_levels: tuple[int, ...] = (1, 0)
    adain_width: int = 64
    adain_layers: int = 3
    segmentation: Segmentation = "classes"
    classes: int = 9
    upsampling: Upsampling = "split"

    @property
    def map_channels(self) -> int:
        """Channels of the segmentation map."""
        return {"classes": self.classes, "colours": 3, "none": 0}[self.segmentation]

    def check(self, section: str = "model.generator") -> None:
        """Raise UserError for an option out of its range, or levels of skips that are not there."""
        require_at_least(
            section,
            1,
            style_size=self.style_size,
            width=self.width,
            downsamplings=self.downsamplings,
            style_downsamplings=self.style_downsamplings,
            skip_channels=self.skip_channels,
            adain_width=self.adain_width,
            adain_layers=self.adain_layers,
        )
        require_at_least(section, 0, content_blocks=self.content_blocks, decoder_blocks=self.decoder_blocks)
        require_at_least(section, 2, classes=self.classes)
        self._check_skips(section)

    def _check_skips(self, section: str) -> None:
        if self.skip_levels and self.skip_channels > self.width:
            raise UserError(
                f"{section}.skip_channels is {self.skip_channels}, more than the {self.width} channels of the full "
                f"size; lower it or raise {section}.width"
            )
        levels = self.skip_levels
        if len(set(levels)) < len(levels) or not set(levels) <= set(range(self.downsamplings)):
            raise UserError(
                f"{section}.skip_levels is {list(levels)}; expected different levels from 0 (full size) to "
                f"{self.downsamplings - 1}, with downsamplings={self.downsamplings}"
            )


@dataclass(frozen=True)
class DiscriminatorOptions:
    """The two discriminators of translations, of images alone and of images with a style.

    Args:
        width: channels of the first convolution; doubles with every level, up to eight times.
        levels: convolutions of stride 2.
        scales: how many sizes are judged, each half of the one before.
        spectral: spectral normalisation of every layer.
        shared_trunk: both judge the same features, which costs half.
    """

    width: int = 64
    levels: int = 4
    scales: int = 3
    spectral: bool = False
    shared_trunk: bool = False

    def check(self, section: str = "model.discriminator") -> None:
        """Raise UserError for an option out of its range."""
        require_at_least(section, 1, width=self.width, levels=self.levels, scales=self.scales)


@dataclass(frozen=True)
class EnhancerOptions:
    """The enhancer (official code); the defaults are the released model's.

    Args:
        factor: how much larger its images are, a power of 2; it merges the square of that many translated crops.
        width: channels between the blocks, at least `PICTURE_CHANNELS`.
        blocks: residual-in-residual dense blocks.
        growth: channels that every convolution of a dense block adds.
        stacking: see `Stacking`; plain is easier to learn.
        padding: see `Padding`; reflect leaves no frame around images.
    """

    factor: int = 4
    width: int = 64
    blocks: int = 5
    growth: int = 32
    stacking: Stacking = "pasted"
    padding: Padding = "zeros"

    def check(self, section: str = "model.enhancer") -> None:
        """Raise UserError for an option out of its range."""
        require_at_least(section, PICTURE_CHANNELS, width=self.width)
        require_at_least(section, 1, growth=self.growth)
        require_at_least(section, 0, blocks=self.blocks)
        if self.factor < 2 or self.factor & (self.factor - 1):
            raise UserError(
                f"{section}.factor is {self.factor}; expected a power of 2 of at least 2, such as 4"
            )


@dataclass(frozen=True)
class PhotoOptions:
    """How a photo becomes an image for the networks (official code).

    Args:
        working_size: pixels of the shorter side.
        multiple: both sides are then rounded to multiples of it by a second resizing, half to even.
        noise_seed: of noise of up to one grey level that is added as in training; null adds none, so that the frames
            of a video do not flicker.
    """

    working_size: int = 256
    multiple: int = 16
    noise_seed: int | None = None

    def check(self, section: str = "prediction") -> None:
        """Raise UserError for an option out of its range."""
        require_at_least(section, 1, working_size=self.working_size, multiple=self.multiple)
        require_at_least(section, 0, noise_seed=self.noise_seed or 0)
        if self.working_size < self.multiple:
            raise UserError(
                f"{section}.working_size is {self.working_size}; expected at least {section}.multiple, {self.multiple}"
            )


@dataclass(frozen=True)
class EnhancementOptions:
    """Enhancement in bounded memory; crops_at_once and tile change the image by rounding only, unless halo is given.

    Args:
        crops_at_once: shifted crops that are translated in one batch.
        border: black or reflect, see `Border`.
        tile: side, in pixels of the working size, of the parts that the enhancer works on; null takes all at once.
        halo: pixels of the working size that it sees around a tile; null takes as many as its results depend on,
            between 16 and 32 show no seam and cost less.
    """

    crops_at_once: int = 4
    border: Border = "black"
    tile: int | None = 256
    halo: int | None = None

    def check(self, section: str = "prediction") -> None:
        """Raise UserError for an option out of its range."""
        require_at_least(section, 1, crops_at_once=self.crops_at_once)
        check_tiles(section, self.tile, self.halo)


@dataclass(frozen=True)
class TilingOptions:
    """Translation of a photo at its own size in parts.

    Args:
        tile: side of the parts in pixels.
        halo: pixels seen around a tile; null takes as many as its results depend on.
    """

    tile: int = 512
    halo: int | None = None

    def check(self, section: str = "prediction") -> None:
        """Raise UserError for an option out of its range."""
        check_tiles(section, self.tile, self.halo)


def check_tiles(section: str, tile: int | None, halo: int | None) -> None:
    """Raise UserError for a tile or halo out of its range."""
    require_at_least(section, 1, tile=1 if tile is None else tile)
    require_at_least(section, 0, halo=halo or 0)
