"""Render layered meshes: rasterise, interpolate vertex attributes, compose the fragments of each pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras
from repsynth.geometry.composition import EPSILON, compose_fragments
from repsynth.geometry.grids import sample_image
from repsynth.geometry.precision import full_precision
from repsynth.geometry.rasterizers import Fragments, Interpolation, Rasterizer
from repsynth.geometry.rasterizers.rows import gather_rows
from repsynth.geometry.rasterizers.torch_backend import rasterize
from repsynth.geometry.textures import sample_textures

Visibility = Literal["peel", "layer"]
"""Order of the fragments: by depth, over all layers together ("peel"); or the nearest fragment of each layer,
from the last layer to the first ("layer"), which is cheaper and equal where layers neither cross nor fold."""

NEAR = 0.01
RELEASED_FAR = 120.0
"""Depth beyond which the released models drop faces; they also draw at 0.01 what is nearer than 0.01."""


@dataclass(frozen=True)
class Rendering:
    """B images of a mesh."""

    features: Tensor
    """[B, C, H, W] composed features, not divided by the opacity."""
    opacity: Tensor
    """[B, 1, H, W]; of an empty pixel slightly negative, see `composition`."""
    depth: Tensor
    """[B, 1, H, W] sum of weight times depth, in scene units."""
    count: Tensor
    """[B, H, W] int64 number of fragments."""


@full_precision
def render_layers(
    vertices: Tensor,
    faces: Tensor,
    attributes: Tensor,
    layer_of_face: Tensor,
    cameras: Cameras,
    size: Sequence[int],
    *,
    visibility: Visibility = "peel",
    interpolation: Interpolation = "perspective",
    fragments: int = 16,
    farthest_opaque: bool = True,
    near: float | None = NEAR,
    far_clip: float | None = None,
    rasterizer: Rasterizer = rasterize,
    textures: Tensor | None = None,
) -> Rendering:
    """Render a layered mesh from B cameras.

    The released models were trained with `visibility="peel", interpolation="affine", fragments=16, near=None,
    far_clip=RELEASED_FAR`.

    Args:
        vertices: [B, V, 3] in the world.
        faces: [F, 3] int64.
        attributes: [B, V, C + 1]: C features, then alpha in [0, 1]; with textures, [B, V, 3] homogeneous texture
            coordinates (u q, v q, q), q above 0, where 0 and 1 are the outer edges of the texture.
        layer_of_face: [F] int64 layer of each face, 0 the farthest; read for `visibility="layer"` and textures.
        cameras: cameras [B].
        size: height and width of the images.
        visibility: see `Visibility`.
        interpolation: see `rasterizers.Interpolation`.
        fragments: largest number of fragments of a pixel when peeling.
        farthest_opaque: the farthest fragment of a pixel counts as opaque.
        near: faces with a corner nearer than this are dropped. None drops none and moves depths below 0.01 to
            0.01 as the released models do, which draws mirrored what is behind the camera.
        far_clip: fragments beyond this depth are dropped; none when omitted.
        rasterizer: the back end.
        textures: [B, L, C + 1, h, w] features and alpha of each layer, read bilinearly at every fragment, in place
            of those of the vertices.
    """
    screen, drawn = project_vertices(vertices, faces, cameras, near)
    if visibility == "peel":
        found = rasterizer(
            screen, faces, size, fragments=fragments, interpolation=interpolation, drawn=drawn, far=far_clip
        )
        slots = fragments
    else:
        slots = int(layer_of_face.max()) + 1
        found = _nearest_per_layer(
            rasterizer, screen, faces, layer_of_face, slots, size, interpolation, drawn, far_clip
        )
    values = interpolate_attributes(found, faces, attributes)
    if textures is not None:
        values = _read_textures(found, layer_of_face, textures, values)
    exists = found.face >= 0
    values = torch.cat([found.depth[..., None], values], dim=-1)
    composed = compose_fragments(values[..., :-1], values[..., -1], exists, farthest_opaque)
    # Slots that the rasteriser left out are empty: each passes on 1 + e.
    left_out = slots - exists.shape[-1]
    opacity = 1 - (1 - composed.opacity) * (1 + EPSILON) ** left_out
    images = composed.values.permute(0, 3, 1, 2)
    return Rendering(images[:, 1:], opacity[:, None], images[:, :1], exists.sum(-1))


def project_vertices(
    vertices: Tensor, faces: Tensor, cameras: Cameras, near: float | None
) -> tuple[Tensor, Tensor | None]:
    """Return vertices as rasterisers take them [B, V, 3], and which faces to draw [B, F] (None: all).

    Args:
        vertices: [B, V, 3] in the world.
        faces: [F, 3].
        cameras: cameras [B].
        near: see `render_layers`.
    """
    pixels, depth = cameras.project(vertices)
    if near is None:
        depth = torch.where(depth.abs() < NEAR, NEAR, depth)
        return torch.cat([pixels, depth[..., None]], dim=-1), None
    screen = torch.cat([pixels, depth[..., None]], dim=-1)
    in_front = depth >= near
    return screen, None if bool(in_front.all()) else in_front[:, faces].all(dim=-1)


def interpolate_attributes(fragments: Fragments, faces: Tensor, attributes: Tensor) -> Tensor:
    """Return vertex attributes [B, V, C] at the fragments, [B, H, W, K, C]; zero where there is none."""
    flat = fragments.face.flatten()
    place = (flat >= 0).nonzero()[:, 0]
    image = place // (flat.numel() // attributes.shape[0])
    corners = faces[flat[place]] + (image * attributes.shape[1])[:, None]
    weights = fragments.barycentrics.flatten(0, -2)[place]
    first, second, third = gather_rows(attributes.flatten(0, 1), corners.T)
    values = first * weights[:, :1] + second * weights[:, 1:2] + third * weights[:, 2:]
    dense = values.new_zeros(flat.numel(), attributes.shape[-1]).index_put((place,), values)
    return dense.unflatten(0, fragments.face.shape)


def _read_textures(found: Fragments, layer_of_face: Tensor, textures: Tensor, places: Tensor) -> Tensor:
    """Return what textures [B, L, C, h, w] show at homogeneous places [B, H, W, K, 3], [B, H, W, K, C]."""
    flat = found.face.flatten()
    place = (flat >= 0).nonzero()[:, 0]
    image = place // (flat.numel() // textures.shape[0])
    index = image * textures.shape[1] + layer_of_face[flat[place]]
    places = places.flatten(0, -2)[place]
    values = sample_textures(textures.flatten(0, 1), index, places[:, :2] / places[:, 2:])
    dense = values.new_zeros(flat.numel(), textures.shape[2]).index_put((place,), values)
    return dense.unflatten(0, found.face.shape)


def _nearest_per_layer(
    rasterizer: Rasterizer,
    screen: Tensor,
    faces: Tensor,
    layer_of_face: Tensor,
    layers: int,
    size: Sequence[int],
    interpolation: Interpolation,
    drawn: Tensor | None,
    far: float | None,
) -> Fragments:
    """Return one slot per layer, the front layer first."""
    found = []
    for layer in reversed(range(layers)):
        ids = (layer_of_face == layer).nonzero()[:, 0]
        chosen = None if drawn is None else drawn[:, ids]
        part = rasterizer(screen, faces[ids], size, interpolation=interpolation, drawn=chosen, far=far)
        face = torch.where(part.face >= 0, ids[part.face], -1)
        found.append(Fragments(face, part.barycentrics, part.depth))
    return Fragments(
        torch.cat([part.face for part in found], dim=3),
        torch.cat([part.barycentrics for part in found], dim=3),
        torch.cat([part.depth for part in found], dim=3),
    )


@full_precision
def render_textured(
    vertices: Tensor,
    faces: Tensor,
    uv: Tensor,
    texture: Tensor,
    cameras: Cameras,
    size: Sequence[int],
    *,
    interpolation: Interpolation = "perspective",
    near: float | None = NEAR,
    far_clip: float | None = None,
    rasterizer: Rasterizer = rasterize,
) -> tuple[Tensor, Tensor]:
    """Render the nearest surface of a mesh with a texture, from B cameras.

    Args:
        vertices: [B, V, 3] in the world.
        faces: [F, 3] int64.
        uv: [B, V, 2] relative texture coordinates, 0 and 1 the outer edges of the texture.
        texture: [B, C, h, w].
        cameras: cameras [B].
        size: height and width of the images.
        interpolation: see `rasterizers.Interpolation`.
        near: see `render_layers`.
        far_clip: see `render_layers`.
        rasterizer: the back end.

    Returns:
        Texture coordinates [B, 2, H, W], -1 where there is no surface, and the texture sampled there
        bilinearly, zeros outside of it, [B, C, H, W].
    """
    screen, drawn = project_vertices(vertices, faces, cameras, near)
    found = rasterizer(screen, faces, size, interpolation=interpolation, drawn=drawn, far=far_clip)
    places = interpolate_attributes(found, faces, uv)[..., 0, :]
    places = torch.where(found.face >= 0, places, -1.0)
    return places.permute(0, 3, 1, 2), sample_image(texture, places)
