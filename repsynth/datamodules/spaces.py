"""`Spaces`: scenes photographed with a rig of 16 cameras at some positions, of the DeepView paper."""

from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from repsynth.datamodules.base import EvalStage, Part
from repsynth.datamodules.posed_scene import PosedScene
from repsynth.datamodules.scene_data import SceneData
from repsynth.datamodules.scene_examples import Example
from repsynth.datamodules.spaces_reader import (
    LAYOUT,
    DrawOver,
    Resolution,
    ScalePer,
    SpacesReader,
    folders_of,
)
from repsynth.datamodules.views import Choice, Mode
from repsynth.errors import UserError

Group = Literal["small", "medium", "large"]

GROUPS: dict[Group, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "small": ((2, 1, 11, 10), (5, 6, 7)),
    "medium": ((3, 1, 12, 10), (2, 4, 5, 6, 7, 11)),
    "large": ((3, 0, 12, 9), (1, 2, 4, 5, 6, 7, 8, 10, 11)),
}
"""Input cameras, the reference first, and the cameras that are predicted from them (official evaluation)."""

TEST_SCENES = (0, 9, 10, 23, 24, 52, 56, 62, 63, 73)
"""The ten test scenes of the literature, from memory: not in the data set."""

VAL_SCENES = (5, 25, 45, 65, 85)
"""Ours: the data set has no validation part, so these are taken from its 90 training scenes."""


class Spaces(SceneData):
    """Posed pictures of a camera rig with the batch `batches.PosedViews`.

    Evaluation predicts each novel camera of the `groups` from the four inputs of its group, at the first rig
    position; an example is called `scene_009/0/small/05`: scene, rig position, group, novel camera. Training
    examples are drawn by `mode` from one rig position, whose rows are the cameras 0 to 15, or from all of a scene.

    Args:
        root: the repository, its folder data/800 or data/2k, or one scene.
        resolution: which pictures to read where `root` is the repository.
        draw_over: training examples stay at one rig `position`, or mix those of a scene (`sequence`: the row of
            camera c at position p is 16 p + c, and `window` counts these rows).
        groups: quads of cameras to evaluate; an empty list draws evaluation examples as training ones are drawn.
        train_scenes: numbers of the training scenes; None takes all that the other parts leave.
        val_scenes: numbers of the validation scenes.
        test_scenes: numbers of the test scenes; the default is from memory.
        scale: scene units per metre, or per what `scale_per` says.
        scale_per: `metre`, or `rig`: the distance between the cameras 4 and 8 (SIMPLI's rule).
        near: depth of the nearest plane, in scene units.
        far: depth of the farthest plane, in scene units.
        image_size: (height, width) of the images in pixels; the heights of a rig's pictures differ.
        mode: how training examples are drawn; see `views.ViewSampling`.
        window: rows that a training example may span; see `views.ViewSampling`.
        source_views: inputs per training example, the reference among them, at least the four that groups have.
        novel_views: views to predict per training example; the groups give one.
        options: those of `SceneData`.

    Raises:
        UserError: for impossible options.
    """

    dataset: ClassVar[str] = "Spaces"
    layout: ClassVar[str] = LAYOUT

    def __init__(
        self,
        root: str,
        resolution: Resolution = "800",
        draw_over: DrawOver = "position",
        groups: tuple[Group, ...] = ("small", "medium", "large"),
        train_scenes: tuple[int, ...] | None = None,
        val_scenes: tuple[int, ...] = VAL_SCENES,
        test_scenes: tuple[int, ...] = TEST_SCENES,
        scale: float = 1.0,
        scale_per: ScalePer = "metre",
        near: float = 1.0,
        far: float = 100.0,
        image_size: tuple[int, int] = (256, 256),
        mode: Mode = "random",
        window: int = 16,
        source_views: int = 4,
        novel_views: int = 1,
        **options: Any,  # noqa: ANN401  those of the base, which the command line reads there
    ) -> None:
        super().__init__(
            image_size=image_size,
            mode=mode,
            window=window,
            source_views=source_views,
            novel_views=novel_views,
            **options,
        )
        self.root = Path(root)
        self.resolution: Resolution = resolution
        self.draw_over: DrawOver = draw_over
        self.groups = tuple(groups)
        self.scenes: dict[Part, tuple[int, ...] | None] = {
            "train": None if train_scenes is None else tuple(train_scenes),
            "val": tuple(val_scenes),
            "test": tuple(test_scenes),
        }
        self.scale, self.scale_per = scale, scale_per
        self.depth_range = (near, far)
        self._check_options()

    def reader(self, part: Part) -> SpacesReader:
        """The reader of one part."""
        folders = folders_of(self.root, self.resolution, self.scenes[part], self._held_out)
        if not folders:
            raise UserError(
                f"Spaces: {self.root} has no scene of the {part} part (data.{part}_scenes: "
                f"{_listed(self.scenes[part])}); give data.{part}_scenes numbers that are there"
            )
        evaluated = part != "train" and bool(self.groups)
        over = "position" if evaluated else self.draw_over
        return SpacesReader(folders, over, evaluated, self.scale, self.scale_per, self.depth_range)

    def evaluation_examples(self, stage: EvalStage) -> list[Example]:
        """The novel cameras of each group, in the order of the ids; drawn ones without groups."""
        if not self.groups:
            return super().evaluation_examples(stage)
        examples = [
            Example(f"{name}/{group}/{camera:02d}", name, Choice(list(GROUPS[group][0]), [camera]))
            for name in self.survey(stage).usable[: self.eval_scenes]
            for group in self.groups
            for camera in GROUPS[group][1]
        ]
        return sorted(examples, key=lambda example: example.name)

    @property
    def evaluation_words(self) -> str:
        """How evaluation examples come about, in words."""
        if not self.groups:
            return super().evaluation_words
        quads = "; ".join(f"{group} {GROUPS[group][0]} -> {GROUPS[group][1]}" for group in self.groups)
        return f"rig position 0, each novel camera from the quad of its group: {quads}"

    # Inner parts.

    @property
    def _held_out(self) -> tuple[int, ...]:
        return (*(self.scenes["val"] or ()), *(self.scenes["test"] or ()))

    def _check_options(self) -> None:
        near, far = self.depth_range
        if not 0 < near < far < float("inf"):
            raise UserError(
                f"data.near is {near:g} and data.far {far:g}; expected 0 < near < far, in scene units"
            )
        if not 0 < self.scale < float("inf"):
            raise UserError(
                f"data.scale is {self.scale:g}; expected scene units per {self.scale_per} above 0"
            )
        unknown = [group for group in self.groups if group not in get_args(Group)]
        if unknown or len(set(self.groups)) < len(self.groups):
            raise UserError(
                f"data.groups is {list(self.groups)}; expected each of {', '.join(get_args(Group))} at most once, or "
                "an empty list to draw evaluation examples"
            )
        if self.groups and self.views.sources < 4:
            raise UserError(
                f"data.source_views is {self.views.sources}, but each example of data.groups has 4 inputs and a method "
                "of fewer would leave some out unsaid; set it to 4 or more, or data.groups: [] to draw evaluation "
                "examples"
            )
        if self.groups and self.eval_draws != 1:
            raise UserError(
                f"data.eval_draws is {self.eval_draws}, but the examples of data.groups are fixed; leave it out, or "
                "set data.groups: [] to draw evaluation examples"
            )

    def _complaint(self, part: Part, scene: PosedScene) -> str | None:
        """Why a scene is of no use; groups ask for no baselines, and all pictures count, whose sizes differ."""
        drawn = part == "train" or not self.groups
        why = super()._complaint(part, scene) if drawn else None
        return why or next(filter(None, map(self._size_complaint, scene.pictures)), None)


def _listed(numbers: tuple[int, ...] | None) -> str:
    return "all that the other parts leave" if numbers is None else ", ".join(map(str, numbers)) or "none"
