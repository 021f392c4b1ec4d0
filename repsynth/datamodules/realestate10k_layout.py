"""Where the camera files, frames and chunks of RealEstate10K lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from repsynth.datamodules.frame_folders import camera_files, names_in
from repsynth.errors import UserError

Format = Literal["auto", "files", "chunks"]
"""How clips are stored; `auto` looks which is there."""

_CAMERAS = ("cameras", ".")
_FRAMES = ("frames", "videos", ".")


@dataclass(frozen=True)
class Stored:
    """What the options say about the places of things."""

    root: Path
    cameras: str | None
    frames: str | None
    format: Format

    def folders(self, split: str) -> tuple[Path, Path]:
        """The folder of camera files of a split, and the one of its folders of frames.

        Raises:
            UserError: no camera files where they are looked for, or no folder where `frames` says.
        """
        cameras = self.camera_folder(split)
        if cameras is None:
            places = ", ".join(map(str, self._camera_places(split)))
            option = "data.root" if self.cameras is None else "data.cameras"
            raise UserError(
                f"RealEstate10K: no camera files of the split {split} in {places} (option {option}); expected "
                "<id>.txt. See docs/data/realestate10k.md"
            )
        return cameras, self._frame_folder(split, cameras)

    def camera_folder(self, split: str) -> Path | None:
        """The first place with camera files of a split."""
        return next((place for place in self._camera_places(split) if camera_files(place)), None)

    def _camera_places(self, split: str) -> list[Path]:
        return [self.root / name / split for name in _names(self.cameras, _CAMERAS)]

    def _frame_folder(self, split: str, cameras: Path) -> Path:
        """The first place with a folder named like a camera file; else the first one that is there."""
        names = set(camera_files(cameras))
        bases = [self.root / name for name in _names(self.frames, _FRAMES)]
        places = [place for base in bases for place in (base / split, base / split / "videos", base)]
        there = [place for place in places if place.is_dir()]
        if self.frames is not None and not there:
            raise UserError(
                f"RealEstate10K: no folder at {places[0]} (option data.frames); expected <id>/<time stamp>.jpg"
            )
        return next((place for place in there if not names.isdisjoint(names_in(place))), (there or places)[0])


def stored_as(stored: Stored, split: str) -> Literal["files", "chunks"]:
    """How the clips of a split are stored.

    Raises:
        UserError: `auto` finds both shapes or none of them; the shape asked for is not there.
    """
    folder = stored.root / split
    chunks = any(name.endswith(".torch") for name in names_in(folder))
    files = stored.camera_folder(split) is not None
    if stored.format == "files":
        return "files"
    if files and chunks and stored.format == "auto":
        raise UserError(
            f"RealEstate10K: the split {split} is there twice, as chunks in {folder} and with camera files in "
            f"{stored.camera_folder(split)}; set data.format to chunks or files"
        )
    if chunks:
        return "chunks"
    if files and stored.format == "auto":
        return "files"
    wanted = (
        "chunks (*.torch)" if stored.format == "chunks" else "camera files (<id>.txt) or chunks (*.torch)"
    )
    raise UserError(
        f"RealEstate10K: no {wanted} of the split {split} under {stored.root} (option data.root). See "
        "docs/data/realestate10k.md"
    )


def _names(option: str | None, defaults: tuple[str, ...]) -> tuple[str, ...]:
    return defaults if option is None else (option,)
