"""Finer meshes for programs that place textures linearly on the faces of a mesh."""

import math
from dataclasses import replace

import numpy as np
from torch import Tensor

from repsynth.geometry.layered_scene import Layers
from repsynth.geometry.layers import depth_on_mesh, layer_vertices

_TOLERANCE = 0.25
"""Texels by which a texture may be off along an edge."""
_SHARE = 0.99
"""Share of the edges of which this must hold; the others span jumps of depth."""


def refined(layers: Layers) -> Layers:
    """The same surfaces, their faces cut evenly until linear texture coordinates lead to the right texels.

    Our renderer reads a texture where the reference camera sees a point of a face. Linear coordinates agree at the
    corners only: between corners of depth a and b, s texels apart, they are off by up to
    s |sqrt(b) - sqrt(a)| / (sqrt(b) + sqrt(a)), and by a k-th of a k-th of it when the edge is cut in k. A mesh with
    a vertex per texel stays as it is.
    """
    height, width = layers.depth.shape[-2:]
    texels = layers.rgba.shape[-2:]
    cuts = max(_cuts(layers.depth, -2, texels[0]), _cuts(layers.depth, -1, texels[1]))
    if cuts == 1:
        return layers
    depth = depth_on_mesh(layers.depth, (cuts * (height - 1) + 1, cuts * (width - 1) + 1))
    vertices = layer_vertices(depth, layers.reference, layers.grid, texels)
    return replace(layers, depth=depth, vertices=vertices)


def _cuts(depth: Tensor, dim: int, texels: int) -> int:
    """Into how many parts to cut the edges along one side of the picture."""
    apart = (texels - 1) / (depth.shape[dim] - 1)
    if apart <= 1:
        return 1
    root = depth.double().sqrt()
    count = depth.shape[dim] - 1
    first, second = root.narrow(dim, 0, count), root.narrow(dim, 1, count)
    off = (apart * (second - first).abs() / (second + first)).cpu().numpy()
    needed = math.sqrt(float(np.quantile(off, _SHARE)) / _TOLERANCE)
    return min(max(math.ceil(needed), 1), math.ceil(apart))
