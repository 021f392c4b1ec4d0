"""Examples of posed views: assembled from frames and cameras, mirrored, joined to `batches.PosedViews`."""

from typing import NotRequired, TypedDict, cast

import numpy as np

from repsynth.batches import PosedViews
from repsynth.datamodules.colour import jitter_colours
from repsynth.datamodules.transport import stack
from repsynth.datamodules.views import Choice


class Frames(TypedDict):
    """Posed images of one scene; the names are those of `batches.Views`."""

    images: np.ndarray
    """[N, 3, H, W] uint8."""
    extrinsics: np.ndarray
    """[N, 4, 4] world to camera."""
    intrinsics: np.ndarray
    """[N, 3, 3] normalised."""


class PosedExample(TypedDict):
    """One sample of `batches.PosedViews`, without its batch dimension."""

    id: str
    source: Frames
    novel: Frames
    depth_range: np.ndarray
    """[2] float32."""
    median_depth: np.ndarray
    """[] float32."""
    novel_depth: NotRequired[np.ndarray]
    """[V, 1, H, W] float32."""


def take(frames: Frames, numbers: list[int]) -> Frames:
    """The named frames, in that order, cameras as float32."""
    return {
        "images": frames["images"][numbers],
        "extrinsics": frames["extrinsics"][numbers].astype(np.float32),
        "intrinsics": frames["intrinsics"][numbers].astype(np.float32),
    }


def assemble(
    name: str, frames: Frames, choice: Choice, depth_range: tuple[float, float], median_depth: float
) -> PosedExample:
    """An example from the frames of a scene; depths are those of the reference view, in scene units."""
    return {
        "id": name,
        "source": take(frames, choice.sources),
        "novel": take(frames, choice.novel),
        "depth_range": np.array(depth_range, dtype=np.float32),
        "median_depth": np.array(median_depth, dtype=np.float32),
    }


def mirrored(example: PosedExample) -> PosedExample:
    """The example seen in a mirror at x = 0 of the world: pictures and cameras stay those of one rigid scene.

    Points, camera centres and axes change the sign of x in the world and in each camera, so a rotation R
    becomes S R S with S = diag(-1, 1, 1): its determinant stays +1.
    """
    flipped: PosedExample = {
        **example,
        "source": _mirror(example["source"]),
        "novel": _mirror(example["novel"]),
    }
    if "novel_depth" in example:
        flipped["novel_depth"] = np.ascontiguousarray(example["novel_depth"][..., ::-1])
    return flipped


def augmented(example: PosedExample, rng: np.random.Generator) -> PosedExample:
    """The example with its colours changed, and mirrored half of the time; all views alike."""
    views = len(example["source"]["images"])
    images = jitter_colours(np.concatenate([example["source"]["images"], example["novel"]["images"]]), rng)
    changed: PosedExample = {
        **example,
        "source": {**example["source"], "images": images[:views]},
        "novel": {**example["novel"], "images": images[views:]},
    }
    return mirrored(changed) if rng.random() < 0.5 else changed


def collate(examples: list[PosedExample]) -> PosedViews:
    """Join examples; all have the same shapes and the same keys."""
    arrays = [{key: value for key, value in example.items() if key != "id"} for example in examples]
    return cast(PosedViews, stack(arrays, ids=[example["id"] for example in examples]))


def _mirror(frames: Frames) -> Frames:
    sign = np.array([-1, 1, 1, 1], dtype=frames["extrinsics"].dtype)
    intrinsics = frames["intrinsics"].copy()
    intrinsics[:, 0, 2] = 1 - intrinsics[:, 0, 2]
    return {
        "images": np.ascontiguousarray(frames["images"][..., ::-1]),
        "extrinsics": frames["extrinsics"] * sign * sign[:, None],
        "intrinsics": intrinsics,
    }
