"""A scene of semitransparent mesh layers: what layered methods build, render and export."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layers import layer_faces, layer_of_face, texture_coordinates, vertex_features
from repsynth.geometry.rasterizers import BackEnd, Interpolation, select_rasterizer
from repsynth.geometry.rendering import NEAR, RELEASED_FAR, Rendering, Visibility, render_layers

MeshGrid = Literal["corner", "centre"]
"""Where the texels of a layer lie in the reference image, and with them its vertices: "corner" spans the image from
edge to edge (official code), which stretches the reference texture by n / (n - 1); "centre" puts them on pixel centres.
A mesh with more or fewer vertices than texels goes evenly from the first texel to the last."""


@dataclass(frozen=True)
class Layers:
    """B scenes of L mesh layers of h x w vertices in front of a reference camera, back to front.

    Where textures have another size than the meshes, `layers.texture_coordinates` places the vertices in them.
    """

    depth: Tensor
    """[B, L, h, w] z in front of the reference camera, scene units."""
    rgba: Tensor
    """[B, L, 4, H, W] RGB in [-1, 1], alpha in [0, 1]: at the vertices if (H, W) = (h, w), else textures."""
    vertices: Tensor
    """[B, L h w, 3] world, layer by layer, row by row."""
    reference: Cameras
    """The B reference cameras."""
    grid: MeshGrid
    """Where texels and vertices lie in the reference image."""


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

    Colours and alphas are those of the vertices, interpolated over the faces. Where `rgba` has another size than the
    meshes, each fragment reads its layer's texture bilinearly where the reference camera sees the fragment ("affine":
    at texture coordinates that are linear on the screen). So the reference camera sees every texture undistorted,
    however coarse its mesh; coordinates that are linear on the faces, as graphics engines take them, would not do that.

    Raises:
        UserError: the back end is not installed.
    """
    count, height, width = layers.depth.shape[1:]
    device = layers.depth.device
    textured = layers.rgba.shape[-2:] != (height, width)
    return render_layers(
        layers.vertices,
        layer_faces(count, height, width, device),
        _texture_places(layers, options.interpolation) if textured else vertex_features(layers.rgba),
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
        textures=layers.rgba if textured else None,
    )


def _texture_places(layers: Layers, interpolation: Interpolation) -> Tensor:
    """Homogeneous texture coordinates of all vertices, [B, L h w, 3]."""
    batch, count, height, width = layers.depth.shape
    device, dtype = layers.vertices.device, layers.vertices.dtype
    places = texture_coordinates(height, width, layers.rgba.shape[-2:], device, dtype).flatten(0, 1)
    places = places.repeat(count, 1).expand(batch, -1, -1)
    # A point of a face is the mean of its corners X_i with weights w_i. It is seen at sum(w z uv) / sum(w z), z being
    # the depths of the corners: of the vertices, which may have been cut off from gradients, not of `depth`.
    scale = layers.reference.to_camera(layers.vertices)[..., 2:]
    scale = torch.ones_like(scale) if interpolation == "affine" else scale
    return torch.cat((places * scale, scale), dim=-1)
