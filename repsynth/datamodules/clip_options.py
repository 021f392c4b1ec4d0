"""How clips of RealEstate10K become scenes, however they are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repsynth.datamodules.posed_scene import Picture, PosedScene, middle_depth


@dataclass(frozen=True)
class ClipOptions:
    """How clips become scenes."""

    dataset: str
    """Its name, for messages."""
    scale: float
    """Factor of translations, and of depths."""
    depth_range: tuple[float, float]
    """Before that factor."""
    within: int
    """Greatest difference of a frame's time stamp from a row's, in microseconds."""
    cache: Path
    """Folder of caches."""

    def scene(
        self,
        name: str,
        video: str,
        pictures: Sequence[Picture],
        rows: np.ndarray,
        extrinsics: np.ndarray,
        intrinsics: np.ndarray,
    ) -> PosedScene:
        """A scene from its cameras in units of the file, and the row of each; the arrays become the scene's."""
        if self.scale != 1:
            extrinsics = extrinsics.copy()
            extrinsics[:, :3, 3] *= self.scale
        near, far = self.depth_range
        depths = near * self.scale, far * self.scale
        median = np.full(len(rows), middle_depth(depths))
        return PosedScene(name, pictures, rows, extrinsics, intrinsics, depths, median, group=video)
