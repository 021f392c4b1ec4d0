"""Data modules of captures: every eighth view is held out and predicted from its nearest neighbours."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn

from repsynth.datamodules.base import EvalStage, Part
from repsynth.datamodules.captures import (
    HOLD_OUT,
    CaptureFormat,
    CaptureReader,
    PictureRules,
    is_held_out,
    training_part,
)
from repsynth.datamodules.posed_scene import PosedScene
from repsynth.datamodules.scene_data import SceneData
from repsynth.datamodules.scene_examples import Example
from repsynth.datamodules.views import STATIC, Choice, NoExampleError, ViewSampling
from repsynth.errors import UserError


class HeldOutData(SceneData):
    """Captures whose views 0, 8, 16, ... are held out: one evaluation example each, for validation and test alike.

    Its inputs are the nearest training views by camera centre, the nearest first (the reference); `min_baseline`
    and `max_baseline` hold for them too. Training examples are drawn from the other views. A subclass sets `root`
    and `form`.

    Args:
        options: those of `SceneData`.

    Raises:
        UserError: for impossible options.
    """

    root: Path
    form: CaptureFormat
    shares_scenes: ClassVar[bool] = True

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  those of the base
        super().__init__(**options)
        if self.eval_draws != 1:
            raise UserError(
                f"data.eval_draws is {self.eval_draws}, but {self.dataset} evaluates each held-out view once and draws "
                "nothing; leave the option out"
            )
        self._fitting: set[str] = set()
        self._told: set[str] = set()
        self._examples: dict[EvalStage, list[Example]] = {}

    def reader(self, part: Part) -> CaptureReader:
        """All views, or without those held out."""
        # What was read is kept by its path, and the current folder may change.
        return CaptureReader(self.form, self.root.absolute(), part == "train")

    def evaluation_examples(self, stage: EvalStage) -> list[Example]:
        """Each held-out view that has a picture."""
        if stage not in self._examples:
            scenes = self.survey(stage).usable[: self.eval_scenes]
            self._examples[stage] = [example for name in scenes for example in self._held_out(stage, name)]
        return self._examples[stage]

    @property
    def rules(self) -> PictureRules:
        """What is accepted of pictures, for `form`."""
        return PictureRules(self.pictures.convert, self.on_bad_image == "skip")

    def tell(self, remark: str) -> None:
        """Warn once, however often the data is checked."""
        if remark not in self._told:
            self._told.add(remark)
            rank_zero_warn(remark)

    def usable(self, stage: str | None) -> list[str]:
        """The scenes that a stage reads, by name."""
        return sorted({name for part in self.parts(stage) for name in self.survey(part).usable})

    @property
    def evaluation_words(self) -> str:
        """How evaluation examples come about, in words."""
        return (
            f"views 0, {HOLD_OUT}, {2 * HOLD_OUT}, ... of each scene from the {self.views.sources} nearest other views "
            f"by camera centre, the nearest as reference{_baselines(self.views)}"
        )

    def _held_out(self, stage: EvalStage, name: str) -> list[Example]:
        capture = self.reader(stage).capture(name)
        return [
            Example(f"{name}/{capture.names[view]}", name, held_out_choice(capture.scene, view, self.views))
            for view in np.flatnonzero(is_held_out(capture.scene)).tolist()
        ]

    def _complaint(self, part: Part, scene: PosedScene) -> str | None:
        """Also sees, once for each scene, whether its pictures and cameras belong together."""
        if scene.name not in self._fitting:
            capture = self.reader(part).capture(scene.name)
            self.form.check(capture)
            self._fitting.add(scene.name)
        if not scene.pictures:
            return "without training views"
        training = scene if part == "train" else training_part(scene)
        # All pictures, because their cameras may have many sizes.
        small = (self._size_complaint(picture) for picture in scene.pictures)
        why = next((reason for reason in small if reason), None) or super()._complaint(part, training)
        return why or (None if part == "train" else self._evaluation_complaint(scene))

    def _evaluation_complaint(self, scene: PosedScene) -> str | None:
        held = np.flatnonzero(is_held_out(scene)).tolist()
        try:
            for view in held:
                held_out_choice(scene, view, self.views)
        except NoExampleError:
            return "without an allowed baseline"
        return None if held else "without held-out views"


def require_near_depth(near_depth: float) -> None:
    """Raise UserError unless `data.near_depth` is a depth."""
    if near_depth <= 0:
        raise UserError(f"data.near_depth is {near_depth}; expected a depth above 0")


def held_out_choice(scene: PosedScene, view: int, views: ViewSampling) -> Choice:
    """The nearest training views, the nearest first, to predict a held-out one from.

    Args:
        scene: all views.
        view: its place among them.
        views: how many inputs, and the baselines that they may have from the first.

    Raises:
        NoExampleError: too few views are left.
    """
    training = np.flatnonzero(~is_held_out(scene))
    order = training[np.argsort(_distances(scene, training, view), kind="stable")]
    longest = np.inf if views.max_baseline is None else views.max_baseline
    apart = _distances(scene, order, int(order[0])) if len(order) else np.empty(0)
    allowed = (apart > STATIC) & (apart >= views.min_baseline) & (apart <= longest)
    sources = [*order[:1].tolist(), *order[allowed][: views.sources - 1].tolist()]
    if len(sources) < views.sources:
        raise NoExampleError(
            f"{scene.name}: only {len(sources)} of data.source_views {views.sources} training views have allowed "
            f"baselines (data.min_baseline {views.min_baseline:g}, data.max_baseline {views.max_baseline}); loosen them"
        )
    return Choice(sources, [view])


def _distances(scene: PosedScene, others: np.ndarray, view: int) -> np.ndarray:
    centres = scene.centres
    distances: np.ndarray = np.linalg.norm(centres[others] - centres[view], axis=1)
    return distances


def _baselines(views: ViewSampling) -> str:
    if not views.min_baseline and views.max_baseline is None:
        return ""
    longest = "any" if views.max_baseline is None else f"{views.max_baseline:g}"
    return f" with baselines from {views.min_baseline:g} to {longest}"
