"""Two libraries that read glTF files, as the same plain arrays; and a renderer that knows nothing of repsynth."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

_COMPONENTS: dict[int, type] = {5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}


@dataclass(frozen=True)
class Mesh:
    """What a reader found of one layer, in glTF's world."""

    name: str
    vertices: np.ndarray
    """[N, 3]."""
    faces: np.ndarray
    """[M, 3]."""
    uv: np.ndarray
    """[N, 2], (0, 0) at the upper left corner of the texture."""
    texture: np.ndarray
    """[H, W, 4] in [0, 1]; alpha 1 where the material says opaque."""


def read_with_pygltflib(path: Path) -> list[Mesh]:
    """In the order of the nodes."""
    pygltflib = pytest.importorskip("pygltflib", reason="pygltflib is not installed (extra test)")
    file = pygltflib.GLTF2().load(str(path))
    return [_mesh(file, node) for node in file.nodes if node.mesh is not None]


def read_with_trimesh(path: Path) -> list[Mesh]:
    """In the order of the names."""
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed (extra test)")
    scene = trimesh.load_scene(path, process=False)
    meshes = []
    for name in sorted(scene.graph.nodes_geometry):
        transform, geometry = scene.graph[name]
        mesh = scene.geometry[geometry]
        vertices = mesh.vertices @ transform[:3, :3].T + transform[:3, 3]
        material = mesh.visual.material
        texture = np.asarray(material.baseColorTexture.convert("RGBA")) / 255
        if material.alphaMode == "OPAQUE":
            texture[..., 3] = 1
        uv = mesh.visual.uv * [1, -1] + [0, 1]  # trimesh counts v from below
        meshes.append(Mesh(name, vertices, np.asarray(mesh.faces), uv, texture))
    return meshes


def accessor(file: Any, index: int) -> np.ndarray:  # noqa: ANN401  pygltflib
    """The values [N, width] of an accessor."""
    told = file.accessors[index]
    view = file.bufferViews[told.bufferView]
    blob = file.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    return np.frombuffer(blob, _COMPONENTS[told.componentType]).reshape(told.count, _WIDTHS[told.type])


def picture(file: Any, index: int) -> np.ndarray:  # noqa: ANN401  pygltflib
    """An embedded picture, uint8 [H, W, 4]."""
    view = file.bufferViews[file.images[index].bufferView]
    blob = file.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    return np.asarray(Image.open(BytesIO(blob)))


def _mesh(file: Any, node: Any) -> Mesh:  # noqa: ANN401  pygltflib
    (primitive,) = file.meshes[node.mesh].primitives
    material = file.materials[primitive.material]
    source = file.textures[material.pbrMetallicRoughness.baseColorTexture.index].source
    texture = picture(file, source) / 255
    if material.alphaMode == "OPAQUE":
        texture[..., 3] = 1
    return Mesh(
        node.name,
        accessor(file, primitive.attributes.POSITION) + np.array(node.translation),
        accessor(file, primitive.indices).reshape(-1, 3),
        accessor(file, primitive.attributes.TEXCOORD_0),
        texture,
    )


def ray_cast(mesh: Mesh, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """RGBA [R, 4] of the nearest hits of rays [R, 3] with a mesh, every ray against every triangle; 0 where none.

    Moller and Trumbore's intersection, in float64.
    """
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(float) for i in range(3))
    edge, other = b - a, c - a
    across = np.cross(rays[:, None], other)
    scale = (across * edge).sum(-1)
    start = origin - a
    u = (across * start).sum(-1) / scale
    turned = np.cross(start, edge)
    v = (rays[:, None] * turned).sum(-1) / scale
    distance = (turned * other).sum(-1) / scale
    slack = 1e-9
    hit = (u >= -slack) & (v >= -slack) & (u + v <= 1 + slack) & (distance > 0)
    distance = np.where(hit, distance, np.inf)
    nearest = distance.argmin(axis=1)
    rows = np.arange(len(rays))
    weights = np.stack([1 - u - v, u, v], -1)[rows, nearest]
    uv = (mesh.uv[mesh.faces[nearest]] * weights[..., None]).sum(1)
    colours = bilinear(mesh.texture, uv)
    return np.where(hit.any(axis=1)[:, None], colours, 0)


def bilinear(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Read a texture as glTF's linear, clamping sampler does."""
    height, width = texture.shape[:2]
    place = uv * [width, height] - 0.5
    before = np.floor(place).astype(int)
    share = place - before
    result = np.zeros((len(uv), 4))
    for down in (0, 1):
        for right in (0, 1):
            x = np.clip(before[:, 0] + right, 0, width - 1)
            y = np.clip(before[:, 1] + down, 0, height - 1)
            weight = np.abs(1 - right - share[:, 0]) * np.abs(1 - down - share[:, 1])
            result += texture[y, x] * weight[:, None]
    return result


def over(layers: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Blend RGBA [R, 4] back to front as a viewer does, without converting colours: RGB [R, 3] and opacity [R]."""
    colour, opacity = np.zeros((len(layers[0]), 3)), np.zeros(len(layers[0]))
    for layer in layers:
        alpha = layer[:, 3]
        colour = layer[:, :3] * alpha[:, None] + colour * (1 - alpha[:, None])
        opacity = alpha + opacity * (1 - alpha)
    return colour, opacity
