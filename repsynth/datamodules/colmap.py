"""COLMAP's sparse models: cameras, images and points3D, binary or text."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from repsynth.datamodules import colmap_binary, colmap_text
from repsynth.datamodules.colmap_model import Camera, Photograph, Points

PARTS = ("cameras", "images", "points3D")
_FORMS = (".bin", ".txt")


@dataclass(frozen=True)
class ModelFiles:
    """The files of a whole model."""

    cameras: Path
    images: Path
    points: Path


def model_files(folder: Path) -> ModelFiles | None:
    """The model in a folder, binary before text; None when neither is whole."""
    for form in _FORMS:
        files = [folder / (part + form) for part in PARTS]
        if all(file.is_file() for file in files):
            return ModelFiles(*files)
    return None


def model_parts(folder: Path) -> list[str]:
    """Names of the files of a model that a folder has, whether it is whole or not."""
    names = (part + form for form in _FORMS for part in PARTS)
    return [name for name in names if (folder / name).is_file()]


def part_file(folder: Path, part: str) -> Path | None:
    """The file of one part (`cameras`, `images`, `points3D`) of a model, binary before text; None without it."""
    files = (folder / (part + form) for form in _FORMS)
    return next((file for file in files if file.is_file()), None)


def read_cameras(path: Path) -> dict[int, Camera]:
    """Cameras by id, from cameras.bin or cameras.txt.

    Raises:
        UserError: for a missing, truncated or overlong file, an unknown camera model, or impossible numbers; names
            file and entry or line.
    """
    cameras: dict[int, Camera] = _reader(path).read_cameras(path)
    return cameras


def read_photographs(path: Path) -> dict[int, Photograph]:
    """Poses by image id, from images.bin or images.txt.

    Raises:
        UserError: for a missing, truncated or overlong file, or impossible poses; names file and entry or line.
    """
    photographs: dict[int, Photograph] = _reader(path).read_photographs(path)
    return photographs


def read_points(path: Path) -> Points:
    """The sparse points and which images see them, from points3D.bin or points3D.txt.

    Raises:
        UserError: for a missing, truncated or overlong file; names file and entry or line.
    """
    points: Points = _reader(path).read_points(path)
    return points


def _reader(path: Path) -> ModuleType:
    return colmap_text if path.suffix == ".txt" else colmap_binary
