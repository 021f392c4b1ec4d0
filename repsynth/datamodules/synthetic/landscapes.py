"""`SyntheticLandscapes`: landscapes in any light, made while they are read, so that a translation has a true target."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch.utils.data import Dataset

from repsynth.datamodules.base import EvalStage, Part
from repsynth.datamodules.image_sets import RealImages, collate_named
from repsynth.datamodules.patches import PatchOptions, PatchSet, WholeImage, collate_patches, is_patch
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.synthetic import landscape_rendering
from repsynth.datamodules.synthetic.landscape_light import Light, draw_light
from repsynth.datamodules.synthetic.landscape_scene import Scene, build
from repsynth.errors import require_at_least

SMALLEST_SIDE = 16

Set = Literal["train", "val", "test", "real"]
"""The three parts, and the photographs that translations are compared with as a set."""

_FIRST = {"train": 0, "val": 1_000_000, "test": 2_000_000, "real": 3_000_000}
"""The number of the scene on the first photograph of each."""
_LIGHTS = 0x11647


@dataclass(frozen=True)
class Landscapes:
    """Photographs of a set: each shows a scene of its own in a light of its own, whatever the seed."""

    which: Set

    def name(self, number: int) -> str:
        """The id of a photograph, or of an example."""
        return f"{self.which}-{number:06d}"

    def scene(self, number: int, side: int) -> Scene:
        """What photograph `number` shows, without light, for an image of side x side pixels."""
        return build(_FIRST[self.which] + number, side, "train" if self.which == "train" else "held out")

    def light(self, number: int) -> Light:
        """In what light photograph `number` was taken."""
        return draw_light(np.random.default_rng([_LIGHTS, _FIRST[self.which] + number]))


class SyntheticLandscapes(RealImages):
    """Skies, mountains, lakes, meadows, trees and houses from night to noon; no files needed.

    Training is unpaired: photograph i shows a scene of its own in a light of its own, and no scene comes twice. It is a
    function of i alone, whatever the seed. The training batch is `batches.Patches` of whole images, with `maps` in the
    classes of `landscape_surfaces.CLASSES`.

    Evaluation example i is `batches.Relighting`: content is photograph 2 i of its part, style photograph 2 i + 1, which
    shows another scene, and `truth` is the scene of the content in the light of the style. Scenes of the three parts
    differ, and held-out textures come from parts of photographs that training never shows. Translations are compared as
    sets with further held-out photographs. See docs/data/landscapes.md.

    Args:
        image_size: side of the square images in pixels.
        train_samples: photographs of the training set.
        eval_samples: examples of validation and of test each.
        predict_samples: what `predict` is asked for: the first examples of the test.
        maps: give training batches their segmentation maps.
        real_samples: held-out photographs that translations are compared with as a set.
        options: those of `DataModule`.

    Raises:
        UserError: a side below 16 pixels, or counts that are too small.
    """

    asks_for = "relightings"

    def __init__(
        self,
        image_size: int = 64,
        train_samples: int = 4096,
        eval_samples: int = 64,
        predict_samples: int = 8,
        maps: bool = True,
        real_samples: int = 1000,
        **options: Any,  # noqa: ANN401  those of the base, which the command line reads there
    ) -> None:
        super().__init__(real_samples=real_samples, **options)
        require_at_least("data", SMALLEST_SIDE, image_size=image_size)
        require_at_least("data", 2, train_samples=train_samples)
        require_at_least("data", 1, eval_samples=eval_samples, predict_samples=predict_samples)
        self.image_size = (image_size, image_size)
        self.train_samples = train_samples
        self.eval_samples = eval_samples
        self.predict_samples = predict_samples
        self.maps = maps

    @property
    def protocol(self) -> str:
        """What evaluation figures on this data are figures of, in one line for their report."""
        side = self.image_size[0]
        return (
            f"SyntheticLandscapes version {landscape_rendering.VERSION}, {self.eval_samples} scenes, each in the light "
            f"of another one; {side} x {side} pixels"
        )

    def light_of(self, part: Part, index: int) -> Light:
        """The light of training photograph `index`, or the light that evaluation example `index` asks for."""
        return Landscapes(part).light(index if part == "train" else 2 * index + 1)

    def content_light_of(self, stage: EvalStage, index: int) -> Light:
        """The light in which evaluation example `index` shows its content."""
        return Landscapes(stage).light(2 * index)

    def train_dataset(self) -> Dataset[Any]:
        """`train_samples` photographs."""
        source = _Photographs(Landscapes("train"), self.train_samples, self.image_size[0], self.maps)
        return PatchSet(source, PatchOptions(self.image_size[0]), self.seed)

    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        """`eval_samples` scenes, each to be shown in the light of another photograph."""
        return _Relightings(Landscapes(stage), self.eval_samples, self.image_size[0])

    def predict_dataset(self) -> Dataset[Any]:
        """The first `predict_samples` examples of the test."""
        return _Relightings(Landscapes("test"), self.predict_samples, self.image_size[0])

    def real_images(self, stage: EvalStage) -> Dataset[Any]:
        """Held-out photographs that no evaluation example shows, whatever the stage."""
        return _Photographs(Landscapes("real"), self.real_samples, self.image_size[0], maps=False)

    def signature(self, stage: EvalStage) -> str:
        """What the pixels of `real_images` depend on, in one line."""
        return f"SyntheticLandscapes version {landscape_rendering.VERSION} side {self.image_size[0]}"

    def collate(self, examples: list[Any]) -> Any:  # noqa: ANN401
        """Join training examples to `Patches`, evaluation examples to `Relighting`, real images to `Real`."""
        if is_patch(examples[0]):
            return collate_patches(examples, self.image_size)
        return collate_named(examples)


@dataclass(frozen=True)
class _Photographs(Dataset[dict[str, Any]]):
    """The first photographs of a part, to cut training patches from, or as they are."""

    landscapes: Landscapes
    count: int
    side: int
    maps: bool

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        image = self.read(key)
        return {"ids": image.name, "images": image.pixels}

    def read(self, key: SampleKey, out: np.ndarray | None = None) -> WholeImage:
        """See `patches.WholeImages`."""
        scene = self.landscapes.scene(key.index, self.side)
        pixels = landscape_rendering.render(scene, self.landscapes.light(key.index))
        return WholeImage(self.landscapes.name(key.index), pixels, scene.classes() if self.maps else None)


@dataclass(frozen=True)
class _Relightings(Dataset[dict[str, Any]]):
    landscapes: Landscapes
    count: int
    side: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        number = 2 * key.index
        scene, other = (self.landscapes.scene(number + k, self.side) for k in (0, 1))
        own, wanted = (self.landscapes.light(number + k) for k in (0, 1))
        return {
            "ids": self.landscapes.name(key.index),
            "content": landscape_rendering.render(scene, own),
            "style": landscape_rendering.render(other, wanted),
            "truth": landscape_rendering.render(scene, wanted),
        }
