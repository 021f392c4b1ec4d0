"""`RealEstate10K`: clips of videos with camera files, as frames in folders or in chunks."""

from pathlib import Path
from typing import Any, ClassVar

from torch.utils.data import Dataset

from repsynth.cache import default_cache
from repsynth.datamodules.base import EvalStage, Part
from repsynth.datamodules.chunk_clips import ChunkClips
from repsynth.datamodules.clip_options import ClipOptions
from repsynth.datamodules.evaluation_index import Indexed, check_options, indexed_examples, read_index
from repsynth.datamodules.folder_clips import FolderClips
from repsynth.datamodules.kept_clips import KeptClips
from repsynth.datamodules.posed_scene import PosedScene
from repsynth.datamodules.realestate10k_layout import Format, Stored, stored_as
from repsynth.datamodules.scene_data import SceneData, require_folder
from repsynth.datamodules.scene_examples import Example
from repsynth.datamodules.survey import Survey
from repsynth.datamodules.video_split import Selection, split_of
from repsynth.errors import UserError, require_at_least

_MOST_WITHIN = 16.0
"""Milliseconds: half a frame at 30 frames per second."""


class RealEstate10K(SceneData):
    """Clips of walks through houses, with the batch `batches.PosedViews`.

    Training and validation read the split `train`, the test the split `test`; `val_scenes` clips of the training
    split are kept for validation, whole videos at a time. Rows of a camera file whose frame is missing leave holes
    and never cut a clip.

    Args:
        root: folder with the splits `train` and `test`, see docs/data/realestate10k.md.
        cameras: folder of the splits' camera files, from `root`; None looks for `cameras` and for `root` itself.
        frames: folder of the splits' frames, from `root`; None looks for `frames`, `videos` and `root` itself.
        format: `files` for a camera file and a folder of frames per clip, `chunks` for `.torch` files with many
            clips each; `auto` looks which are there.
        match_within: greatest difference between the time stamps of a row and of its frame, in milliseconds, at
            most 16 (half a frame).
        translation_scale: factor of the cameras' translations and of `depth_range`.
        depth_range: nearest and farthest depth of every clip, in units of the camera files, whose scale is such that
            near content lies around 1.
        val_scenes: at least so many clips are kept for validation, chosen by a hash of their videos' ids.
        evaluation_index: JSON file that names the input and target views of each test clip, in pixelSplat's form;
            None draws them. Validation is always drawn.
        evaluation_partial: leave out clips of the index that are not on disk with all their frames.
        options: those of `SceneData`.

    Raises:
        UserError: for impossible options.
    """

    dataset: ClassVar[str] = "RealEstate10K"
    layout: ClassVar[str] = (
        "{train,test}/<id>.txt (or cameras/{train,test}/<id>.txt) with frames/{train,test}/<id>/<time stamp>.jpg, or "
        "{train,test}/{index.json, *.torch}"
    )

    def __init__(
        self,
        root: str,
        cameras: str | None = None,
        frames: str | None = None,
        format: Format = "auto",
        match_within: float = 0.0,
        translation_scale: float = 1.0,
        depth_range: tuple[float, float] = (1.0, 100.0),
        val_scenes: int = 100,
        evaluation_index: str | None = None,
        evaluation_partial: bool = False,
        **options: Any,  # noqa: ANN401  those of the base, which the command line reads there
    ) -> None:
        super().__init__(**options)
        require_at_least("data", 1, val_scenes=val_scenes)
        _check_numbers(match_within, translation_scale, depth_range)
        if evaluation_index is not None and self.eval_draws != 1:
            raise UserError(
                f"data.eval_draws is {self.eval_draws}, but data.evaluation_index gives one example per clip; set "
                "it to 1"
            )
        if evaluation_partial and evaluation_index is None:
            raise UserError(
                "data.evaluation_partial: true needs data.evaluation_index; name the file or leave it out"
            )
        self.root = Path(root)
        self.stored = Stored(self.root, cameras, frames, format)
        self.clips = ClipOptions(
            self.dataset,
            translation_scale,
            depth_range,
            round(1000 * match_within),
            self.cache_dir or default_cache(),
        )
        self.val_scenes = val_scenes
        self.index = None if evaluation_index is None else Path(evaluation_index)
        self.partial = evaluation_partial
        self._readers: dict[Part, KeptClips | ChunkClips] = {}
        self._given: Indexed | None = None

    def reader(self, part: Part) -> KeptClips | ChunkClips:
        """The reader of one part, for the shape that is on disk."""
        if part not in self._readers:
            require_folder(self.dataset, self.root, self.layout)
            selection = Selection(part, self.val_scenes, self.index if part == "test" else None)
            split = split_of(part)
            self._readers[part] = (
                ChunkClips(self.root / split, selection, self.clips)
                if stored_as(self.stored, split) == "chunks"
                else KeptClips(FolderClips(*self.stored.folders(split), selection, self.clips))
            )
        return self._readers[part]

    def survey(self, part: Part) -> Survey:
        """What of a part is usable; see `SceneData.survey`. From then on its reader has its tables."""
        reader = self.reader(part)
        if part not in self._surveys:
            if isinstance(reader, ChunkClips):
                reader.prepare()
            else:
                self._readers[part] = reader.prepared()
        return super().survey(part)

    def check(self, stage: str | None = None) -> None:
        """Survey the parts that a stage needs, and hold the evaluation index against the clips on disk."""
        if self.index is not None and "test" in self.parts(stage):
            check_options(read_index(self.index), self.views.sources, self.eval_batch_size)
        super().check(stage)
        if "test" in self.parts(stage):
            self.evaluation_examples("test")

    def train_dataset(self) -> Dataset[Any]:
        """See `SceneData.train_dataset`, which asks for the reader first."""
        self.survey("train")
        return super().train_dataset()

    def evaluation_examples(self, stage: EvalStage) -> list[Example]:
        """Those of the evaluation index for the test, else drawn ones; see `SceneData.evaluation_examples`."""
        if stage == "val" or self.index is None:
            return super().evaluation_examples(stage)
        if self._given is None:
            index, found = read_index(self.index), self.survey(stage)
            self._given = indexed_examples(index, self.reader(stage), found, self.eval_scenes, self.partial)
        return self._given.examples

    @property
    def evaluation_words(self) -> str:
        """How evaluation examples come about, in words."""
        drawn = super().evaluation_words
        if self.index is None:
            return drawn
        counts = ""
        if self._given is not None:
            counts = f", {len(self._given.examples)} clips" + (
                f" ({self._given.left_out} are not usable and left out)" if self._given.left_out else ""
            )
        return f"test views of the index {self.index.name}{counts}; validation views {drawn}"

    def _complaint(self, part: Part, scene: PosedScene) -> str | None:
        """An index chooses the views of a clip itself: neither their baseline nor a window matters."""
        if part != "test" or self.index is None:
            return super()._complaint(part, scene)
        return self._size_complaint(scene.pictures[0])


def _check_numbers(within: float, scale: float, depth_range: tuple[float, float]) -> None:
    if not 0 <= within <= _MOST_WITHIN:
        raise UserError(
            f"data.match_within is {within:g}; expected 0 to {_MOST_WITHIN:g} milliseconds, half a frame"
        )
    if not 0 < scale < float("inf"):
        raise UserError(f"data.translation_scale is {scale:g}; expected a factor above 0")
    near, far = depth_range
    if not 0 < near < far < float("inf"):
        raise UserError(f"data.depth_range is [{near:g}, {far:g}]; expected 0 < near < far")
