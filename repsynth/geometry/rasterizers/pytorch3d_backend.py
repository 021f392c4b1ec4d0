"""Visibility by pytorch3d's `rasterize_meshes`; barycentrics and gradients are ours, as in every back end."""

from collections.abc import Sequence

import torch
from torch import Tensor

from repsynth.geometry.precision import full_precision
from repsynth.geometry.rasterizers.interface import Fragments, Interpolation
from repsynth.geometry.rasterizers.interpolation import fragments_of, pixel_positions


@full_precision
def rasterize(
    vertices: Tensor,
    faces: Tensor,
    size: Sequence[int],
    *,
    fragments: int = 1,
    interpolation: Interpolation = "perspective",
    drawn: Tensor | None = None,
    far: float | None = None,
) -> Fragments:
    """Rasterise; see `interface.Rasterizer`. Faces behind the camera are never drawn."""
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    with torch.no_grad():
        chosen = chosen_faces(faces, drawn, vertices.shape[0])
        # float32 is all it takes; the visibility has no gradient, so nothing is lost.
        meshes = Meshes(list(normalised(vertices, size).float()), [faces[ids] for ids in chosen])
        found, depth, _, _ = rasterize_meshes(
            meshes,
            image_size=tuple(size),
            blur_radius=0.0,
            faces_per_pixel=fragments,
            perspective_correct=interpolation == "perspective",
            cull_backfaces=False,
        )
        packed = torch.cat([*chosen, faces.new_tensor([-1])])
        shown = packed[found]
        if far is not None:
            shown = torch.where(depth <= far, shown, -1)
    return fragments_of(pixel_positions(vertices, size), faces, shown, interpolation)


def normalised(vertices: Tensor, size: Sequence[int]) -> Tensor:
    """Return vertices in pytorch3d's screen coordinates: x left, y up, the shorter side from -1 to 1."""
    short = min(size)
    scale = vertices.new_tensor([size[1] / short, size[0] / short])
    return torch.cat([(1 - 2 * vertices[..., :2]) * scale, vertices[..., 2:]], dim=-1)


def chosen_faces(faces: Tensor, drawn: Tensor | None, batch: int) -> list[Tensor]:
    """Return the ids of the faces to draw in each image."""
    if drawn is None:
        return [torch.arange(faces.shape[0], device=faces.device)] * batch
    return [row.nonzero()[:, 0] for row in drawn]
