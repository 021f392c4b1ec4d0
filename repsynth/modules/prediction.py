"""What `predict` makes of built scenes: the options, and the pictures from the cameras that they choose."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from repsynth.batches import PosedViews
from repsynth.errors import UserError, require_at_least
from repsynth.exports.prediction import Pictures, SceneFormat
from repsynth.geometry import paths
from repsynth.geometry.camera_files import placed, read_cameras
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.rendering import Rendering

PathName = Literal["sway", "interpolate", "spiral", "dolly", "cameras"]

_SWAY_REACH, _DOLLY_REACH = 1.5, 0.3
_SEEN = 1e-3
"""Opacity from which a pixel has a depth; that of an empty one is zero up to rounding."""


@dataclass(frozen=True)
class PredictionOptions:
    """Which pictures `predict` makes and what it writes besides; docs/prediction.md shows each path.

    Args:
        path: sway (to and fro along the baseline), interpolate (through the source cameras), spiral (an ellipse about
            their mean, looking at one point), dolly (into the scene) or cameras (single views, given in a file).
        frames: number of frames of a path.
        reach: sway: largest distance from the baseline's middle, in baselines (null: 1.5); dolly: share of the way to
            the focus, below 1 (null: 0.3).
        radii: spiral: half axes to the right, down and forward, in baselines.
        turns: spiral: how often it goes round.
        focus: spiral and dolly: depth of what is looked at, scene units; null takes the reference view's median depth.
        there_and_back: interpolate and dolly: return to the start; sway and spiral always do.
        cameras: JSON file of the path "cameras".
        size: [height, width] of the pictures; null takes the source views'. The field of view stays.
        depth: write depth maps too, as values and in false colours.
        scene: write the scene itself: layers (PNG, NumPy and JSON files), gltf (one GLB file).
    """

    path: PathName = "sway"
    frames: int = 60
    reach: float | None = None
    radii: tuple[float, float, float] = (1.0, 0.5, 0.0)
    turns: int = 1
    focus: float | None = None
    there_and_back: bool = True
    cameras: str | None = None
    size: tuple[int, int] | None = None
    depth: bool = False
    scene: tuple[SceneFormat, ...] = ()


@dataclass(frozen=True)
class Plan:
    """T cameras for each of B scenes, and the size of their pictures."""

    cameras: list[Cameras]
    """T times B."""
    sizes: list[tuple[int, int]]
    """T times (height, width)."""
    names: list[str] | None = None
    """T names of single views; None for the frames of a video, which have one size."""


def check_options(options: PredictionOptions) -> None:
    """Refuse options out of their range and options that exclude each other.

    Raises:
        UserError: names the first one.
    """
    height, width = options.size or (1, 1)
    counts = {"frames": options.frames, "turns": options.turns, "size": min(height, width)}
    require_at_least("model", 1, **{f"prediction.{name}": value for name, value in counts.items()})
    if options.focus is not None and not options.focus > 0:
        raise UserError(
            f"model.prediction.focus is {options.focus}; expected a depth above 0, in scene units, or null."
        )
    if options.path == "dolly" and options.reach is not None and options.reach >= 1:
        raise UserError(
            f"model.prediction.reach is {options.reach}; a dolly goes this share of the way into the scene: expected "
            "less than 1."
        )
    if options.path in ("sway", "spiral") and not options.there_and_back:
        raise UserError(
            f"model.prediction.there_and_back is false, but the path {options.path} always returns to its start; leave "
            "it true, or choose interpolate or dolly."
        )
    if (options.path == "cameras") != (options.cameras is not None):
        raise UserError(
            f"model.prediction.path is {options.path} and model.prediction.cameras {options.cameras or 'null'}; "
            "single views need both path: cameras and the file, other paths neither."
        )


def planned(options: PredictionOptions, batch: PosedViews) -> Plan:
    """The cameras that the options choose for the scenes of a batch.

    Raises:
        UserError: for a wrong camera file, and for scenes that such a path cannot have.
    """
    source = batch["source"]
    sources = Cameras(source["extrinsics"], source["intrinsics"])
    height, width = source["images"].shape[-2:]
    size = options.size or (height, width)
    if options.path == "cameras":
        return _given(Path(options.cameras or ""), sources, size, batch["ids"])
    return Plan(list(_path(options, sources, batch)), [size] * options.frames)


def take_pictures(
    plan: Plan, render: Callable[[Cameras, Sequence[int]], Rendering], with_depth: bool
) -> tuple[Pictures, Pictures | None]:
    """Render the views of a plan one after another, keeping finished ones as bytes in the host's memory.

    Args:
        plan: T views of B scenes.
        render: renders the B scenes into B cameras; features are RGB in [-1, 1].
        with_depth: return depth maps too.

    Returns:
        Pictures uint8 [3, H, W] and depth maps float32 [1, H, W], see `exports.prediction.Prediction`.
    """
    frames = _room(plan, 3, torch.uint8)
    maps = _room(plan, 1, torch.float32) if with_depth else None
    for index, (cameras, size) in enumerate(zip(plan.cameras, plan.sizes, strict=True)):
        rendering = render(cameras, size)
        _put(frames, index, ((rendering.features + 1) / 2).clamp(0, 1).mul(255).round().byte())
        if maps is not None:
            _put(maps, index, seen_depth(rendering))
    return frames, maps


def seen_depth(rendering: Rendering) -> Tensor:
    """Mean depth of what each pixel shows, [B, 1, H, W], weighted as its colour; NaN where nothing is seen."""
    return torch.where(rendering.opacity > _SEEN, rendering.depth / rendering.opacity, torch.nan)


def _path(options: PredictionOptions, sources: Cameras, batch: PosedViews) -> Iterator[Cameras]:
    if options.path != "dolly":
        _require_distance(f"the path {options.path}", sources, batch["ids"])
    if options.path == "interpolate":
        return paths.interpolate(sources, options.frames, options.there_and_back)
    if options.path == "sway":
        reach = _SWAY_REACH if options.reach is None else options.reach
        return paths.sway(sources[:, 0], paths.farthest_source(sources), options.frames, reach)
    focus = _focus(options, batch)
    if options.path == "dolly":
        reach = _DOLLY_REACH if options.reach is None else options.reach
        return paths.dolly(sources[:, 0], focus, options.frames, reach, options.there_and_back)
    _require_focus_ahead(options, paths.baseline(sources), focus, batch["ids"])
    return paths.spiral(sources, focus, options.frames, options.radii, options.turns)


def _focus(options: PredictionOptions, batch: PosedViews) -> Tensor:
    focus = (
        batch["median_depth"]
        if options.focus is None
        else torch.full_like(batch["median_depth"], options.focus)
    )
    unusable = ~(focus.isfinite() & (focus > 0))
    if unusable.any():
        raise UserError(
            f"the median depth of {_first(batch['ids'], unusable)} is {float(focus[unusable][0])}, so the path "
            f"{options.path} has nothing to look at; give a depth in scene units as model.prediction.focus."
        )
    return focus


def _given(path: Path, sources: Cameras, size: tuple[int, int], ids: list[str]) -> Plan:
    file = read_cameras(path)
    if file.unit == "baseline":
        _require_distance(f"{path} with its unit baseline", sources, ids)
    baseline = paths.baseline(sources)
    return Plan(
        [placed(camera, file, sources[:, 0], baseline) for camera in file.cameras],
        [camera.size or size for camera in file.cameras],
        [camera.name for camera in file.cameras],
    )


def _require_distance(what: str, sources: Cameras, ids: list[str]) -> None:
    together = paths.baseline(sources) == 0
    if together.any():
        raise UserError(
            f"{what} is measured by the distance between source views, but those of {_first(ids, together)} are in one "
            "place; choose model.prediction.path dolly, or cameras in scene units."
        )


def _require_focus_ahead(options: PredictionOptions, baseline: Tensor, focus: Tensor, ids: list[str]) -> None:
    beyond = abs(options.radii[2]) * baseline >= focus
    if beyond.any():
        raise UserError(
            f"model.prediction.radii {list(options.radii)} move the spiral of {_first(ids, beyond)} up to or past the "
            f"point it looks at, at depth {float(focus[beyond][0]):.3g}; make the third radius smaller, or give a "
            "farther model.prediction.focus."
        )


def _first(ids: list[str], chosen: Tensor) -> str:
    return ids[int(chosen.nonzero()[0])]


def _room(plan: Plan, channels: int, dtype: torch.dtype) -> Pictures:
    count = len(plan.cameras[0].extrinsics)
    if plan.names is None:
        return torch.empty(count, len(plan.sizes), channels, *plan.sizes[0], dtype=dtype)
    return [[torch.empty(channels, *size, dtype=dtype) for size in plan.sizes] for _ in range(count)]


def _put(room: Pictures, index: int, pictures: Tensor) -> None:
    """Copy the pictures [B, C, H, W] of view `index` to their places."""
    for sample, picture in zip(room, pictures, strict=True):
        sample[index].copy_(picture)
