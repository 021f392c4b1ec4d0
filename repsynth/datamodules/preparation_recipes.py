"""What `repsynth data prepare-images` makes of pictures: named sets of choices, because each of them moves FID."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from repsynth.datamodules.resizing import Resampling
from repsynth.errors import UserError

Crop = Literal["none", "centre", "square"]
"""The aspect is kept; the picture is resized and its middle cut out; its middle square is cut out and resized."""
Format = Literal["png", "jpeg", "webp-lossless"]
Container = Literal["folder", "lmdb", "zip"]
Name = Literal["cips", "repsynth"]

SUFFIXES: dict[Format, str] = {"png": ".png", "jpeg": ".jpg", "webp-lossless": ".webp"}

_QUALITY = 95
"""Of JPEG, where neither option nor recipe says another."""
_SIZES = (8, 16_383)
"""WebP has no longer sides."""


@dataclass(frozen=True)
class Recipe:
    """How pictures are prepared; the shorter side always becomes the size asked for."""

    filter: Resampling
    crop: Crop
    format: Format
    quality: int | None
    """Of JPEG, 1 to 100."""
    to: Container
    convert_colours: bool
    """Accept transparency, which is dropped, and CMYK."""

    def in_words(self) -> str:
        """One line for people."""
        quality = "" if self.quality is None else f" quality {self.quality}"
        colours = "converted" if self.convert_colours else "refused"
        return (
            f"filter {self.filter} (antialiased), crop {self.crop}, {self.format}{quality}, to {self.to}, "
            f"transparency and CMYK {colours}"
        )


RECIPES: dict[Name, Recipe] = {
    "cips": Recipe("bilinear", "none", "jpeg", 85, "lmdb", True),
    "repsynth": Recipe("lanczos", "centre", "png", None, "folder", False),
}
"""That behind the published figures of CIPS (official code), and one that loses nothing."""


@dataclass(frozen=True)
class Preparation:
    """A recipe and what it is applied to."""

    name: Name
    """Of the recipe that the options changed."""
    recipe: Recipe
    sizes: tuple[int, ...]
    """Of the shorter side in pixels, rising."""
    allow_upscale: bool = False
    """Enlarge pictures that are smaller."""

    @classmethod
    def of(cls, name: Name, sizes: list[int], allow_upscale: bool = False, **given: Any) -> "Preparation":  # noqa: ANN401
        """A recipe changed by the options that are given.

        Args:
            name: of the recipe.
            sizes: of the shorter side in pixels.
            allow_upscale: enlarge pictures that are smaller.
            given: fields of `Recipe`; None keeps what the recipe says.

        Raises:
            UserError: sizes or a quality that make no picture.
        """
        _check_sizes(sizes)
        changes = {key: value for key, value in given.items() if value is not None}
        _check_quality(changes.get("quality"), changes.get("format", RECIPES[name].format))
        changed = replace(RECIPES[name], **changes)
        if changed.format != "jpeg":
            changed = replace(changed, quality=None)
        elif changed.quality is None:
            changed = replace(changed, quality=_QUALITY)
        return cls(name, changed, tuple(sorted(sizes)), allow_upscale)

    @property
    def overrides(self) -> dict[str, Any]:
        """Where the choices differ from the named recipe."""
        original = asdict(RECIPES[self.name])
        return {key: value for key, value in asdict(self.recipe).items() if value != original[key]}

    def in_words(self) -> str:
        """One line for people."""
        changed = ", ".join(self.overrides)
        sizes = ", ".join(map(str, self.sizes))
        return (
            f"recipe {self.name}{f' (changed: {changed})' if changed else ''}: shorter side {sizes}, "
            f"{self.recipe.in_words()}"
        )


def _check_sizes(sizes: list[int]) -> None:
    for size in sizes:
        if not _SIZES[0] <= size <= _SIZES[1]:
            raise UserError(f"--size is {size}; expected {_SIZES[0]} to {_SIZES[1]} pixels")
        if sizes.count(size) > 1:
            raise UserError(f"--size has {size} twice; expected each size once")


def _check_quality(quality: int | None, kind: Format) -> None:
    if quality is not None and kind != "jpeg":
        raise UserError(
            f"--quality {quality} is one of jpeg, and {kind} loses nothing; leave it out or use --format jpeg"
        )
    if quality is not None and not 1 <= quality <= 100:
        raise UserError(f"--quality is {quality}; expected 1 to 100")
