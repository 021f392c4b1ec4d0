"""What `predict_step` returns, and how it is checked before anything is written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal, NotRequired, TypedDict, cast

from torch import Tensor

from repsynth.errors import UserError
from repsynth.exports.photo_files import PhotoFile
from repsynth.geometry.layered_scene import Layers, RenderingOptions

SceneFormat = Literal["layers", "gltf"]
"""layers: PNG, NumPy and JSON files (`exports.layers`); gltf: one GLB file (`exports.gltf`)."""

Frames = Tensor | Sequence[Tensor]
"""T pictures [C, H, W] of one sample."""

Pictures = Tensor | Sequence[Sequence[Tensor]]
"""B times T pictures [C, H, W]: a tensor [B, T, C, H, W], or lists where sizes differ."""


class MadeFrames(Sequence[Tensor]):
    """T pictures that are made while they are gone through, so that a long video needs no memory.

    Args:
        count: T.
        make: begins anew with the first one.
    """

    def __init__(self, count: int, make: Callable[[], Iterator[Tensor]]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Tensor]:
        return self._make()

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]  # no slices
        return next(islice(self, index, None))


class PredictedScenes:
    """The scenes of a batch, to be written. No dataclass, because Lightning walks through those of a step's outputs.

    Args:
        layers: B scenes.
        rendering: how the method makes pictures of them.
        formats: what to write.
    """

    def __init__(self, layers: Layers, rendering: RenderingOptions, formats: tuple[SceneFormat, ...]) -> None:
        self.layers, self.rendering, self.formats = layers, rendering, formats


class Prediction(TypedDict):
    """What a `predict_step` returns for B samples; only `ids` and `frames` are needed."""

    ids: list[str]
    """B ids, unique within the set: they name the files."""
    frames: Pictures
    """T pictures of each sample: uint8, or float in [0, 1]. T > 1 makes a video, unless there are `names`."""
    names: NotRequired[list[str]]
    """T names of single views, the same for all samples: one PNG each instead of a video."""
    depth: NotRequired[Pictures]
    """Depth of each picture, float32 [1, H, W], scene units; NaN where nothing is seen."""
    scene: NotRequired[PredictedScenes]
    """The scenes themselves."""
    files: NotRequired[Sequence[PhotoFile]]
    """The file of each sample, where its name and format follow a photograph's."""
    figures: NotRequired[Sequence[Mapping[str, object]]]
    """What is known of each sample in numbers and words, for JSON; numbers are finite."""


def checked(outputs: object, method: str) -> Prediction:
    """The outputs of the predict step of a method.

    Raises:
        UserError: they are something else.
    """
    if isinstance(outputs, dict) and {"ids", "frames"} <= outputs.keys():
        frames, ids = outputs["frames"], outputs["ids"]
        if _are_pictures(frames) and len(frames) == len(ids):
            return cast(Prediction, outputs)
    found = (
        f"a dict with {', '.join(outputs)}" if isinstance(outputs, dict) else f"a {type(outputs).__name__}"
    )
    raise UserError(
        f"predict_step of {method} returned {found}: expected ids (B str) and frames "
        "[B, T, 3, H, W] in [0, 1]; return them, or take the FrameWriter callback out"
    )


def _are_pictures(frames: object) -> bool:
    if isinstance(frames, Tensor):
        return frames.ndim == 5 and frames.shape[2] == 3
    return isinstance(frames, list) and all(
        isinstance(picture, Tensor) and picture.ndim == 3 and picture.shape[0] == 3
        for sample in frames
        if not isinstance(sample, MadeFrames)
        for picture in sample
    )
