"""glTF files are read by two other libraries, drawn by our rasteriser and by a ray caster, and compared with ours."""

import math
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from repsynth.errors import UserError
from repsynth.exports import glb
from repsynth.exports.gltf import write_gltf
from repsynth.exports.refinement import refined
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layered_scene import Layers, MeshGrid, render_scene
from repsynth.geometry.rendering import render_textured

from .gltf_readers import (
    Mesh,
    accessor,
    over,
    picture,
    ray_cast,
    read_with_pygltflib,
    read_with_trimesh,
)
from .scenes import cameras, layered_scene

Reader = Callable[[Path], list[Mesh]]
Drawing = Callable[[list[Mesh], Layers, Cameras], np.ndarray]
READERS: list[Reader] = [read_with_pygltflib, read_with_trimesh]
SIZE = (27, 36)
LEVEL = 1 / 255
TURN = np.array([1, -1, -1])
"""From the camera axes of glTF to OpenCV's, and back."""


def opened(path: Path) -> Any:  # noqa: ANN401
    pygltflib = pytest.importorskip("pygltflib", reason="pygltflib is not installed (extra test)")
    return pygltflib.GLTF2().load(str(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scene.glb"


def test_the_container_follows_the_specification(path: Path) -> None:
    write_gltf(layered_scene(), True, path)
    content = path.read_bytes()
    assert struct.unpack_from("<4sII", content) == (b"glTF", 2, len(content))
    length, kind = struct.unpack_from("<I4s", content, 12)
    assert (kind, length % 4) == (b"JSON", 0)
    rest, kind = struct.unpack_from("<I4s", content, 20 + length)
    assert (kind, rest % 4, 28 + length + rest) == (b"BIN\0", 0, len(content))


def test_the_document_says_what_viewers_need(path: Path) -> None:
    write_gltf(layered_scene(), True, path)
    file = opened(path)
    assert file.extensionsUsed == ["KHR_materials_unlit"]
    assert [node.name for node in file.nodes] == ["reference", "layer_00", "layer_01", "layer_02"]
    assert file.scenes[file.scene].nodes == [0, 1, 2, 3]
    assert [material.alphaMode for material in file.materials] == ["OPAQUE", "BLEND", "BLEND"]
    assert all(material.doubleSided for material in file.materials)
    assert all(material.extensions == {"KHR_materials_unlit": {}} for material in file.materials)
    assert {view.target for view in file.bufferViews[:2]} == {34962, 34963}
    for view in file.bufferViews:
        assert view.byteOffset % 4 == 0
        assert view.byteOffset + view.byteLength <= file.buffers[0].byteLength
    for index, told in enumerate(file.accessors):
        values = accessor(file, index)
        assert told.min == values.min(axis=0).tolist()
        assert told.max == values.max(axis=0).tolist()
    (indices,) = {mesh.primitives[0].indices for mesh in file.meshes}  # one list for all layers
    assert file.accessors[indices].componentType == 5125
    assert file.accessors[indices].max == [9 * 12 - 1]
    # Viewers sort by the nodes' places, or by the middles of the boxes: both fall towards the camera.
    depths = [node.translation[2] for node in file.nodes[1:]]
    assert depths == sorted(depths)
    for mesh in file.meshes:
        box = file.accessors[mesh.primitives[0].attributes.POSITION]
        assert np.add(box.min, box.max) == pytest.approx([0, 0, 0], abs=1e-5)


def test_the_reference_camera_is_the_one_at_the_origin(path: Path) -> None:
    layers = layered_scene()
    write_gltf(layers, True, path)
    file = opened(path)
    (camera,) = file.cameras
    assert (file.nodes[0].camera, file.nodes[0].matrix, file.nodes[0].translation) == (0, None, None)
    assert camera.perspective.yfov == pytest.approx(2 * math.atan(0.5 / 1.1))
    assert camera.perspective.aspectRatio == pytest.approx(1.1 / 0.9)
    assert 0 < camera.perspective.znear < float(layers.depth.min())
    assert camera.perspective.zfar > float(layers.depth.max())
    assert camera.extras["intrinsics_normalised_fx_fy_cx_cy"] == pytest.approx([0.9, 1.1, 0.48, 0.53])
    assert np.float32(camera.extras["w2c_3x4_opencv"]).tolist() == layers.reference.extrinsics[0, :3].tolist()


@pytest.mark.parametrize("farthest_opaque", [True, False])
def test_textures_are_the_layers_and_the_farthest_is_opaque_by_rule(
    farthest_opaque: bool, path: Path
) -> None:
    layers = layered_scene()
    write_gltf(layers, farthest_opaque, path)
    file = opened(path)
    expected = torch.cat([(layers.rgba[0, :, :3] + 1) / 2, layers.rgba[0, :, 3:]], dim=1).movedim(1, -1)
    for index in range(3):
        found = picture(file, index) / 255
        assert found[..., :3] == pytest.approx(expected[index, ..., :3].numpy(), abs=1e-6)
        opaque = farthest_opaque and index == 0
        alpha = np.ones((9, 12)) if opaque else expected[index, ..., 3].numpy()
        assert found[..., 3] == pytest.approx(alpha, abs=1e-6)
    assert file.materials[0].alphaMode == ("OPAQUE" if farthest_opaque else "BLEND")


@pytest.mark.parametrize("read", READERS)
def test_readers_find_the_vertices_in_front_of_a_camera_that_looks_along_minus_z(
    read: Reader, path: Path
) -> None:
    layers = layered_scene()
    write_gltf(layers, True, path)
    meshes = read(path)
    seen = layers.reference.to_camera(layers.vertices)[0].unflatten(0, (3, -1)).numpy()
    for index, mesh in enumerate(meshes):
        assert mesh.name == f"layer_0{index}"
        assert mesh.vertices == pytest.approx(seen[index] * TURN, abs=1e-5)
        assert (mesh.vertices[:, 2] < 0).all()
        # Fronts of triangles are counter-clockwise as the camera sees them.
        a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
        assert ((np.cross(b - a, c - a) * a).sum(-1) < 0).all()


@pytest.mark.parametrize("grid", ["corner", "centre"])
@pytest.mark.parametrize("texture", [None, (18, 30)])
def test_texture_coordinates_lead_to_what_the_renderer_shows_at_a_vertex(
    grid: MeshGrid, texture: tuple[int, int] | None, path: Path
) -> None:
    """Vertex c of w lies on texel c (W - 1) / (w - 1), whose centre is half a texel further in glTF."""
    write_gltf(layered_scene(grid=grid, texture=texture), True, path)
    height, width = texture or (9, 12)
    uv = read_with_pygltflib(path)[0].uv.reshape(9, 12, 2)
    assert uv[0, :, 0] == pytest.approx((np.arange(12) * (width - 1) / 11 + 0.5) / width)
    assert uv[:, 0, 1] == pytest.approx((np.arange(9) * (height - 1) / 8 + 0.5) / height)


# The pictures. The scenes' colours are bytes, so that only the way of drawing can differ.


def novel(layers: Layers) -> Cameras:
    """A camera off the reference camera, with another lens."""
    camera = cameras((0.25, -0.15, 0.2))
    return Cameras(camera.extrinsics, camera.intrinsics * torch.tensor([1.2, 1.1, 1.0])[:, None])


def ours(layers: Layers, camera: Cameras) -> tuple[np.ndarray, np.ndarray]:
    """Our picture [R, 3] in [0, 1], and where the farthest layer is seen."""
    rendering = render_scene(layers, camera, SIZE)
    unit = ((rendering.features[0] + 1) / 2).flatten(1).T.numpy()
    parts = {name: getattr(layers, name)[:, :1] for name in ("depth", "rgba")}
    count = layers.depth[0, 0].numel()
    farthest = replace(layers, **parts, vertices=layers.vertices[:, :count])
    return unit, (render_scene(farthest, camera, SIZE).count[0] > 0).flatten().numpy()


def with_our_rasteriser(meshes: list[Mesh], layers: Layers, camera: Cameras) -> np.ndarray:
    """Draw what a reader found, layer by layer."""
    drawn = []
    for mesh in meshes:
        points = torch.tensor(mesh.vertices * TURN, dtype=torch.float32)[None]
        rotation, translation = layers.reference.rotation[0], layers.reference.translation[0]
        world = (points - translation) @ rotation
        places, colours = render_textured(
            world,
            torch.tensor(mesh.faces.astype(np.int64)),
            torch.tensor(mesh.uv, dtype=torch.float32)[None],
            torch.tensor(mesh.texture, dtype=torch.float32).movedim(-1, 0)[None],
            camera,
            SIZE,
        )
        shown = torch.where(places[:, :1] >= 0, colours, 0.0)
        drawn.append(shown[0].flatten(1).T.double().numpy())
    return over(drawn)[0]


def with_the_ray_caster(meshes: list[Mesh], layers: Layers, camera: Cameras) -> np.ndarray:
    """Draw what a reader found from the camera's place in glTF's world."""
    v, u = np.meshgrid(
        (np.arange(SIZE[0]) + 0.5) / SIZE[0], (np.arange(SIZE[1]) + 0.5) / SIZE[1], indexing="ij"
    )
    lens = camera.intrinsics[0].double().numpy()
    seen = np.stack([(u - lens[0, 2]) / lens[0, 0], (v - lens[1, 2]) / lens[1, 1], np.ones_like(u)], -1)
    reference, pose = layers.reference.extrinsics[0].double().numpy(), camera.extrinsics[0].double().numpy()
    to_reference = reference @ np.linalg.inv(pose)
    rays = seen.reshape(-1, 3) @ to_reference[:3, :3].T * TURN
    return over([ray_cast(mesh, to_reference[:3, 3] * TURN, rays) for mesh in meshes])[0]


def errors(draw: Drawing, read: Reader, layers: Layers, path: Path) -> np.ndarray:
    """Absolute differences in levels of 255 between a file drawn and our picture, where the farthest layer is seen."""
    write_gltf(layers, True, path)
    camera = novel(layers)
    picture, covered = ours(layers, camera)
    assert covered.mean() > 0.7
    return np.abs(draw(read(path), layers, camera) - picture)[covered] * 255


@pytest.mark.parametrize("draw", [with_our_rasteriser, with_the_ray_caster])
@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("grid", ["corner", "centre"])
def test_textures_on_flat_layers_look_the_same(
    read: Reader, draw: Drawing, grid: MeshGrid, path: Path
) -> None:
    """Both sides read textures bilinearly, and bytes come back exactly: only rounding is left."""
    found = errors(draw, read, layered_scene(grid=grid, texture=(18, 30), bumps=0), path)
    # For another program a pixel centre on an outline may lie outside.
    assert np.quantile(found, 1 if draw is with_our_rasteriser else 0.995) < 0.02


@pytest.mark.parametrize("draw", [with_our_rasteriser, with_the_ray_caster])
@pytest.mark.parametrize(("mesh", "texture"), [((18, 24), None), ((9, 12), (33, 45))])
def test_bumpy_layers_look_the_same_up_to_interpolation(
    draw: Drawing, mesh: tuple[int, int], texture: tuple[int, int] | None, path: Path
) -> None:
    """Viewers interpolate colours over four texels, we those of vertices over a triangle's three; and they place
    textures linearly on faces, we where the reference camera sees them: equal at vertices, near between."""
    found = errors(draw, read_with_pygltflib, layered_scene(mesh=mesh, texture=texture, bumps=0.4), path)
    assert found.mean() < 0.5
    assert np.quantile(found, 0.99) < 2


def test_coarse_rough_layers_are_cut_finer(path: Path) -> None:
    layers = layered_scene(texture=(65, 89), bumps=1.4)
    write_gltf(layers, True, path)
    (count,) = {len(mesh.vertices) for mesh in read_with_pygltflib(path)}
    assert count == refined(layers).depth[0, 0].numel() > 9 * 12


def test_eight_bits_cost_at_most_half_a_level_per_layer(path: Path) -> None:
    layers = layered_scene(texture=(18, 30), bumps=0)
    layers = replace(layers, rgba=layers.rgba * 0.98 + 0.003)  # no bytes any more
    found = errors(with_our_rasteriser, read_with_pygltflib, layers, path)
    # Half a level of colour, and of alpha in each layer but the farthest, times a difference of colours below 1.
    assert 0.2 < found.max() < 1.5


def test_wrong_order_or_orientation_would_be_seen(path: Path) -> None:
    """The comparisons above can fail: swapped layers, a texture upside down."""
    layers = layered_scene(texture=(18, 30))
    write_gltf(layers, True, path)
    camera = novel(layers)
    picture, covered = ours(layers, camera)
    meshes = read_with_pygltflib(path)
    swapped = [meshes[0], meshes[2], meshes[1]]
    flipped = [replace(mesh, texture=mesh.texture[::-1].copy()) for mesh in meshes]
    for wrong in (swapped, flipped):
        error = np.abs(with_our_rasteriser(wrong, layers, camera) - picture)[covered]
        assert error.mean() > 10 * LEVEL


def test_what_cannot_be_written_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = layered_scene()
    with pytest.raises(
        UserError, match=r"scene\.glb cannot be written: the scene has NaN or infinite depths"
    ):
        write_gltf(replace(layers, vertices=layers.vertices * torch.inf), True, path)
    monkeypatch.setattr(glb, "_LARGEST", 1000)
    with pytest.raises(
        UserError, match=r"would have 0\.0 GiB and the format ends at 4; export layers instead"
    ):
        write_gltf(layers, True, path)
    assert not path.exists()
