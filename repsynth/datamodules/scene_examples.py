"""Data sets of examples drawn from posed scenes, for training and for evaluation."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from repsynth.datamodules.images import Fit, fit_image, fit_intrinsics, read_image, require_size
from repsynth.datamodules.posed_scene import FilePicture, Picture, PosedScene, SceneReader
from repsynth.datamodules.posed_views import Frames, PosedExample, augmented
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.transport import reserve
from repsynth.datamodules.unreadable import Losses, OnBadImage
from repsynth.datamodules.views import Choice, NoExampleError, ViewSampling
from repsynth.errors import UserError

Room = tuple[np.ndarray | None, np.ndarray | None]

_KEPT_SCENES = 4096
"""A clip of 130 frames takes 30 to 40 kB in each loader process, and reading one can take longer than a picture."""
_KEPT_PICTURES, _FEW_SCENES, _FEW_EXAMPLES = 256, 16, 64
_OTHERS = 100
"""Other scenes that an example may fall back on before the run stops."""


@dataclass(frozen=True)
class PictureOptions:
    """How stored pictures become images."""

    size: tuple[int, int]
    """(height, width)."""
    fit: Fit
    convert: bool
    """Accept transparency and CMYK, see `images.read_image`."""
    keep: bool = False
    """Keep the last pictures in memory: those of a small set come again and again."""


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


def load_frames(
    scene: PosedScene, numbers: list[int], options: PictureOptions, images: np.ndarray | None = None
) -> Frames:
    """Read and fit some pictures of a scene; intrinsics follow the size of each.

    Args:
        scene: whose pictures are read.
        numbers: of N pictures.
        options: how they become images.
        images: [N, 3, H, W] uint8 that they go to; None takes new memory.

    Raises:
        UserError: a picture is missing, damaged, of a mode that is not accepted, or too small.
    """
    images = np.empty((len(numbers), 3, *options.size), dtype=np.uint8) if images is None else images
    stored = [
        _read_into(image, scene.pictures[number], options)
        for image, number in zip(images, numbers, strict=True)
    ]
    intrinsics = scene.intrinsics[numbers]
    for size in set(stored) - {options.size}:
        same = [place for place, other in enumerate(stored) if other == size]
        intrinsics[same] = fit_intrinsics(intrinsics[same], size, options.size, options.fit)
    return {"images": images, "extrinsics": scene.extrinsics[numbers], "intrinsics": intrinsics}


def make_example(
    name: str, scene: PosedScene, choice: Choice, options: PictureOptions, room: Room = (None, None)
) -> PosedExample:
    """Read an example; depth figures are those of the scene and of the reference view.

    Args:
        name: its id.
        scene: that it shows.
        choice: its views.
        options: how pictures become images.
        room: where the images of inputs and novel views go; None takes new memory.
    """
    source, novel = room
    return {
        "id": name,
        "source": _with_float_cameras(load_frames(scene, choice.sources, options, source)),
        "novel": _with_float_cameras(load_frames(scene, choice.novel, options, novel)),
        "depth_range": np.array(scene.depth_range, dtype=np.float32),
        "median_depth": np.array(scene.median_depth[choice.sources[0]], dtype=np.float32),
    }


def _with_float_cameras(frames: Frames) -> Frames:
    """The frames with cameras as float32."""
    return {
        "images": frames["images"],
        "extrinsics": frames["extrinsics"].astype(np.float32),
        "intrinsics": frames["intrinsics"].astype(np.float32),
    }


@dataclass
class TrainingScenes(Dataset[PosedExample]):
    """`per_scene` random examples of every usable scene; the last pictures of few scenes are kept in memory."""

    reader: SceneReader
    usable: list[str]
    per_scene: int
    seed: int
    views: ViewSampling
    pictures: PictureOptions
    augment: bool
    on_bad_image: OnBadImage
    losses: Losses = field(default_factory=Losses)

    def __post_init__(self) -> None:
        self.pictures = replace(self.pictures, keep=len(self.usable) <= _FEW_SCENES)

    def __len__(self) -> int:
        return len(self.usable) * self.per_scene

    def __getitem__(self, key: SampleKey) -> PosedExample:
        return self._read(self._attempts(key), (None, None))

    def __getitems__(self, keys: Sequence[SampleKey]) -> list[PosedExample]:
        """The examples of a batch, read to where the batch will be.

        All are drawn before the first is read: each finds its code warm.
        """
        attempts = [self._attempts(key) for key in keys]
        first = [next(each) for each in attempts]
        return [
            self._read(chain([drawn], others), room)
            for drawn, others, room in zip(first, attempts, self._rooms(len(keys)), strict=True)
        ]

    def _rooms(self, count: int) -> list[Room]:
        """Where the images of each example of a batch go."""
        if self.augment:  # gives them other memory
            return [(None, None)] * count
        views = (self.views.sources, self.views.novel)
        sources, novel = reserve([(count, each, 3, *self.pictures.size) for each in views])
        return list(zip(sources, novel, strict=True))

    def _attempts(self, key: SampleKey) -> Iterator["_Drawn"]:
        """What to read for a key: its own example, then others in its place."""
        rng = key.rng(self.seed)
        place = key.index // self.per_scene
        for _ in range(_OTHERS):
            name = self.usable[place]
            try:
                scene = _read(self.reader, name)
                choice = self.views.draw(rng, scene.centres, scene.numbers)
                yield _Drawn(f"{name}/{key.index % self.per_scene:04d}", scene, choice, rng)
            except NoExampleError:
                pass  # holes and baselines: another scene serves as well
            except UserError as error:
                self._lost(error)
            place = int(rng.integers(len(self.usable)))
        raise UserError(
            f"{_OTHERS} scenes in a row gave no example that data.window, data.min_baseline and "
            "data.max_baseline allow; loosen them"
        )

    def _read(self, attempts: Iterator["_Drawn"], room: Room) -> PosedExample:
        """The first that can be read."""
        for drawn in attempts:
            try:
                example = make_example(drawn.name, drawn.scene, drawn.choice, self.pictures, room)
            except UserError as error:
                self._lost(error)
                continue
            self.losses.read()
            return augmented(example, drawn.rng) if self.augment else example
        raise AssertionError("the attempts end with an error")

    def _lost(self, error: UserError) -> None:
        if self.on_bad_image == "error":
            raise error
        self.losses.lost(error)


class _Drawn(NamedTuple):
    """A training example before its pictures are read."""

    name: str
    scene: PosedScene
    choice: Choice
    rng: np.random.Generator
    """Of the example, after its views were drawn."""


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
        options = replace(self.pictures, keep=len(self.examples) <= _FEW_EXAMPLES)
        return make_example(example.name, scene, choice, options)

    def _drawn(self, example: Example, scene: PosedScene) -> Choice:
        # By the scene's name, not its place: scenes that come or go do not move the others.
        words = [_EVALUATION, zlib.crc32(example.scene.encode()), example.draw]
        rng = np.random.default_rng(np.random.SeedSequence(words))
        return self.views.draw(rng, scene.centres, scene.numbers)


_EVALUATION = 0xE7A1
"""Keeps the draws of evaluation apart from those of training."""


@lru_cache(maxsize=_KEPT_SCENES)
def _read(reader: SceneReader, name: str) -> PosedScene:
    return reader.read(name)


def _read_into(image: np.ndarray, picture: Picture, options: PictureOptions) -> tuple[int, int]:
    """Read and fit a picture to [3, H, W] of an example; the size that it is stored in."""
    if options.keep:
        image[:], stored = _kept(picture, options)
        return stored
    if isinstance(picture, FilePicture):
        pixels = read_image(picture.path, convert=options.convert, out=image)
    else:
        pixels = picture.read(options.convert)
    if pixels is image:
        return options.size
    image[:], stored = _fitted(pixels, picture, options)
    return stored


@lru_cache(maxsize=_KEPT_PICTURES)
def _kept(picture: Picture, options: PictureOptions) -> tuple[np.ndarray, tuple[int, int]]:
    return _fitted(picture.read(options.convert), picture, options)


def _fitted(
    pixels: np.ndarray, picture: Picture, options: PictureOptions
) -> tuple[np.ndarray, tuple[int, int]]:
    """The fitted picture and its stored size."""
    stored = pixels.shape[1], pixels.shape[2]
    require_size(picture.label, stored, options.size)
    return fit_image(pixels, options.size, options.fit), stored
