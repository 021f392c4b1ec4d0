"""Photographs of a static scene, posed by structure from motion, with the sparse points that posed them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from repsynth.datamodules.posed_scene import PosedScene, UnusableSceneError
from repsynth.datamodules.scene_data import require_folder

HOLD_OUT = 8
"""Views 0, 8, 16, ... are for evaluation, the rest for training (the split of the NeRF release)."""

WIDEN = (0.9, 1.1)
"""Factors of near and far: the bounds are quantiles, one point in a thousand lies outside."""


@dataclass(frozen=True)
class SparsePoints:
    """Points of a scene and who sees them."""

    positions: np.ndarray
    """[P, 3] float64 in the world, in scene units."""
    colours: np.ndarray
    """[P, 3] uint8 RGB."""
    seen: Sequence[np.ndarray]
    """For each of N views the numbers of the points that it sees."""

    def depths(self, extrinsics: np.ndarray) -> list[np.ndarray]:
        """For each view [N, 4, 4] the depths of the points that it sees, of those in front of it."""
        found = []
        for pose, numbers in zip(extrinsics, self.seen, strict=True):
            depth = self.positions[numbers] @ pose[2, :3] + pose[2, 3]
            found.append(depth[depth > 0])
        return found


@dataclass(frozen=True)
class Capture:
    """N views of a scene, those held out among them."""

    folder: Path
    scene: PosedScene
    files: Sequence[Path]
    """N pictures."""
    names: Sequence[str]
    """N names of the views, for ids."""
    sizes: Sequence[tuple[float, float]]
    """(height, width) in pixels of the photographs that each camera was made from; pictures may be smaller copies."""
    points: SparsePoints | None


@dataclass(frozen=True)
class PictureRules:
    """What is accepted of pictures."""

    convert: bool
    """See `images.read_image`."""
    tolerant: bool
    """Leave pictures that cannot be read to whoever needs them."""


class CaptureFormat(Protocol):
    """One layout of captures on disk; small, and picklable for loader processes."""

    dataset: ClassVar[str]
    """Its name in messages."""
    layout: ClassVar[str]
    """What is expected below the root, in one line."""

    @property
    def absent(self) -> str:
        """What a folder that is no capture lacks: "without poses_bounds.npy"."""

    def holds(self, folder: Path) -> bool:
        """Whether a folder is a capture."""

    def files(self, folder: Path) -> list[Path]:
        """See `SceneReader.files`."""

    def read(self, folder: Path) -> Capture:
        """Everything but the pixels; raises as `SceneReader.read`."""

    def check(self, capture: Capture) -> None:
        """Look at the pictures.

        Raises:
            UserError: pictures and cameras do not belong together.
        """

    def __hash__(self) -> int:
        """Equal formats read the same."""


@dataclass(frozen=True)
class CaptureReader:
    """The captures at or below a root, all views or without those held out; a `SceneReader`."""

    form: CaptureFormat
    root: Path
    training: bool

    def names(self) -> list[str]:
        """The root's own name, or those of the folders below it, which need not be captures."""
        require_folder(self.form.dataset, self.root, self.form.layout)
        if self.form.holds(self.root):
            return [self.root.resolve().name]
        below = (path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith("."))
        return sorted(path.name for path in below)

    def files(self, name: str) -> list[Path]:
        """See `SceneReader.files`."""
        folder = self.folder(name)
        return [folder, *(self.form.files(folder) if self.form.holds(folder) else [])]

    def read(self, name: str) -> PosedScene:
        """The views of a scene; for training their numbers count training views alone."""
        scene = self.capture(name).scene
        return training_part(scene) if self.training else scene

    def capture(self, name: str) -> Capture:
        """All views of a scene, and its points; raises as `read`."""
        folder = self.folder(name)
        if not self.form.holds(folder):
            raise UnusableSceneError(
                self.form.absent,
                f"{self.form.dataset}: {folder} is {self.form.absent}; expected {self.form.layout}",
            )
        return self.form.read(folder)

    def folder(self, name: str) -> Path:
        """Of a scene."""
        return self.root if self.form.holds(self.root) else self.root / name


def is_held_out(scene: PosedScene) -> np.ndarray:
    """[N] bool: the views kept for evaluation. They are counted before any is missing, so that none moves."""
    return scene.numbers % HOLD_OUT == 0


def training_part(scene: PosedScene) -> PosedScene:
    """The scene without the views held out."""
    kept = np.flatnonzero(~is_held_out(scene)).tolist()
    numbers = scene.numbers[kept]
    return replace(
        scene,
        pictures=[scene.pictures[view] for view in kept],
        numbers=numbers - numbers // HOLD_OUT - 1,
        extrinsics=scene.extrinsics[kept],
        intrinsics=scene.intrinsics[kept],
        median_depth=scene.median_depth[kept],
    )


def is_scaled_copy(size: tuple[float, float], full: tuple[float, float]) -> bool:
    """Whether (height, width) is `full` but for one factor; copies may be rounded by a pixel, not cropped."""
    across, down = size[0] * full[1] / full[0] - size[1], size[1] * full[0] / full[1] - size[0]
    return min(abs(across), abs(down)) <= 1
