"""The options of `repsynth predict`; docs/methods/hidt_tasks.md shows what each makes."""

import math
from dataclasses import dataclass
from typing import Literal

from repsynth.errors import UserError, require_at_least
from repsynth.modules.hidt.options import EnhancementOptions, PhotoOptions, TilingOptions
from repsynth.modules.hidt.styles import Curve, Timing

Task = Literal["pictures", "timelapse"]
"""A picture of every photograph in every style, or a video of every photograph through all styles."""

StyleSource = Literal["photos", "mean", "named", "random", "own"]
"""Every style photograph's; the mean of them; those of a file, by name; drawn ones; the photograph's own."""

Resolution = Literal["plain", "enhanced", "tiled"]
"""Translated at the working size; merged from shifted translations by the enhancer; translated at its own size."""

Size = Literal["photo", "network"] | int
"""The photograph's; the one that leaves the networks; or the pixels of the shorter side, aspect kept."""

Suffix = Literal["same", ".jpg", ".png", ".webp"]

_SECTION = "model.relighting"


@dataclass(frozen=True)
class StyleOptions:
    """Where styles come from.

    Args:
        source: photos (every one of `data.style`), mean (of all of them), named (of a file), random (drawn), own (every
            photograph's own, which should give it back: a check of the model).
        weights: for the mean, one for each style photograph in order; empty weighs them alike.
        file: for named, lines `name,[a b c]`; released takes the 18 styles of the official daytime model.
        names: which of them, in this order; empty takes all.
        count: for random, how many.
        seed: for random.
        temperature: for random, the standard deviation; below 1 styles are nearer to the mean one.
    """

    source: StyleSource = "photos"
    weights: tuple[float, ...] = ()
    file: str | None = None
    names: tuple[str, ...] = ()
    count: int = 4
    seed: int = 0
    temperature: float = 1.0

    def check(self) -> None:
        """Raise UserError for an option out of its range, and for names of styles without a file."""
        require_at_least(_SECTION, 1, **{"styles.count": self.count})
        require_at_least(_SECTION, 0, **{"styles.seed": self.seed})
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"{_SECTION}.styles.temperature is {self.temperature}; expected at least 0")
        if self.weights and (min(self.weights) < 0 or sum(self.weights) <= 0):
            raise UserError(
                f"{_SECTION}.styles.weights are {list(self.weights)}; expected numbers of at least 0, not all 0"
            )
        if self.source == "named" and self.file is None:
            raise UserError(
                f"{_SECTION}.styles.source is named, but {_SECTION}.styles.file is null; expected a file of named "
                "styles, one `name,[a b c]` per line, or released"
            )
        if self.weights and self.source != "mean":
            raise UserError(
                f"{_SECTION}.styles.weights are given, but {_SECTION}.styles.source is {self.source}; set it to mean, "
                "or leave the weights out"
            )


@dataclass(frozen=True)
class TimelapseOptions:
    """A way through all styles, in their order, in equal times.

    Args:
        frames: of the video; the first one has the first style, the last one the last.
        curve: linear, or spherical (by direction on the circle, by length on the line).
        timing: even, or eased (slows down at every style).
        closed: return to the first style.
        from_own: begin in the photograph's own light.
    """

    frames: int = 100
    curve: Curve = "linear"
    timing: Timing = "even"
    closed: bool = False
    from_own: bool = False


@dataclass(frozen=True)
class FileOptions:
    """How pictures are written.

    Args:
        suffix: same as the photograph's, or another format. JPEG has no transparency: white takes its place.
        quality: of JPEG and WebP, 1 to 100.
    """

    suffix: Suffix = "same"
    quality: int = 95

    def check(self) -> None:
        """Raise UserError for an option out of its range."""
        if not 1 <= self.quality <= 100:
            raise UserError(f"{_SECTION}.file.quality is {self.quality}; expected 1 to 100")


@dataclass(frozen=True)
class RelightingOptions:
    """What `predict` makes of photographs; docs/methods/hidt_tasks.md shows each way.

    Args:
        task: pictures (every photograph in every style), or timelapse (a video of every photograph through all styles).
        styles: which ones.
        resolution: plain (at the working size), enhanced (by the enhancer, several times the working size), or tiled
            (at the photograph's own size, part by part).
        detail: give a picture the photograph's own fine detail by a guided filter; not for tiled, which has it.
        size: of the pictures: photo, network (as it leaves the networks), or pixels of the shorter side. Videos have at
            most 3840 pixels on their longer side.
        photo: how photographs become images for the networks; the working size should be that of the training.
        enhancement: memory of the enhancer.
        tiling: of the resolution tiled.
        timelapse: of the task timelapse.
        file: how pictures are written.
    """

    task: Task = "pictures"
    styles: StyleOptions = StyleOptions()
    resolution: Resolution = "plain"
    detail: bool = False
    size: Size = "photo"
    photo: PhotoOptions = PhotoOptions()  # noqa: RUF009  frozen
    enhancement: EnhancementOptions = EnhancementOptions()  # noqa: RUF009  frozen
    tiling: TilingOptions = TilingOptions()  # noqa: RUF009  frozen
    timelapse: TimelapseOptions = TimelapseOptions()
    file: FileOptions = FileOptions()

    def check(self) -> None:
        """Raise UserError for an option out of its range, and for options that exclude each other."""
        self.styles.check()
        self.photo.check(f"{_SECTION}.photo")
        self.enhancement.check(f"{_SECTION}.enhancement")
        self.tiling.check(f"{_SECTION}.tiling")
        self.file.check()
        require_at_least(_SECTION, 2, **{"timelapse.frames": self.timelapse.frames})
        require_at_least(_SECTION, 1, size=self.size if isinstance(self.size, int) else 1)
        self._check_together()

    def _check_together(self) -> None:
        if self.resolution == "tiled" and self.detail:
            raise UserError(
                f"{_SECTION}.detail is true, but {_SECTION}.resolution tiled has the photograph's detail already; take "
                "one of the two"
            )
        if self.task != "timelapse":
            return
        if self.resolution == "tiled":
            raise UserError(
                f"{_SECTION}.task timelapse encodes a photograph once, which {_SECTION}.resolution tiled cannot; take "
                f"plain or enhanced, with {_SECTION}.detail true for large photographs"
            )
        if self.styles.source == "own":
            raise UserError(
                f"{_SECTION}.styles.source is own, and a timelapse in one light stands still; take other styles, with "
                f"{_SECTION}.timelapse.from_own true to begin in the photograph's own light"
            )
