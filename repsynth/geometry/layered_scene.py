"""A scene of semitransparent mesh layers: what layered methods build, render and export."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layers import layer_faces, layer_of_face, vertex_features
from repsynth.geometry.rasterizers import BackEnd, Interpolation, select_rasterizer
from repsynth.geometry.rendering import NEAR, RELEASED_FAR, Rendering, Visibility, render_layers

MeshGrid = Literal["corner", "centre"]
"""Where vertices lie: "corner" spans the image from edge to edge (official code), which stretches the reference
texture by n / (n - 1); "centre" puts them on pixel centres."""


@dataclass(frozen=True)
class Layers:
    """B scenes of L mesh layers of h x w vertices in front of a reference camera, back to front."""

    depth: Tensor
    """[B, L, h, w] z in front of the reference camera, scene units."""
    rgba: Tensor
    """[B, L, 4, h, w] RGB in [-1, 1], alpha in [0, 1]."""
    vertices: Tensor
    """[B, L h w, 3] world, layer by layer, row by row."""
    reference: Cameras
    """The B reference cameras."""
    grid: MeshGrid
    """Where the vertices lie in the reference image."""


@dataclass(frozen=True)
class RenderingOptions:
    """How layers become images, see `geometry.rendering.render_layers`; `RELEASED` is the published networks' way."""

    visibility: Visibility = "peel"
    interpolation: Interpolation = "perspective"
    fragments: int = 16
    farthest_opaque: bool = True
    near: float | None = NEAR
    far_clip: float | None = None
    back_end: BackEnd = "torch"


RELEASED = RenderingOptions(interpolation="affine", near=None, far_clip=RELEASED_FAR)


def render_scene(
    layers: Layers, cameras: Cameras, size: Sequence[int], options: RenderingOptions = RenderingOptions()
) -> Rendering:
    """Render B scenes into B cameras at (height, width).

    Raises:
        UserError: the back end is not installed.
    """
    count, height, width = layers.depth.shape[1:]
    device = layers.depth.device
    return render_layers(
        layers.vertices,
        layer_faces(count, height, width, device),
        vertex_features(layers.rgba),
        layer_of_face(count, height, width, device),
        cameras,
        size,
        visibility=options.visibility,
        interpolation=options.interpolation,
        fragments=options.fragments,
        farthest_opaque=options.farthest_opaque,
        near=options.near,
        far_clip=options.far_clip,
        rasterizer=select_rasterizer(options.back_end),
    )
