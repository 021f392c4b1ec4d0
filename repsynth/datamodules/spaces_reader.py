"""Scenes of the Spaces data set as posed scenes, and where they lie."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from repsynth.datamodules.captures import is_scaled_copy
from repsynth.datamodules.images import read_image, read_size
from repsynth.datamodules.posed_scene import PosedScene, UnusableSceneError, middle_depth
from repsynth.datamodules.relative_paths import below
from repsynth.datamodules.scene_data import require_folder
from repsynth.datamodules.spaces_rig import CAMERAS, Rig, read_rig
from repsynth.errors import UserError

LAYOUT = (
    "scene_000/{models.json, cam_00/image_000.JPG, ...}, or the repository, or its data/800, or such a scene "
    "itself"
)

Resolution = Literal["800", "2k"]
DrawOver = Literal["position", "sequence"]
ScalePer = Literal["metre", "rig"]

_MODELS = "models.json"
_RULE = (4, 8)
"""Cameras whose distance is SIMPLI's unit of length."""
_TOGETHER = 1e-6
"""Metres between these below which they give no unit."""


@dataclass(frozen=True)
class RigPicture:
    """A picture in a file of its own that its calibration must fit."""

    path: Path
    calibrated: tuple[float, float]
    """(height, width) that its camera was calibrated for; reduced copies fit as well."""

    @property
    def label(self) -> str:
        """Its path."""
        return str(self.path)

    def read(self, convert: bool) -> np.ndarray:
        """Decode it."""
        image = read_image(self.path, convert=convert)
        self._check((image.shape[1], image.shape[2]))
        return image

    def size(self) -> tuple[int, int]:
        """(height, width) from its head."""
        size = read_size(self.path)
        self._check(size)
        return size

    def _check(self, size: tuple[int, int]) -> None:
        if not is_scaled_copy(size, self.calibrated):
            height, width = self.calibrated
            raise UserError(
                f"{self.path} is {size[1]}x{size[0]}, which is no reduced copy of the {width:g}x{height:g} in "
                f"{_MODELS} (the aspect ratios differ by more than a pixel); use pictures that were scaled, not "
                "cropped or turned"
            )


@dataclass(frozen=True)
class SpacesReader:
    """Rig positions of some scenes, or their whole sequences of rig positions.

    A rig position is called `scene_009/0`, its rows are the cameras 0 to 15. A sequence is called `scene_009`, its
    row 16 p + c is camera c at position p.
    """

    folders: tuple[Path, ...]
    """Of the scenes, in the order of their names; some may be missing."""
    over: DrawOver
    first_only: bool
    """Leave out all rig positions but the first, as evaluation does."""
    scale: float
    per: ScalePer
    depth_range: tuple[float, float]

    def names(self) -> list[str]:
        """Rig positions, or sequences."""
        if self.over == "sequence":
            return sorted(folder.name for folder in self.folders)
        return sorted(
            f"{folder.name}/{position}" for folder in self.folders for position in self._positions(folder)
        )

    def files(self, name: str) -> list[Path]:
        """The calibration, and the folders of the pictures."""
        folder, _ = self._place(name)
        return [folder / _MODELS, *(folder / f"cam_{camera:02d}" for camera in range(CAMERAS))]

    def read(self, name: str) -> PosedScene:
        """Cameras and pictures."""
        folder, position = self._place(name)
        rig = _rig(folder)
        part = slice(None) if position is None else slice(position, position + 1)
        extrinsics = rig.extrinsics[part].reshape(-1, 4, 4).copy()
        extrinsics[:, :3, 3] *= self._units_per_metre(folder, rig)
        pictures = _pictures(folder, rig, part)
        return PosedScene(
            name,
            pictures,
            np.arange(len(pictures)),
            extrinsics,
            rig.intrinsics[part].reshape(-1, 3, 3),
            self.depth_range,
            np.full(len(pictures), middle_depth(self.depth_range)),
            group=folder.name,
        )

    def _positions(self, folder: Path) -> range:
        """Of the rig; only the first for a scene whose calibration cannot be read, which `read` then tells."""
        if self.first_only:
            return range(1)
        try:
            return range(_rig(folder).positions)
        except UserError:
            return range(1)

    def _place(self, name: str) -> tuple[Path, int | None]:
        """The folder, and the rig position (None for all of them)."""
        scene, _, position = name.partition("/")
        folder = next(folder for folder in self.folders if folder.name == scene)
        return folder, int(position) if position else None

    def _units_per_metre(self, folder: Path, rig: Rig) -> float:
        if self.per == "metre":
            return self.scale
        first, second = (_centre(rig.extrinsics[0, camera]) for camera in _RULE)
        distance = float(np.linalg.norm(first - second))
        if distance < _TOGETHER:
            raise UserError(
                f"Spaces: {folder.name}/{_MODELS}: the cameras {_RULE[0]} and {_RULE[1]} of rig position 0 are "
                f"{distance:.6f} m apart, and data.scale_per: rig measures in that distance; expected more than 0: "
                "correct the file or set data.scale_per: metre"
            )
        return self.scale / distance


def scene_folders(root: Path, resolution: Resolution) -> tuple[list[Path], bool]:
    """The scenes at or below `root` in the order of their names, and whether `root` is one of them.

    Raises:
        UserError: no folder, or none with scenes.
    """
    require_folder("Spaces", root, LAYOUT)
    if (root / _MODELS).is_file():
        _number(root.resolve())
        return [root.resolve()], True
    for folder in (root / "data" / resolution, root / resolution, root):
        scenes = sorted(path for path in folder.glob("scene_*") if path.is_dir()) if folder.is_dir() else []
        if scenes:
            return scenes, False
    raise UserError(
        f"Spaces: found no folder scene_* in {root}, nor in data/{resolution} or {resolution} below it (options "
        f"data.root, data.resolution). Expected {LAYOUT}. See docs/data/spaces.md"
    )


def folders_of(
    root: Path, resolution: Resolution, wanted: tuple[int, ...] | None, others: tuple[int, ...]
) -> tuple[Path, ...]:
    """The scenes of one part.

    Args:
        root: see `scene_folders`.
        resolution: see `scene_folders`.
        wanted: numbers of the part's scenes; None for all that are there but `others`.
        others: numbers of the scenes of other parts.

    Returns:
        In the order of their names; those that `root` lacks too, unless it is a scene itself.
    """
    scenes, single = scene_folders(root, resolution)
    present = {_number(scene): scene for scene in scenes}
    if wanted is None:
        return tuple(scene for number, scene in present.items() if number not in others)
    absent = {} if single else {number: scenes[0].parent / f"scene_{number:03d}" for number in wanted}
    every = absent | present
    return tuple(sorted(every[number] for number in set(wanted) & set(every)))


def _number(folder: Path) -> int:
    found = re.fullmatch(r"scene_(\d+)", folder.name)
    if found is None:
        raise UserError(
            f"Spaces: the folder {folder} is not called scene_<number>, and the split goes by these numbers; "
            "rename it or move it away"
        )
    return int(found[1])


def _pictures(folder: Path, rig: Rig, part: slice) -> list[RigPicture]:
    """Of the chosen rig positions, position by position."""
    pictures = []
    for paths, sizes in zip(rig.pictures[part], rig.sizes[part], strict=True):
        for relative, (height, width) in zip(paths, sizes.tolist(), strict=True):
            path = below(folder, relative, f"Spaces: {folder.name}/{_MODELS}: relative_path")
            if not path.is_file():
                raise UserError(
                    f"Spaces: {folder.name}/{_MODELS} names {relative}, which does not exist; complete the scene "
                    "or remove it"
                )
            pictures.append(RigPicture(path, (height, width)))
    return pictures


def _centre(extrinsics: np.ndarray) -> np.ndarray:
    return -extrinsics[:3, :3].T @ extrinsics[:3, 3]


def _rig(folder: Path) -> Rig:
    path = folder / _MODELS
    try:
        return _known_rig(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise UnusableSceneError(
            f"without {_MODELS}", f"Spaces: {folder.name}: no file {path}; complete the scene or remove it"
        ) from None


@lru_cache(maxsize=128)
def _known_rig(path: Path, changed: int) -> Rig:
    return read_rig(path)
