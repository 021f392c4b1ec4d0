"""`SyntheticScenes`: procedural scenes with occlusions, rendered on the fly, that know the truth."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch.utils.data import Dataset

from repsynth.batches import PosedViews
from repsynth.datamodules.base import DataModule, EvalStage
from repsynth.datamodules.posed_views import Frames, PosedExample, assemble, augmented, collate
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.synthetic import renderer, scenes
from repsynth.datamodules.views import Choice, Mode, ViewSampling, camera_centres
from repsynth.errors import UserError, require_at_least

_STREAMS = {"train": 0x7EA1, "val": 0x7A1, "test": 0x7E57}
"""Keep the scenes of the three parts apart, and apart from the examples' own generators."""

_LONGEST = 30
"""Cameras of a path that stay before the wall and within its edges."""


class SyntheticScenes(DataModule):
    """Scenes of textured cards and boxes before a wall, seen along a camera path; no files needed.

    Scene i of the training part is a function of (seed, i); its views and augmentation of (seed, epoch, i).
    The scenes of validation and test depend on i alone, so that runs of different seeds are measured on the
    same ones; their textures come from parts of the photographs that training never shows. The batch is
    `batches.PosedViews` with `novel_depth`; `depth_range` and `median_depth` are those of the reference
    view's true depth map.

    Args:
        image_size: (height, width) in pixels.
        clip_frames: cameras on the path of a scene; at most 30, or they would see past the wall.
        window: frames that an example may span; see `views.ViewSampling`.
        mode: which views are inputs and which are to be predicted; see `views.ViewSampling`.
        source_views: inputs per example, the reference among them.
        novel_views: views to predict per example.
        train_scenes: training scenes, which is the samples of an epoch.
        eval_scenes: scenes of validation and of test each.
        augment: colour jitter and mirroring of training examples.
        batch_size: see `DataModule`, like all that follow.
        eval_batch_size: see `DataModule`.
        num_workers: see `DataModule`.
        seed: see `DataModule`.
        persistent_workers: see `DataModule`.
        prefetch_factor: see `DataModule`.

    Raises:
        UserError: sizes or counts that are too small, or views that the clip cannot give.
    """

    def __init__(
        self,
        image_size: tuple[int, int] = (64, 64),
        clip_frames: int = 5,
        window: int = 5,
        mode: Mode = "extrapolation",
        source_views: int = 2,
        novel_views: int = 1,
        train_scenes: int = 4096,
        eval_scenes: int = 50,
        augment: bool = False,
        batch_size: int = 4,
        eval_batch_size: int = 1,
        num_workers: int = 0,
        seed: int | None = None,
        persistent_workers: bool = True,
        prefetch_factor: int = 2,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed, persistent_workers, prefetch_factor)
        height, width = image_size
        require_at_least("data", 8, image_size=min(height, width))
        require_at_least("data", 1, train_scenes=train_scenes, eval_scenes=eval_scenes)
        self.views = ViewSampling(mode, window, source_views, novel_views)
        if clip_frames > _LONGEST:
            raise UserError(
                f"data.clip_frames is {clip_frames}; a path of more than {_LONGEST} cameras leaves its scene: lower it"
            )
        self.views.check(clip_frames, f"a path of data.clip_frames {clip_frames}")
        self.image_size = (height, width)
        self.clip_frames = clip_frames
        self.train_scenes = train_scenes
        self.eval_scenes = eval_scenes
        self.augment = augment

    @property
    def protocol(self) -> str:
        """What evaluation figures on this data are figures of, in one line for their report."""
        height, width = self.image_size
        return (
            f"SyntheticScenes, {self.views.novel} novel from {self.views.sources} input views by "
            f"{self.views.mode} in a window of {self.views.window} of {self.clip_frames} cameras; "
            f"{height} x {width} pixels"
        )

    def train_dataset(self) -> Dataset[Any]:
        """`train_scenes` scenes."""
        return self._scenes("train", self.train_scenes)

    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        """`eval_scenes` scenes, the same for every seed; those of validation and test differ."""
        return self._scenes(stage, self.eval_scenes)

    def collate(self, examples: list[PosedExample]) -> PosedViews:
        """Join examples."""
        return collate(examples)

    def _scenes(self, part: Literal["train", "val", "test"], count: int) -> "SceneDataset":
        augment = self.augment and part == "train"
        return SceneDataset(part, count, self.seed, self.image_size, self.clip_frames, self.views, augment)


@dataclass(frozen=True)
class SceneDataset(Dataset[PosedExample]):
    """One part of `SyntheticScenes`; the fields are its options."""

    part: Literal["train", "val", "test"]
    count: int
    seed: int
    image_size: tuple[int, int]
    clip_frames: int
    views: ViewSampling
    augment: bool

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: SampleKey) -> PosedExample:
        # Held-out scenes do not depend on the seed.
        seed = self.seed if self.part == "train" else 0
        rng = key.rng(seed)
        scene = np.random.default_rng([_STREAMS[self.part], seed, key.index, 1])
        name = f"{self.part}-{key.index:06d}"
        split: scenes.Split = "train" if self.part == "train" else "held out"
        pieces = scenes.random_scene(
            scene, self.image_size[1], self.image_size[0] / self.image_size[1], split
        )
        path = scenes.random_path(scene, self.clip_frames)
        example = render_example(
            name, pieces, path, self.views.draw(rng, camera_centres(path)), self.image_size
        )
        return augmented(example, rng) if self.augment else example


def render_example(
    name: str, pieces: list[scenes.Piece], path: np.ndarray, choice: Choice, size: tuple[int, int]
) -> PosedExample:
    """Render the chosen views of a path [N, 4, 4]; depth figures are those of the reference view."""
    numbers = [*choice.sources, *choice.novel]
    intrinsics = scenes.intrinsics(size[0] / size[1])
    picture = renderer.render(pieces, path[numbers], intrinsics, size)
    frames: Frames = {
        "images": picture.images,
        "extrinsics": path[numbers],
        "intrinsics": np.repeat(intrinsics[None], len(numbers), axis=0),
    }
    inputs = len(choice.sources)
    places = Choice(list(range(inputs)), list(range(inputs, len(numbers))))
    reference = picture.depth[0]
    depth_range = float(reference.min()), float(reference.max())
    example = assemble(name, frames, places, depth_range, float(np.median(reference)))
    example["novel_depth"] = picture.depth[inputs:]
    return example
