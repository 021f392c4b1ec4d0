"""`ExportedViews`: evaluation scenes in numbered folders with a CSV each, as SIMPLI's official code exchanges them."""

import ast
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from repsynth.datamodules.base import EvalStage, Part
from repsynth.datamodules.posed_scene import FilePicture, PosedScene, middle_depth
from repsynth.datamodules.relative_paths import below
from repsynth.datamodules.scene_data import SceneData, require_folder
from repsynth.datamodules.scene_examples import Example
from repsynth.datamodules.views import Choice
from repsynth.errors import UserError
from repsynth.geometry.cameras import check_cameras

_LIST = "scene.csv"
_COLUMNS = ("type", "frame_path", "extrinsic_re", "intrinsics_re")
_INPUT, _REFERENCE, _NOVEL = "initial", "reference", "novel"


class ExportedViews(SceneData):
    """Exported evaluation scenes with the batch `batches.PosedViews`; there is nothing to train on.

    A scene is an example: its `initial` frames are the inputs, that with the camera nearest to the exported
    `reference` first, and all its `novel` frames are predicted. The picture of the reference is not read: it need
    not exist, and it is no input of the official code.

    Args:
        root: folder of the scenes 0, 1, 2, ...
        near: depth of the nearest plane, in scene units; exports are scaled already.
        far: depth of the farthest plane, in scene units.
        image_size: (height, width) of the images in pixels.
        options: those of `SceneData`; how examples are drawn does not matter.

    Raises:
        UserError: for impossible options.
    """

    dataset: ClassVar[str] = "ExportedViews"
    layout: ClassVar[str] = "<number>/{scene.csv, initial/, reference/, novel/}, numbers from 0 without gaps"
    shares_scenes: ClassVar[bool] = True

    def __init__(
        self,
        root: str,
        near: float = 1.0,
        far: float = 100.0,
        image_size: tuple[int, int] = (256, 256),
        **options: Any,  # noqa: ANN401  those of the base, which the command line reads there
    ) -> None:
        super().__init__(image_size=image_size, **options)
        if not 0 < near < far < float("inf"):
            raise UserError(
                f"data.near is {near:g} and data.far {far:g}; expected 0 < near < far, in scene units"
            )
        self.root = Path(root)
        self.depth_range = (near, far)

    def reader(self, part: Part) -> "ExportReader":
        """The same scenes for validation and test."""
        if part == "train":
            raise UserError(
                "ExportedViews: has evaluation scenes only; train on another data set and name this one for "
                "validation or test"
            )
        require_folder("ExportedViews", self.root, self.layout)
        return ExportReader(self.root, self.depth_range)

    def parts(self, stage: str | None = None) -> tuple[Part, ...]:
        """There is no training part to look at unless it is asked for."""
        return ("val", "test") if stage is None else super().parts(stage)

    def check(self, stage: str | None = None) -> None:
        """Also see whether the scenes can be joined to batches."""
        super().check(stage)
        examples = self.evaluation_examples("test")
        shapes = {tuple(map(len, example.choice or ())): example.name for example in examples}
        if self.eval_batch_size > 1 and len(shapes) > 1:
            (first, one), (second, other), *_ = shapes.items()
            raise UserError(
                f"ExportedViews: the scenes {one} and {other} have {first} and {second} (initial, novel) frames and "
                f"cannot be joined; set data.eval_batch_size to 1 (now {self.eval_batch_size})"
            )

    def evaluation_examples(self, stage: EvalStage) -> list[Example]:
        """One of each scene, in the order of the ids."""
        reader = self.reader(stage)
        return [
            Example(name, name, reader.choice(name)) for name in self.survey(stage).usable[: self.eval_scenes]
        ]

    @property
    def evaluation_words(self) -> str:
        """How evaluation examples come about, in words."""
        return "exported scenes, all novel frames of each from all its initial ones"

    def _complaint(self, part: Part, scene: PosedScene) -> str | None:
        """Why a scene is of no use; its views are given, so only their sizes matter."""
        return next(filter(None, map(self._size_complaint, scene.pictures)), None)


@dataclass(frozen=True)
class ExportReader:
    """The scenes of an export."""

    root: Path
    depth_range: tuple[float, float]

    def names(self) -> list[str]:
        """Numbers, padded to the same length: then their order as texts is that of the numbers."""
        numbers = sorted(
            int(path.name) for path in self.root.iterdir() if path.name.isdecimal() and path.is_dir()
        )
        if not numbers or numbers != list(range(len(numbers))):
            missing = next((place for place, number in enumerate(numbers) if place != number), len(numbers))
            raise UserError(
                f"ExportedViews: no folder {self.root / str(missing)}, expected scenes numbered from 0 without gaps: "
                "export them again"
            )
        digits = len(str(numbers[-1]))
        return [f"{number:0{digits}d}" for number in numbers]

    def files(self, name: str) -> list[Path]:
        """The list, and the folders of pictures."""
        folder = self.root / str(int(name))
        return [folder / _LIST, folder / _INPUT, folder / _NOVEL]

    def read(self, name: str) -> PosedScene:
        """Inputs, then novel frames."""
        frames = self._frames(name)
        kept = [frame for kind in (_INPUT, _NOVEL) for frame in frames[kind]]
        return PosedScene(
            name,
            [FilePicture(frame.path) for frame in kept],
            np.arange(len(kept)),
            np.stack([frame.extrinsics for frame in kept]),
            np.stack([frame.intrinsics for frame in kept]),
            self.depth_range,
            np.full(len(kept), middle_depth(self.depth_range)),
        )

    def choice(self, name: str) -> Choice:
        """The frames of `read` as an example."""
        frames = self._frames(name)
        inputs = len(frames[_INPUT])
        order = list(range(inputs))
        if frames[_REFERENCE]:
            reference = frames[_REFERENCE][0].centre
            order.sort(key=lambda place: float(np.linalg.norm(frames[_INPUT][place].centre - reference)))
            order = [order[0], *sorted(order[1:])]
        return Choice(order, list(range(inputs, inputs + len(frames[_NOVEL]))))

    def _frames(self, name: str) -> dict[str, list["_Frame"]]:
        """By their kind."""
        folder = self.root / str(int(name))
        frames = _read(folder)
        for kind in (_INPUT, _NOVEL):
            if not frames[kind]:
                raise UserError(
                    f"ExportedViews: {folder / _LIST} has no {kind} frames; expected inputs (initial) and frames to "
                    "predict (novel): export the scene again"
                )
        return frames


@dataclass(frozen=True)
class _Frame:
    path: Path
    extrinsics: np.ndarray
    """[4, 4]."""
    intrinsics: np.ndarray
    """[3, 3]."""

    @property
    def centre(self) -> np.ndarray:
        return -self.extrinsics[:3, :3].T @ self.extrinsics[:3, 3]


def _read(folder: Path) -> dict[str, list[_Frame]]:
    path = folder / _LIST
    frames: dict[str, list[_Frame]] = {_INPUT: [], _REFERENCE: [], _NOVEL: []}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            records = [(reader.line_num, record) for record in reader]
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"ExportedViews: {path} cannot be read ({error}); export the scene again") from error
    missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise UserError(
            f"ExportedViews: {path} has no column {', '.join(missing)}; columns are "
            f"{', '.join(reader.fieldnames or ()) or 'none'}: export the scene again"
        )
    for line, record in records:
        where = f"ExportedViews: {path} line {line}"
        kind = record["type"]
        if kind not in frames:
            raise UserError(
                f"{where}: type is {kind!r}; expected {_INPUT}, {_REFERENCE} or {_NOVEL}: export the scene again"
            )
        frames[kind].append(_frame(folder, record, where))
    return frames


def _frame(folder: Path, record: dict[str, str], where: str) -> _Frame:
    extrinsics = np.eye(4)
    extrinsics[:3] = _matrix(record["extrinsic_re"], (3, 4), f"{where}: extrinsic_re")
    intrinsics = _matrix(record["intrinsics_re"], (3, 3), f"{where}: intrinsics_re")
    check_cameras(torch.from_numpy(extrinsics)[None], torch.from_numpy(intrinsics)[None], where)
    return _Frame(below(folder, record["frame_path"], f"{where}: frame_path"), extrinsics, intrinsics)


def _matrix(text: str | None, shape: tuple[int, int], where: str) -> np.ndarray:
    """A list of numbers, or of rows of them, as text. It is read as a literal: nothing in it is run."""
    try:
        matrix = np.array(ast.literal_eval(text or ""), dtype=np.float64)
        return matrix.reshape(shape)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise UserError(
            f"{where} is {(text or '')[:40]!r}; expected a list of {shape[0] * shape[1]} numbers: export the scene "
            "again"
        ) from error
