"""`PhotoFiles`: photographs from files, of any size, for `repsynth predict` to show them in another light."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from repsynth import batches
from repsynth.datamodules.base import DataModule, EvalStage, Part
from repsynth.datamodules.photo_reading import SUFFIXES, look_at, read_photo
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.unreadable import OnBadImage
from repsynth.errors import UserError

_SHOWN = 3
"""Complaints that one sentence holds."""


class PhotoFiles(DataModule):
    """Photographs to be shown in another light, and photographs in that light, with the batch `batches.PhotoFiles`.

    They are read one at a time, at their own size, upright, with EXIF, colour profile and transparency. All of them are
    looked at before anything is made.

    Args:
        content: photographs to be shown in another light: a file, a folder (not searched further down), or a list.
        style: photographs in the light that is wanted, likewise; null where styles come from elsewhere.
        on_bad_photo: `error` stops at photographs that cannot be used, before anything is made; `skip` leaves them out,
            and ends with an error that names them. Style photographs are never left out.
        loaders: those of `DataModule`.
    """

    def __init__(
        self,
        content: str | list[str],
        style: str | list[str] | None = None,
        on_bad_photo: OnBadImage = "error",
        **loaders: Any,  # noqa: ANN401  those of DataModule
    ) -> None:
        super().__init__(**loaders)
        self.content, self.style, self.on_bad_photo = _as_list(content), _as_list(style), on_bad_photo
        self._sizes: dict[Path, tuple[int, int]] | None = None
        self._left_out: list[str] = []
        self._told: set[str] = set()
        self._count = 0

    # What data modules give.

    def train_dataset(self) -> Dataset[Any]:
        """There is none."""
        raise _only_for_predict("fit")

    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        """There is none."""
        raise _only_for_predict(stage)

    def predict_dataset(self) -> Dataset[Any]:
        """The content photographs in the order of their names."""
        return _Files(list(self.sizes), self.on_bad_photo)

    def parts(self, stage: str | None = None) -> tuple[Part, ...]:
        """None: nothing is trained on or evaluated."""
        return ()

    def check(self, stage: str | None = None) -> None:
        """Look at all photographs.

        Raises:
            UserError: another stage than `predict`, no photograph, or ones that cannot be used.
        """
        if stage not in ("predict", None):
            raise _only_for_predict(stage)
        self._sizes, self._left_out = None, []
        found, complaints = _looked_at(_files(self.content, "content"))
        if complaints and (self.on_bad_photo == "error" or not found):
            raise UserError(_told(complaints, len(found) + len(complaints), "content"))
        self._leave_out(complaints)
        self._sizes, self._count = found, len(found) + len(complaints)
        styles, complaints = _looked_at(self.style_files())
        if complaints:
            raise UserError(_told(complaints, len(styles) + len(complaints), "style"))

    def describe(self, stage: str | None = None) -> dict[str, int]:
        """How many photographs there are."""
        return {"photographs": len(self.sizes), "style photographs": len(self.style_files())}

    def collate(self, examples: list[batches.Photo | str]) -> batches.PhotoFiles:
        """Join photographs, and what is said of others."""
        photos = [example for example in examples if isinstance(example, batches.Photo)]
        complaints = [example for example in examples if isinstance(example, str)]
        return {"ids": [photo.path.stem for photo in photos], "photos": photos, "complaints": complaints}

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ANN401
        """Note which photographs could not be read; pixels stay bytes."""
        self._leave_out(batch["complaints"])
        return batch

    def teardown(self, stage: str) -> None:
        """Say at the end which photographs were left out.

        Raises:
            UserError: there are some, so that the run is seen to have failed in part.
        """
        left_out, self._left_out = self._left_out, []
        if stage == "predict" and left_out:
            raise UserError(
                f"{_told(left_out, self._count, None)}; predictions of all others are written, and these have none"
            )

    # What methods ask for.

    @property
    def sizes(self) -> dict[Path, tuple[int, int]]:
        """(height, width) of every content photograph that can be used, by file."""
        if self._sizes is None:
            self.check("predict")
        assert self._sizes is not None
        return self._sizes

    def style_files(self) -> list[Path]:
        """The style photographs in the order of their names, or as they are listed; empty for none.

        Raises:
            UserError: a file or folder is not there, or the folder holds no photograph.
        """
        return _files(self.style, "style") if self.style else []

    def style_photos(self) -> Iterator[np.ndarray]:
        """Yield the style photographs one after the other, [3, H, W] uint8."""
        return (read_photo(path).pixels for path in self.style_files())

    @property
    def style_name(self) -> str:
        """What to call the style photographs together: the name of their folder, or mean."""
        return Path(self.style[0]).resolve().name if len(self.style) == 1 else "mean"

    # Inner parts.

    def _leave_out(self, complaints: Sequence[str]) -> None:
        for complaint in complaints:
            if complaint not in self._told:
                print(f"left out (data.on_bad_photo: skip): {complaint}", file=sys.stderr)
        self._told.update(complaints)
        self._left_out += complaints


class _Files(Dataset[batches.Photo | str]):
    def __init__(self, paths: list[Path], on_bad_photo: OnBadImage) -> None:
        self.paths, self.on_bad_photo = paths, on_bad_photo

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: SampleKey) -> batches.Photo | str:
        try:
            return read_photo(self.paths[key.index])
        except UserError as error:
            if self.on_bad_photo == "error":
                raise
            return str(error)


def _only_for_predict(stage: str) -> UserError:
    return UserError(
        f"the data module PhotoFiles is for predict and gives nothing to {stage}; use the data of the training, such "
        "as an experiment's own data section"
    )


def _as_list(given: str | list[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else list(given or [])


def _files(given: Sequence[str], option: str) -> list[Path]:
    """The files of a list of files and folders, each once."""
    if not given:
        raise UserError(f"data.{option} is empty; expected a photograph, a folder of them, or a list")
    files: list[Path] = []
    for entry in map(Path, given):
        files += _pictures_of(entry, option) if entry.is_dir() else [_existing(entry, option)]
    return list(dict.fromkeys(files))


def _pictures_of(folder: Path, option: str) -> list[Path]:
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    pictures = [path for path in entries if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not pictures:
        raise UserError(
            f"{folder}: holds no photograph (option data.{option}), and what is below it is not searched; expected "
            f"files {', '.join(sorted(SUFFIXES))}"
        )
    return pictures


def _existing(path: Path, option: str) -> Path:
    if not path.is_file():
        raise UserError(
            f"{path}: no such file or folder (option data.{option}); a photograph was expected here"
        )
    return path


def _looked_at(paths: Sequence[Path]) -> tuple[dict[Path, tuple[int, int]], list[str]]:
    """(height, width) of photographs that can be used, and what is said of the others."""
    sizes: dict[Path, tuple[int, int]] = {}
    complaints = []
    for path in paths:
        try:
            sizes[path] = look_at(path)
        except UserError as error:
            complaints.append(str(error))
    return sizes, complaints


def _told(complaints: Sequence[str], count: int, option: str | None) -> str:
    """All complaints in one sentence, as far as they fit into one."""
    shown = "; ".join(complaints[:_SHOWN])
    more = f"; and {len(complaints) - _SHOWN} more" if len(complaints) > _SHOWN else ""
    told = f"{len(complaints)} of {count} photographs cannot be used: {shown}{more}"
    return f"{told} (data.on_bad_photo: skip leaves them out)" if option == "content" else told
