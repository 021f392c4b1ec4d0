"""`LLFF`: forward-facing captures of the LLFF and NeRF papers, and captures of one's own in their layout."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import Dataset

from repsynth.batches import PosedViews
from repsynth.datamodules.base import DataModule, EvalStage
from repsynth.datamodules.images import Fit, fit_image, fit_intrinsics, read_image, require_mode
from repsynth.datamodules.llff_fit import check_fit
from repsynth.datamodules.llff_scene import HOLD_OUT, LLFFScene, read_scene
from repsynth.datamodules.posed_views import Frames, PosedExample, assemble, augmented, collate
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.views import Choice, Mode, ViewSampling, camera_centres
from repsynth.errors import UserError, require_at_least

_LAYOUT = "<scene>/{poses_bounds.npy, images_8/*.png}, or such a scene itself"


class LLFF(DataModule):
    """Posed photographs with the batch `batches.PosedViews`.

    Views 0, 8, 16, ... of each scene are held out: one evaluation example each, for validation and test
    alike. Its inputs are the nearest training views by camera centre, the nearest first (the reference).
    Training examples are drawn from the other views. Lengths are scaled so that the nearest bound of a scene
    lies at `near_depth`.

    Args:
        root: a scene, or a folder of scenes.
        image_size: (height, width) of the images in pixels.
        fit: `crop` keeps the aspect ratio and cuts the middle out, `stretch` does not; intrinsics follow.
        images: folder of pictures in each scene; None takes the smallest that is large enough.
        near_depth: depth of the nearest bound, in scene units.
        source_views: inputs per example, the reference among them.
        novel_views: views to predict per training example.
        mode: how training examples are drawn from the training views; see `views.ViewSampling`.
        window: training views that an example may span; see `views.ViewSampling`.
        samples_per_scene: training examples per scene and epoch.
        convert_colours: accept pictures with transparency (it is dropped) or in CMYK.
        augment: colour jitter and mirroring of training examples.
        batch_size: see `DataModule`, like all that follow.
        eval_batch_size: see `DataModule`.
        num_workers: see `DataModule`.
        seed: see `DataModule`.
        persistent_workers: see `DataModule`.
        prefetch_factor: see `DataModule`.

    Raises:
        UserError: for impossible counts.
    """

    def __init__(
        self,
        root: str,
        image_size: tuple[int, int] = (256, 256),
        fit: Fit = "crop",
        images: str | None = None,
        near_depth: float = 1.25,
        source_views: int = 2,
        novel_views: int = 1,
        mode: Mode = "neighbours",
        window: int = 5,
        samples_per_scene: int = 100,
        convert_colours: bool = False,
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
        require_at_least("data", 1, samples_per_scene=samples_per_scene)
        if near_depth <= 0:
            raise UserError(f"data.near_depth is {near_depth}; expected a depth above 0")
        self.root = Path(root)
        self.image_size = (height, width)
        self.pictures = _Pictures(self.image_size, fit, convert_colours)
        self.images = images
        self.near_depth = near_depth
        self.views = ViewSampling(mode, window, source_views, novel_views)
        self.samples_per_scene = samples_per_scene
        self.augment = augment
        self._loaded: list[LLFFScene] | None = None

    @property
    def scenes(self) -> list[LLFFScene]:
        """All scenes in the order of their names, read once.

        Raises:
            UserError: for whatever is missing or broken; see docs/data/llff.md.
        """
        if self._loaded is None:
            self._loaded = [
                read_scene(folder, self.near_depth, self.pictures.size, self.images)
                for folder in scene_folders(self.root)
            ]
        return self._loaded

    def check(self, stage: str | None = None) -> None:
        """Read all scenes, and see that each has enough views and that its cameras fit its sparse points."""
        for scene in self.scenes:
            self.views.check(len(scene.training), f"LLFF: {scene.name}: {len(scene.training)} training views")
            for file in scene.files:
                require_mode(file, self.pictures.convert)
            check_fit(scene)
            if scene.distortion:
                rank_zero_warn(
                    f"LLFF: {scene.name}: the photographs are distorted ({scene.distortion}) and "
                    "poses_bounds.npy cannot say so; expect errors of up to some pixels in the corners"
                )

    def describe(self, stage: str | None = None) -> dict[str, int]:
        """Counts for `--dry-run`."""
        return {"scenes": len(self.scenes), **super().describe(stage)}

    @property
    def protocol(self) -> str:
        """What evaluation figures on this data are figures of, in one line for their report."""
        height, width = self.image_size
        return (
            f"LLFF, views 0, {HOLD_OUT}, {2 * HOLD_OUT}, ... of each scene from the {self.views.sources} nearest "
            f"other views by camera centre, the nearest as reference; {height} x {width} pixels "
            f"({self.pictures.fit})"
        )

    def train_dataset(self) -> Dataset[Any]:
        """`samples_per_scene` examples of each scene."""
        return _Training(
            self.scenes, self.samples_per_scene, self.seed, self.pictures, self.views, self.augment
        )

    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        """The held-out views, the same for validation and test."""
        return _HeldOut(self.scenes, self.pictures, self.views.sources)

    def collate(self, examples: list[PosedExample]) -> PosedViews:
        """Join examples."""
        return collate(examples)


def scene_folders(root: Path) -> list[Path]:
    """The scenes at or below `root`, in the order of their names.

    Raises:
        UserError: no folder, or none with poses_bounds.npy.
    """
    if not root.is_dir():
        raise UserError(
            f"LLFF: no folder at {root} (option data.root). Expected {_LAYOUT}. See docs/data/llff.md for "
            "how to get it."
        )
    if (root / "poses_bounds.npy").is_file():
        return [root.resolve()]
    below = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    scenes = [path for path in below if (path / "poses_bounds.npy").is_file()]
    others = [path.name for path in below if path not in scenes]
    first = f" First: {others[0]}." if others else ""
    counts = f"LLFF: found {len(scenes)} usable scenes under {root}: {len(others)} folders without "
    if not scenes:
        raise UserError(
            f"{counts}poses_bounds.npy.{first} Expected {_LAYOUT}. See docs/data/llff.md for how to get it."
        )
    if others:
        rank_zero_warn(f"{counts}poses_bounds.npy are left out.{first}")
    return scenes


def nearest_views(scene: LLFFScene, view: int, candidates: list[int]) -> list[int]:
    """The candidates by the distance of their camera centres from that of `view`, the nearest first."""
    centres = camera_centres(scene.extrinsics)
    distances = np.linalg.norm(centres[candidates] - centres[view], axis=1)
    return [candidates[place] for place in np.argsort(distances, kind="stable")]


@dataclass(frozen=True)
class _Pictures:
    """How files become images."""

    size: tuple[int, int]
    fit: Fit
    convert: bool

    def example(self, scene: LLFFScene, name: str, choice: Choice) -> PosedExample:
        numbers = [*choice.sources, *choice.novel]
        intrinsics = fit_intrinsics(scene.intrinsics, scene.image_size, self.size, self.fit)
        frames: Frames = {
            "images": np.stack([_load(scene.files[n], self.size, self.fit, self.convert) for n in numbers]),
            "extrinsics": scene.extrinsics[numbers],
            "intrinsics": np.repeat(intrinsics[None], len(numbers), axis=0),
        }
        inputs = len(choice.sources)
        places = Choice(list(range(inputs)), list(range(inputs, len(numbers))))
        median = float(scene.median_depth[choice.sources[0]])
        return assemble(name, frames, places, scene.depth_range, median)


@lru_cache(maxsize=256)
def _load(path: Path, size: tuple[int, int], fit: Fit, convert: bool) -> np.ndarray:
    """A scene has few pictures and decoding one takes longer than a small step: keep the last ones."""
    return fit_image(read_image(path, convert=convert), size, fit)


@dataclass(frozen=True)
class _Training(Dataset[PosedExample]):
    scenes: list[LLFFScene]
    samples_per_scene: int
    seed: int
    pictures: _Pictures
    views: ViewSampling
    augment: bool

    def __len__(self) -> int:
        return len(self.scenes) * self.samples_per_scene

    def __getitem__(self, key: SampleKey) -> PosedExample:
        rng = key.rng(self.seed)
        scene = self.scenes[key.index // self.samples_per_scene]
        drawn = self.views.draw(rng, camera_centres(scene.extrinsics[scene.training]))
        choice = Choice(*([scene.training[place] for place in part] for part in drawn))
        name = f"{scene.name}/{key.index % self.samples_per_scene:04d}"
        example = self.pictures.example(scene, name, choice)
        return augmented(example, rng) if self.augment else example


class _HeldOut(Dataset[PosedExample]):
    def __init__(self, scenes: list[LLFFScene], pictures: _Pictures, sources: int) -> None:
        self.views = [(scene, view) for scene in scenes for view in scene.held_out]
        self.pictures = pictures
        self.sources = sources

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, key: SampleKey) -> PosedExample:
        scene, view = self.views[key.index]
        sources = nearest_views(scene, view, scene.training)[: self.sources]
        return self.pictures.example(scene, f"{scene.name}/{scene.files[view].stem}", Choice(sources, [view]))
