"""One posed scene on disk, as every data set of posed views gives it, and how a data set reads its scenes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from repsynth.datamodules.images import read_image, read_size
from repsynth.datamodules.views import camera_centres
from repsynth.errors import UserError


class Picture(Protocol):
    """One stored picture, read when it is asked for."""

    @property
    def label(self) -> str:
        """What it is called in messages: a path, or a place inside a file."""

    def read(self, convert: bool) -> np.ndarray:
        """Decode to uint8 RGB [3, H, W]; `convert` as in `images.read_image`, like what it raises."""

    def size(self) -> tuple[int, int]:
        """(height, width), without decoding where the format allows it."""

    def __hash__(self) -> int:
        """Equal pictures are read once."""


@dataclass(frozen=True)
class FilePicture:
    """A picture in a file of its own, whose camera belongs to the pixels as stored."""

    path: Path

    @property
    def label(self) -> str:
        """Its path."""
        return str(self.path)

    def read(self, convert: bool) -> np.ndarray:
        """Decode it."""
        return read_image(self.path, convert=convert)

    def size(self) -> tuple[int, int]:
        """(height, width) from its head."""
        return read_size(self.path)


@dataclass(frozen=True)
class PosedScene:
    """N posed pictures of a static scene, in scene units, with the conventions of `geometry.cameras`."""

    name: str
    pictures: Sequence[Picture]
    """N, in the order of the camera file."""
    numbers: np.ndarray
    """[N] int64, rising: row of each picture in the camera file. Rows whose picture is missing leave holes."""
    extrinsics: np.ndarray
    """[N, 4, 4] float64 world to camera."""
    intrinsics: np.ndarray
    """[N, 3, 3] float64 of the pictures as stored, normalised by their width and height."""
    depth_range: tuple[float, float]
    """Nearest and farthest depth of the scene."""
    median_depth: np.ndarray
    """[N] median depth of what each view sees; without points midway in 1 / depth of the range."""
    group: str | None = None
    """What scenes of different parts of a split must not share, such as the video they were cut from; None for the
    name."""

    @property
    def centres(self) -> np.ndarray:
        """[N, 3] camera centres."""
        return camera_centres(self.extrinsics)


class UnusableSceneError(UserError):
    """A scene that cannot be used but need not stop a run: it is left out, counted and reported.

    Args:
        why: the same few words for all scenes with this fault, for counting: "without frames".
        sentence: what is wrong with this one.
    """

    def __init__(self, why: str, sentence: str) -> None:
        super().__init__(sentence)
        self.why = why

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Exceptions travel from worker processes by their arguments."""
        return type(self), (self.why, str(self))


class SceneReader(Protocol):
    """One part (training, validation or test) of a data set; small, and picklable for loader processes."""

    def names(self) -> list[str]:
        """The scenes of the part, sorted, whether usable or not; cheap.

        Raises:
            UserError: the root is missing or has another layout.
        """

    def files(self, name: str) -> list[Path]:
        """The files and folders whose size and time of change tell whether a scene has to be looked at again."""

    def read(self, name: str) -> PosedScene:
        """Cameras and pictures of a scene, no pixels.

        Raises:
            UnusableSceneError: no frames, unusable in another way that is counted.
            UserError: cameras that no pinhole camera can have, and whatever else must be put right.
        """

    def __hash__(self) -> int:
        """Equal readers read the same."""


def middle_depth(depth_range: tuple[float, float]) -> float:
    """The depth midway in inverse depth: where most of a scene lies when nothing is known of it."""
    near, far = depth_range
    return 2 / (1 / near + 1 / far)
