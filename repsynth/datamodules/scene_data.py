"""The data module of posed scenes on disk: checks, drawn training examples, fixed evaluation examples."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import Dataset

from repsynth.batches import PosedViews
from repsynth.datamodules.base import DataModule, EvalStage, Part
from repsynth.datamodules.images import Fit, require_size
from repsynth.datamodules.posed_scene import Picture, PosedScene, SceneReader
from repsynth.datamodules.posed_views import PosedExample, collate
from repsynth.datamodules.scene_examples import (
    EvaluationScenes,
    Example,
    PictureOptions,
    TrainingScenes,
)
from repsynth.datamodules.survey import Survey, cached_survey
from repsynth.datamodules.unreadable import OnBadImage
from repsynth.datamodules.views import Mode, ViewSampling
from repsynth.errors import UserError, require_at_least


class SceneData(DataModule):
    """Posed scenes with the batch `batches.PosedViews`; a subclass knows one layout on disk.

    A subclass gives `dataset`, `layout` and `reader`, and `evaluation_examples` where its evaluation is not drawn.
    Scenes that give no example (static, too short, without frames ...) are left out with a warning that counts them.

    Args:
        image_size: (height, width) of the images in pixels.
        fit: `crop` keeps the aspect ratio and cuts the middle out, `stretch` does not; intrinsics follow.
        mode: which views are inputs and which are to be predicted; see `views.ViewSampling`.
        window: rows of the camera file that an example may span; see `views.ViewSampling`.
        source_views: inputs per example, the reference among them.
        novel_views: views to predict per example.
        min_baseline: least distance of the reference's camera centre from the other inputs', in scene units.
        max_baseline: greatest such distance.
        samples_per_scene: training examples per scene and epoch.
        eval_scenes: at most so many scenes are evaluated, the first by name; None takes all.
        eval_draws: examples per evaluated scene, drawn once and for all.
        min_items: fewer usable training (or evaluation) scenes are an error.
        on_bad_image: `skip` leaves out training examples with unreadable pictures, up to one in a hundred.
        on_bad_scene: `skip` leaves out scenes whose cameras are unreadable or impossible.
        on_small: `skip` leaves out scenes whose pictures are smaller than `image_size`.
        convert_colours: accept pictures with transparency (it is dropped) or in CMYK.
        augment: colour jitter and mirroring of training examples.
        cache_dir: where the outcome of the checks is kept; None takes REPSYNTH_CACHE, else ~/.cache/repsynth.
        options: those of `DataModule`.

    Raises:
        UserError: for impossible options.
    """

    dataset: ClassVar[str]
    """Its name in messages; its page is docs/data/<name in lower case>.md."""
    layout: ClassVar[str]
    """What is expected below `data.root`, in one line."""

    def __init__(
        self,
        image_size: tuple[int, int] = (256, 256),
        fit: Fit = "crop",
        mode: Mode = "extrapolation",
        window: int = 10,
        source_views: int = 2,
        novel_views: int = 1,
        min_baseline: float = 0.0,
        max_baseline: float | None = None,
        samples_per_scene: int = 1,
        eval_scenes: int | None = None,
        eval_draws: int = 1,
        min_items: int = 1,
        on_bad_image: OnBadImage = "error",
        on_bad_scene: Literal["error", "skip"] = "error",
        on_small: Literal["error", "skip"] = "error",
        convert_colours: bool = False,
        augment: bool = False,
        cache_dir: str | None = None,
        **options: Any,  # noqa: ANN401  those of the base, which the command line reads there
    ) -> None:
        super().__init__(**options)
        height, width = image_size
        require_at_least("data", 8, image_size=min(height, width))
        require_at_least("data", 1, samples_per_scene=samples_per_scene, eval_draws=eval_draws)
        require_at_least("data", 1, eval_scenes=eval_scenes or 1, min_items=min_items)
        self.image_size = (height, width)
        self.pictures = PictureOptions(self.image_size, fit, convert_colours)
        self.views = ViewSampling(mode, window, source_views, novel_views, min_baseline, max_baseline)
        self.views.check(window, "an example")
        self.samples_per_scene = samples_per_scene
        self.eval_scenes, self.eval_draws = eval_scenes, eval_draws
        self.min_items = min_items
        self.on_bad_image: OnBadImage = on_bad_image
        self.on_bad_scene, self.on_small = on_bad_scene, on_small
        self.augment = augment
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self._surveys: dict[Part, Survey] = {}

    # What a data set gives.

    def reader(self, part: Part) -> SceneReader:
        """The reader of one part."""
        raise NotImplementedError

    def evaluation_examples(self, stage: EvalStage) -> list[Example]:
        """What is evaluated, in the order of the ids: `eval_draws` examples of each scene by default."""
        scenes = self.survey(stage).usable[: self.eval_scenes]
        if self.eval_draws == 1:
            return [Example(name, name) for name in scenes]
        return [
            Example(f"{name}/{draw:02d}", name, draw=draw)
            for name in scenes
            for draw in range(self.eval_draws)
        ]

    # What follows from it.

    def survey(self, part: Part) -> Survey:
        """What of a part is usable.

        Raises:
            UserError: nothing is, or less than `min_items`; or a scene must be put right first.
        """
        if part not in self._surveys:
            found = cached_survey(
                self.reader(part),
                partial(self._complaint, part),
                self.on_bad_scene == "skip",
                f"{part} {self.views} {self.image_size} {self.on_small}",
                self.cache_dir,
            )
            self._require_scenes(part, found)
            self._surveys[part] = found
        return self._surveys[part]

    def check(self, stage: str | None = None) -> None:
        """Survey the parts that a stage needs, and see that they do not share scenes."""
        parts = self.parts(stage)
        owners: dict[str, tuple[Part, str]] = {}
        shared = []
        for part in parts:
            found = self.survey(part)
            for name, group in zip(found.usable, found.groups, strict=True):
                other, theirs = owners.setdefault(group, (part, name))
                if other != part and not self.shares_scenes:
                    shared.append(f"{theirs} ({other}) and {name} ({part})")
        if shared:
            raise UserError(
                f"{self.dataset}: {len(shared)} scenes are in two parts of the split: {'; '.join(shared[:3])}; "
                "remove them from one, or figures on the other are not of unseen scenes"
            )

    shares_scenes: ClassVar[bool] = False
    """Whether training and evaluation show different views of the same scenes."""

    @property
    def protocol(self) -> str:
        """What evaluation figures on this data are figures of, in one line for their report."""
        height, width = self.image_size
        return f"{self.dataset}, {self.evaluation_words}; {height} x {width} pixels ({self.pictures.fit})"

    @property
    def evaluation_words(self) -> str:
        """How evaluation examples come about, in words."""
        view = self.views
        return (
            f"{view.novel} novel from {view.sources} input views by {view.mode} in a window of {view.window} rows, "
            f"{self.eval_draws} per scene"
        )

    def describe(self, stage: str | None = None) -> dict[str, int]:
        """Counts for `--dry-run`."""
        counts = {f"{part} scenes": len(self.survey(part).usable) for part in self.parts(stage)}
        return counts | super().describe(stage)

    def train_dataset(self) -> Dataset[Any]:
        """`samples_per_scene` examples of each usable scene."""
        return TrainingScenes(
            self.reader("train"),
            self.survey("train").usable,
            self.samples_per_scene,
            self.seed,
            self.views,
            self.pictures,
            self.augment,
            self.on_bad_image,
        )

    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        """The evaluation examples."""
        examples = self.evaluation_examples(stage)
        return EvaluationScenes(self.reader(stage), examples, self.views, self.pictures)

    def collate(self, examples: list[PosedExample]) -> PosedViews:
        """Join examples."""
        return collate(examples)

    # Inner parts.

    def _complaint(self, part: Part, scene: PosedScene) -> str | None:
        """Why a scene that could be read is of no use; see `survey`."""
        usable = self.views.usable(scene.centres, scene.numbers)
        if usable == "too short":
            return f"shorter than {self.views.sources + self.views.novel}"
        if usable != "yes":
            return usable
        return self._size_complaint(scene.pictures[0])

    def _size_complaint(self, picture: Picture) -> str | None:
        """Why a picture's scene is of no use: it does not reach `image_size`."""
        try:
            size = picture.size()
        except UserError:
            if self.on_bad_image == "skip":  # whoever reads it counts it
                return None
            raise
        if self.on_small == "error":
            require_size(picture.label, size, self.image_size, "or set data.on_small: skip")
        elif size[0] < self.image_size[0] or size[1] < self.image_size[1]:
            return "smaller than data.image_size"
        return None

    def _require_scenes(self, part: Part, found: Survey) -> None:
        root = getattr(self, "root", "the data")
        counts = found.summary()
        reasons = f": {counts}. First: {found.first_dropped}" if counts else ""
        head = f"{self.dataset}: found {len(found.usable)} usable {part} scenes under {root}{reasons}"
        if len(found.usable) < self.min_items:
            wanted = "" if self.min_items == 1 else f"; data.min_items wants {self.min_items}"
            raise UserError(
                f"{head}{wanted}. Expected {self.layout}. See docs/data/{self.dataset.lower()}.md"
            )
        if counts:
            rank_zero_warn(f"{head}; the dropped ones are left out")
        if found.missing:
            rank_zero_warn(
                f"{self.dataset}: {found.missing} rows of {part} camera files have no picture, {found.views} have; "
                "examples are drawn from those that are there"
            )


def require_folder(dataset: str, root: Path, layout: str) -> None:
    """Raise UserError unless `root` is a folder."""
    if not root.is_dir():
        raise UserError(
            f"{dataset}: no folder at {root} (option data.root). Expected {layout}. See "
            f"docs/data/{dataset.lower()}.md for how to get it."
        )


assert set(get_args(EvalStage)) < set(get_args(Part))
