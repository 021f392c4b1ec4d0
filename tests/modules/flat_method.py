"""A novel-view method without networks: the reference view on one flat layer before a grey wall."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from repsynth.batches import PosedViews
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layered_scene import Layers, RenderingOptions, render_scene
from repsynth.geometry.layers import layer_vertices
from repsynth.geometry.rendering import Rendering
from repsynth.modules.novel_views import NovelViewMethod, source_camera
from repsynth.modules.prediction import PredictionOptions


class Flat(NovelViewMethod[Layers]):
    def __init__(self, **prediction: Any) -> None:  # noqa: ANN401
        super().__init__(1e-3, 1.0, None, PredictionOptions(**prediction))

    def build(self, batch: PosedViews) -> Layers:
        image = batch["source"]["images"][:, 0] * 2 - 1
        size = image.shape[-2:]
        depth = torch.tensor([8.0, 3.0])[:, None, None].expand(len(image), 2, *size).contiguous()
        rgba = torch.ones(len(image), 2, 4, *size)
        rgba[:, 0, :3] = 0.25
        rgba[:, 1, :3] = image
        rgba[:, 1, 3] = 0.75
        reference = source_camera(batch, 0)
        return Layers(depth, rgba, layer_vertices(depth, reference, "centre"), reference, "centre")

    def render(self, scene: Layers, cameras: Cameras, size: Sequence[int]) -> Rendering:
        return render_scene(scene, cameras, size, self.scene_rendering())

    def scene_rendering(self) -> RenderingOptions:
        return RenderingOptions(visibility="layer")


class Shapeless(Flat):
    """Its scenes cannot be written."""

    def scene_layers(self, scene: Layers) -> None:
        return None


def posed_views(batch: int = 2, views: int = 2, size: tuple[int, int] = (12, 16)) -> PosedViews:
    """Source cameras in a row, half a unit apart, before random pictures; no novel views."""
    rng = torch.Generator().manual_seed(0)
    extrinsics = torch.eye(4).repeat(batch, views, 1, 1)
    extrinsics[:, :, 0, 3] = -0.5 * torch.arange(views)
    intrinsics = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.3, 0.5], [0.0, 0.0, 1.0]]).repeat(batch, views, 1, 1)
    source: Any = {
        "images": torch.rand(batch, views, 3, *size, generator=rng),
        "extrinsics": extrinsics,
        "intrinsics": intrinsics,
    }
    return {
        "ids": [f"scene/{index}" for index in range(batch)],
        "source": source,
        "novel": {key: value[:, :0] for key, value in source.items()},  # type: ignore[typeddict-item]
        "depth_range": torch.tensor([[2.0, 9.0]]).repeat(batch, 1),
        "median_depth": torch.full((batch,), 4.0),
    }


def in_one_place(batch: PosedViews) -> PosedViews:
    """The same scenes with all source cameras of the last one at its reference camera."""
    extrinsics = batch["source"]["extrinsics"].clone()
    extrinsics[-1] = extrinsics[-1, :1]
    return {**batch, "source": {**batch["source"], "extrinsics": extrinsics}}


def without_opacity(rendering: Rendering) -> Rendering:
    """A rendering of which half is empty."""
    opacity = rendering.opacity.clone()
    opacity[..., : opacity.shape[-1] // 2] = -1e-5
    return replace(rendering, opacity=opacity)
