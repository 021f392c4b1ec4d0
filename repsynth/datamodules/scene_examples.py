"""Data sets of examples drawn from posed scenes, for training and for evaluation."""

import sys
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from torch.utils.data import Dataset

from repsynth.datamodules.images import Fit, fit_image, fit_intrinsics, require_size
from repsynth.datamodules.posed_scene import Picture, PosedScene, SceneReader
from repsynth.datamodules.posed_views import Frames, PosedExample, augmented
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.views import Choice, NoExampleError, ViewSampling
from repsynth.errors import UserError

OnBadImage = Literal["error", "skip"]

_KEPT_SCENES = 64
_KEPT_PICTURES = 256
_OTHERS = 100
"""Other scenes that an example may fall back on before the run stops."""
_TOLERATED, _JUDGED_FROM = 0.01, 100
"""Share of examples lost to unreadable pictures that stops a run, once so many were read."""


@dataclass(frozen=True)
class PictureOptions:
    """How stored pictures become images."""

    size: tuple[int, int]
    """(height, width)."""
    fit: Fit
    convert: bool
    """Accept transparency and CMYK, see `images.read_image`."""


@dataclass(frozen=True)
class Example:
    """What an evaluation example shows."""

    name: str
    """Its id."""
    scene: str
    choice: Choice | None = None
    """Its views; None draws them."""
    draw: int = 0
    """Number of the draw, so that one scene can give several."""


def load_frames(scene: PosedScene, numbers: list[int], options: PictureOptions) -> Frames:
    """Read and fit some pictures of a scene; intrinsics follow the size of each.

    Raises:
        UserError: a picture is missing, damaged, of a mode that is not accepted, or too small.
    """
    images = np.empty((len(numbers), 3, *options.size), dtype=np.uint8)
    stored = []
    for image, number in zip(images, numbers, strict=True):
        image[:], size = _load(scene.pictures[number], options)
        stored.append(size)
    return {
        "images": images,
        "extrinsics": scene.extrinsics[numbers],
        "intrinsics": _fitted(scene.intrinsics[numbers], stored, options),
    }


def _fitted(intrinsics: np.ndarray, stored: list[tuple[int, int]], options: PictureOptions) -> np.ndarray:
    """The intrinsics [N, 3, 3] of fitted pictures that were stored in these sizes."""
    for size in set(stored):
        same = [place for place, other in enumerate(stored) if other == size]
        intrinsics[same] = fit_intrinsics(intrinsics[same], size, options.size, options.fit)
    return intrinsics


def make_example(name: str, scene: PosedScene, choice: Choice, options: PictureOptions) -> PosedExample:
    """Read an example; depth figures are those of the scene and of the reference view."""
    frames = load_frames(scene, [*choice.sources, *choice.novel], options)
    inputs = len(choice.sources)
    return {
        "id": name,
        "source": _cut(frames, slice(inputs)),
        "novel": _cut(frames, slice(inputs, None)),
        "depth_range": np.array(scene.depth_range, dtype=np.float32),
        "median_depth": np.array(scene.median_depth[choice.sources[0]], dtype=np.float32),
    }


def _cut(frames: Frames, part: slice) -> Frames:
    """Neighbouring frames without a copy of their images, cameras as float32."""
    return {
        "images": frames["images"][part],
        "extrinsics": frames["extrinsics"][part].astype(np.float32),
        "intrinsics": frames["intrinsics"][part].astype(np.float32),
    }


@dataclass
class TrainingScenes(Dataset[PosedExample]):
    """`per_scene` random examples of every usable scene."""

    reader: SceneReader
    usable: list[str]
    per_scene: int
    seed: int
    views: ViewSampling
    pictures: PictureOptions
    augment: bool
    on_bad_image: OnBadImage
    losses: "Losses" = field(default_factory=lambda: Losses())

    def __len__(self) -> int:
        return len(self.usable) * self.per_scene

    def __getitem__(self, key: SampleKey) -> PosedExample:
        rng = key.rng(self.seed)
        place = key.index // self.per_scene
        for _ in range(_OTHERS):
            name = self.usable[place]
            try:
                example = self._drawn(f"{name}/{key.index % self.per_scene:04d}", name, rng)
                self.losses.read()
                return augmented(example, rng) if self.augment else example
            except NoExampleError:
                pass  # holes and baselines: another scene serves as well
            except UserError as error:
                if self.on_bad_image == "error":
                    raise
                self.losses.lost(error)
            place = int(rng.integers(len(self.usable)))
        raise UserError(
            f"{_OTHERS} scenes in a row gave no example that data.window, data.min_baseline and "
            "data.max_baseline allow; loosen them"
        )

    def _drawn(self, name: str, scene_name: str, rng: np.random.Generator) -> PosedExample:
        scene = _read(self.reader, scene_name)
        choice = self.views.draw(rng, scene.centres, scene.numbers)
        return make_example(name, scene, choice, self.pictures)


@dataclass(frozen=True)
class EvaluationScenes(Dataset[PosedExample]):
    """The same examples on every rank and for every seed of the run."""

    reader: SceneReader
    examples: list[Example]
    views: ViewSampling
    pictures: PictureOptions

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, key: SampleKey) -> PosedExample:
        example = self.examples[key.index]
        scene = _read(self.reader, example.scene)
        choice = example.choice or self._drawn(example, scene)
        return make_example(example.name, scene, choice, self.pictures)

    def _drawn(self, example: Example, scene: PosedScene) -> Choice:
        # By the scene's name, not its place: scenes that come or go do not move the others.
        words = [_EVALUATION, zlib.crc32(example.scene.encode()), example.draw]
        rng = np.random.default_rng(np.random.SeedSequence(words))
        return self.views.draw(rng, scene.centres, scene.numbers)


_EVALUATION = 0xE7A1
"""Keeps the draws of evaluation apart from those of training."""


@dataclass
class Losses:
    """Examples that one loader process lost to unreadable pictures."""

    examples: int = 0
    bad: int = 0
    named: set[str] = field(default_factory=set)

    def read(self) -> None:
        """Count an example that could be read."""
        self.examples += 1

    def lost(self, error: UserError) -> None:
        """Count one that could not, and say so once.

        Raises:
            UserError: these are too many.
        """
        self.examples += 1
        self.bad += 1
        if str(error) not in self.named:
            self.named.add(str(error))
            print(f"skipped (data.on_bad_image: skip): {error}", file=sys.stderr)
        if self.examples >= _JUDGED_FROM and self.bad > _TOLERATED * self.examples:
            raise UserError(
                f"{self.bad} of {self.examples} examples had unreadable pictures, more than "
                f"{_TOLERATED:.0%}; `repsynth data check` lists them. The last one: {error}"
            ) from error


@lru_cache(maxsize=_KEPT_SCENES)
def _read(reader: SceneReader, name: str) -> PosedScene:
    return reader.read(name)


@lru_cache(maxsize=_KEPT_PICTURES)
def _load(picture: Picture, options: PictureOptions) -> tuple[np.ndarray, tuple[int, int]]:
    """The fitted picture and its stored size. Small sets come again and again: the last pictures are kept."""
    image = picture.read(options.convert)
    stored = image.shape[1], image.shape[2]
    require_size(picture.label, stored, options.size)
    return fit_image(image, options.size, options.fit), stored
