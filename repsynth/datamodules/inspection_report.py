"""What `inspection` finds out about a data set; plain enough for JSON."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Range(NamedTuple):
    """Least, median and greatest of something over the scenes of a part."""

    least: float
    median: float
    greatest: float


@dataclass
class PartReport:
    """One part of a data set; counts of pictures are those of scenes that are not left out."""

    scenes: int = 0
    usable: int = 0
    """Those that are neither left out nor faulty."""
    dropped: dict[str, list[str]] = field(default_factory=dict)
    """Why scenes are left out -> their names."""
    views: int = 0
    missing: int = 0
    """Rows of camera files without a picture."""
    unreadable: int = 0
    """Pictures that cannot be read or are too small."""
    sizes: dict[str, int] = field(default_factory=dict)
    """"width x height" -> number of pictures."""
    modes: dict[str, int] = field(default_factory=dict)
    """Colour mode -> number of pictures."""
    baselines: Range | None = None
    """Distances of two views of one window: least of all, median of the scenes' medians, greatest of all."""
    nearest: Range | None = None
    """Nearest depth of the scenes, in scene units."""
    farthest: Range | None = None
    samples: int | None = None
    """Examples of the part; of an epoch for the training."""
    images_per_second: float | None = None
    """That one process decodes, without resizing; for a module without scenes, that it makes into examples."""


@dataclass
class Inspection:
    """What was found."""

    data: str
    parts: dict[str, PartReport]
    problems: list[str]
    """Each would stop the experiment, now or later."""
    remarks: list[str]
    """Worth knowing; none stops it."""
    seconds: float
    workers: int
    fast: bool
    """Whether only the heads of pictures were read."""
