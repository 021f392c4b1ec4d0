"""Layered scenes as binary glTF: one unlit, textured mesh per layer, for viewers; docs/prediction.md describes it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import repsynth
from repsynth.exports.files import write_bytes
from repsynth.exports.glb import Block, encode
from repsynth.exports.layers import require_finite
from repsynth.exports.refinement import refined
from repsynth.exports.textures import png, to_rgba_bytes
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layered_scene import Layers
from repsynth.geometry.layers import layer_faces, texture_coordinates

_UNLIT = "KHR_materials_unlit"
_LINEAR, _CLAMP_TO_EDGE = 9729, 33071
_NEAREST_SHARE = 0.01
"""Near plane of the camera as a share of the nearest depth."""


def write_gltf(layers: Layers, farthest_opaque: bool, path: Path) -> Path:
    """Write one scene as a GLB file.

    Axes are glTF's (x right, y up, z backward) with the reference camera at the origin. The layers' alpha is in
    their textures; with `farthest_opaque` layer 0 is opaque everywhere.

    Args:
        layers: one scene (B = 1).
        farthest_opaque: the method's rule of composition.
        path: ends in .glb.

    Raises:
        UserError: depth or cameras are not finite, or the file would be longer than 4 GiB.
    """
    require_finite(layers, path)
    write_bytes(path, gltf_bytes(layers, farthest_opaque))
    return path


def gltf_bytes(layers: Layers, farthest_opaque: bool) -> bytes:
    """The content of `write_gltf`'s file."""
    layers = refined(layers)
    count, height, width = layers.depth.shape[1:]
    block = Block()
    uv = texture_coordinates(height, width, layers.rgba.shape[-2:])
    shared = {
        "uv": block.add_attribute(uv.flatten(0, 1).numpy()),
        "faces": block.add_indices(layer_faces(1, height, width).flatten().numpy().astype(np.uint32)),
    }
    points = layers.reference.to_camera(layers.vertices)[0].cpu() * torch.tensor([1.0, -1.0, -1.0])
    middles, positions = zip(*(_centred(part) for part in points.unflatten(0, (count, -1))), strict=True)
    places = [block.add_attribute(part) for part in positions]
    pictures = [block.add_bytes(png(picture)) for picture in _textures(layers, farthest_opaque)]
    return encode(
        {
            "asset": {"version": "2.0", "generator": f"repsynth {repsynth.__version__}"},
            "extensionsUsed": [_UNLIT],
            "scene": 0,
            "scenes": [{"name": "layers", "nodes": list(range(count + 1))}],
            "nodes": [{"name": "reference", "camera": 0}, *map(_node, range(count), middles)],
            "cameras": [_camera(layers.reference, layers.depth)],
            "meshes": [_mesh(index, place, shared) for index, place in enumerate(places)],
            "materials": [_material(index, farthest_opaque and index == 0) for index in range(count)],
            "textures": [{"sampler": 0, "source": index} for index in range(count)],
            "images": [
                {"name": _name(index), "mimeType": "image/png", "bufferView": view}
                for index, view in enumerate(pictures)
            ],
            "samplers": [
                {
                    "magFilter": _LINEAR,
                    "minFilter": _LINEAR,
                    "wrapS": _CLAMP_TO_EDGE,
                    "wrapT": _CLAMP_TO_EDGE,
                }
            ],
        },
        block,
    )


def _textures(layers: Layers, farthest_opaque: bool) -> np.ndarray:
    pictures = to_rgba_bytes(layers.rgba[0])
    if farthest_opaque:
        pictures[0, ..., 3] = 255
    return pictures


def _centred(points: Tensor) -> tuple[list[float], np.ndarray]:
    """The middle of a layer's box, which viewers sort transparent meshes by, and its vertices from there."""
    middle = (points.amin(dim=0) + points.amax(dim=0)) / 2
    return middle.tolist(), (points - middle).numpy()


def _name(index: int) -> str:
    return f"layer_{index:02d}"


def _node(index: int, middle: list[float]) -> dict[str, Any]:
    return {"name": _name(index), "mesh": index, "translation": middle}


def _mesh(index: int, positions: int, shared: dict[str, int]) -> dict[str, Any]:
    primitive = {
        "attributes": {"POSITION": positions, "TEXCOORD_0": shared["uv"]},
        "indices": shared["faces"],
        "material": index,
    }
    return {"name": _name(index), "primitives": [primitive]}


def _material(index: int, opaque: bool) -> dict[str, Any]:
    return {
        "name": _name(index),
        "alphaMode": "OPAQUE" if opaque else "BLEND",
        "doubleSided": True,
        "extensions": {_UNLIT: {}},
        # The factors are for viewers without the extension.
        "pbrMetallicRoughness": {
            "baseColorTexture": {"index": index},
            "metallicFactor": 0.0,
            "roughnessFactor": 1.0,
        },
    }


def _camera(reference: Cameras, depth: Tensor) -> dict[str, Any]:
    """A perspective camera; its principal point is the picture's centre, so the true lens is told beside it."""
    lens = reference.intrinsics[0].tolist()
    extras = {
        "w2c_3x4_opencv": reference.extrinsics[0, :3].tolist(),
        "intrinsics_normalised_fx_fy_cx_cy": [lens[0][0], lens[1][1], lens[0][2], lens[1][2]],
    }
    perspective = {
        "yfov": 2 * math.atan(0.5 / lens[1][1]),
        "aspectRatio": lens[1][1] / lens[0][0],
        "znear": _NEAREST_SHARE * float(depth.min()),
        "zfar": 2 * float(depth.max()),
    }
    return {"name": "reference", "type": "perspective", "perspective": perspective, "extras": extras}
