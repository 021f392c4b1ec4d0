"""The built-in rasteriser: plain vectorised PyTorch, the same on CPU and GPU.

Faces are expanded into the pixels of their boxes, the pixels inside are kept, visibility is resolved by
scatter-min over packed (depth, index) keys, and the winners' barycentrics are computed again with gradients.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from repsynth.geometry.precision import full_precision
from repsynth.geometry.rasterizers.coverage import find_hits
from repsynth.geometry.rasterizers.interface import Fragments, Interpolation
from repsynth.geometry.rasterizers.interpolation import fragments_of, pixel_positions
from repsynth.geometry.rasterizers.peeling import peel


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
    """Rasterise; see `interface.Rasterizer`."""
    batch, (height, width) = vertices.shape[0], size
    positions = pixel_positions(vertices, size)
    with torch.no_grad():
        perspective = interpolation == "perspective"
        hits = find_hits(positions.detach(), faces, (height, width), perspective, drawn, far)
        order = peel(hits, batch * height * width, fragments)
        faces_hit = torch.cat([hits.face, hits.face.new_tensor([-1])])
        shown = faces_hit[order].view(batch, height, width, -1)
    return fragments_of(positions, faces, shown, interpolation)
