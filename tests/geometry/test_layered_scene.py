"""Layers whose textures have another size than their meshes, against rays that are cast one by one."""

import math

import pytest
import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layered_scene import Layers, MeshGrid, RenderingOptions, render_scene
from repsynth.geometry.layers import layer_faces, layer_grid, layer_of_face, layer_vertices, vertex_features
from repsynth.geometry.rendering import render_layers

from .scenes import plain_camera, random_cameras


def textured(
    depth: Tensor, rgba: Tensor, grid: MeshGrid = "centre", reference: Cameras | None = None
) -> Layers:
    camera = plain_camera(len(depth), depth.dtype) if reference is None else reference
    return Layers(depth, rgba, layer_vertices(depth, camera, grid, rgba.shape[-2:]), camera, grid)


def random_scene(
    mesh: tuple[int, int], texels: tuple[int, int], grid: MeshGrid, batch: int = 2, layers: int = 2
) -> Layers:
    rng = torch.Generator().manual_seed(3)
    slabs = torch.linspace(5.0, 2.5, layers, dtype=torch.float64)[:, None, None]
    depth = slabs + 0.6 * torch.rand(batch, layers, *mesh, generator=rng, dtype=torch.float64)
    rgba = torch.rand(batch, layers, 4, *texels, generator=rng, dtype=torch.float64)
    return textured(depth, rgba, grid)


def read(texture: Tensor, u: float, v: float) -> Tensor:
    """Bilinear reading of [C, h, w] at index coordinates, texel by texel."""
    height, width = texture.shape[1:]
    value = torch.zeros(len(texture), dtype=texture.dtype)
    for row in range(height):
        for column in range(width):
            value += texture[:, row, column] * max(0.0, 1 - abs(v - row)) * max(0.0, 1 - abs(u - column))
    return value


def where_it_is_seen(
    scene: Layers, item: int, face: list[int], weights: Tensor, affine: bool
) -> tuple[float, float]:
    """Index coordinates in the texture of a point with these weights of a face's corners."""
    height, width = scene.depth.shape[-2:]
    texels = scene.rgba.shape[-2:]
    if affine:
        inside = torch.tensor(
            [divmod(vertex % (height * width), width) for vertex in face], dtype=torch.float64
        )
        down, across = weights @ inside / torch.tensor([height - 1, width - 1])
        return float(across) * (texels[1] - 1), float(down) * (texels[0] - 1)
    point = weights @ scene.vertices[item, face]
    (u, v) = scene.reference[item : item + 1].project(point[None, None])[0][0, 0].tolist()
    if scene.grid == "corner":
        return u * (texels[1] - 1), v * (texels[0] - 1)
    return u * texels[1] - 0.5, v * texels[0] - 0.5


def cast(scene: Layers, item: int, camera: Cameras, size: tuple[int, int], affine: bool) -> Tensor:
    """RGB and opacity [4, H, W] of one scene: every pixel meets every face by itself."""
    _, count, height, width = scene.depth.shape
    points, depths = camera[item : item + 1].project(scene.vertices[item : item + 1])
    found = torch.zeros(4, *size, dtype=torch.float64)
    for row in range(size[0]):
        for column in range(size[1]):
            pixel = torch.tensor([(column + 0.5) / size[1], (row + 0.5) / size[0]], dtype=torch.float64)
            met: dict[float, Tensor] = {}
            for number, face in enumerate(layer_faces(count, height, width).tolist()):
                corners, z = points[0, face], depths[0, face]
                system = torch.cat((corners.T, torch.ones(1, 3, dtype=torch.float64)))
                if abs(float(torch.linalg.det(system))) < 1e-12:
                    continue
                weights = torch.linalg.solve(system, torch.cat((pixel, pixel.new_ones(1))))
                if (weights < 0).any():
                    continue
                if not affine:
                    weights = weights / z / (weights / z).sum()
                u, v = where_it_is_seen(scene, item, face, weights, affine)
                layer = number // (2 * (height - 1) * (width - 1))
                met[float(weights @ z)] = read(scene.rgba[item, layer], u, v)
            passed = 1.0
            for place, depth in enumerate(sorted(met)):
                alpha = 1.0 if place == len(met) - 1 else float(met[depth][3])
                found[:3, row, column] += passed * alpha * met[depth][:3]
                passed *= 1 - alpha
            found[3, row, column] = 1 - passed
    return found


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("visibility", ["peel", "layer"])
@pytest.mark.parametrize("grid", ["corner", "centre"])
def test_every_ray_reads_the_texture_where_it_meets_the_mesh(
    affine: bool, visibility: str, grid: MeshGrid
) -> None:
    size = (6, 7)
    scene = random_scene((3, 4), (8, 11), grid)
    camera = random_cameras(2, spread=0.05, dtype=torch.float64)
    options = RenderingOptions(visibility=visibility, interpolation="affine" if affine else "perspective")
    found = render_scene(scene, camera, size, options)
    for item in range(2):
        expected = cast(scene, item, camera, size, affine)
        torch.testing.assert_close(found.features[item], expected[:3], atol=1e-4, rtol=0)
        torch.testing.assert_close(found.opacity[item], expected[3:], atol=1e-4, rtol=0)
    assert int(found.count.max()) == 2


def test_a_mesh_finer_than_its_texture() -> None:
    scene = random_scene((5, 6), (3, 2), "corner", batch=1)
    camera = random_cameras(1, spread=0.05, dtype=torch.float64)
    found = render_scene(scene, camera, (5, 4))
    torch.testing.assert_close(
        found.features[0], cast(scene, 0, camera, (5, 4), affine=False)[:3], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("grid", ["corner", "centre"])
def test_equal_sizes_are_vertex_colours_bit_for_bit(grid: MeshGrid) -> None:
    depth, rgba = 2 + torch.rand(2, 3, 12, 15), torch.rand(2, 3, 4, 12, 15)
    camera = random_cameras(2, spread=0.05)
    found = render_scene(textured(depth, rgba, grid), camera, (14, 10))
    expected = render_layers(
        layer_vertices(depth, plain_camera(2), grid),
        layer_faces(3, 12, 15),
        vertex_features(rgba),
        layer_of_face(3, 12, 15),
        camera,
        (14, 10),
    )
    for name in ("features", "opacity", "depth", "count"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("interpolation", ["affine", "perspective"])
@pytest.mark.parametrize("grid", ["corner", "centre"])
def test_textures_that_are_linear_show_what_vertex_colours_show(interpolation: str, grid: MeshGrid) -> None:
    mesh, texels = (5, 6), (21, 31)

    def linear(size: tuple[int, int]) -> Tensor:
        u, v = layer_grid(*size, "corner", dtype=torch.float64).unbind(-1)
        channels = [0.1 + 0.7 * u, 0.9 - 0.5 * v, 0.3 * u + 0.4 * v, 0.2 + 0.3 * u]
        return torch.stack(channels).expand(2, 2, 4, *size)

    # Faces parallel to the reference image: on others, what is linear in it is not linear on the face.
    depth = torch.tensor([5.0, 3.0], dtype=torch.float64)[:, None, None].expand(2, 2, *mesh)
    fine = textured(depth, linear(texels), grid)
    coarse = Layers(fine.depth, linear(mesh), fine.vertices, fine.reference, grid)
    camera = random_cameras(2, spread=0.05, dtype=torch.float64)
    found, expected = (
        render_scene(scene, camera, (20, 25), RenderingOptions(interpolation=interpolation))
        for scene in (fine, coarse)
    )
    torch.testing.assert_close(found.features, expected.features)
    torch.testing.assert_close(found.opacity, expected.opacity)
    torch.testing.assert_close(found.depth, expected.depth)


@pytest.mark.parametrize("grid", ["corner", "centre"])
def test_the_difference_to_vertex_colours_vanishes_as_the_mesh_grows(grid: MeshGrid) -> None:
    texels = (49, 49)

    def hills(size: tuple[int, int]) -> Tensor:
        u, v = layer_grid(*size, grid, dtype=torch.float64, texels=texels).unbind(-1)
        return (3 + torch.sin(7 * u) * torch.cos(5 * v))[None, None]

    u, v = layer_grid(*texels, "corner", dtype=torch.float64).unbind(-1)
    rgba = torch.stack((torch.sin(5 * u), torch.cos(4 * v), torch.sin(3 * (u + v)), torch.ones_like(u)))[
        None, None
    ]
    camera = random_cameras(1, spread=0.1, dtype=torch.float64)
    expected = render_scene(textured(hills(texels), rgba, grid), camera, (20, 20))
    off = []
    for side in (4, 13, 48):
        found = render_scene(textured(hills((side, side)), rgba, grid), camera, (20, 20))
        inside = (found.count == 1) & (expected.count == 1)
        off.append(float(((found.features - expected.features).abs() * inside).max()))
    assert off[0] > 4 * off[1] > 4 * off[2]
    assert off[2] < 2e-3


def test_the_reference_camera_sees_the_texture_of_a_coarse_mesh() -> None:
    """Centre grid: the mesh covers every pixel centre, and every pixel reads its own texel."""
    scene = random_scene((3, 4), (16, 20), "centre", layers=1)
    found = render_scene(scene, plain_camera(2, torch.float64), (16, 20))
    assert bool((found.count == 1).all())
    torch.testing.assert_close(found.features, scene.rgba[:, 0, :3], atol=1e-5, rtol=0)


@pytest.mark.parametrize("visibility", ["peel", "layer"])
@pytest.mark.parametrize("interpolation", ["affine", "perspective"])
def test_gradients_into_textures_and_vertices(visibility: str, interpolation: str) -> None:
    scene = random_scene((2, 3), (4, 5), "centre", batch=1)
    camera = random_cameras(1, spread=0.02, dtype=torch.float64)
    options = RenderingOptions(visibility=visibility, interpolation=interpolation)

    def outputs(depth: Tensor, rgba: Tensor) -> tuple[Tensor, ...]:
        found = render_scene(textured(depth, rgba), camera, (4, 5), options)
        return found.features, found.opacity, found.depth

    inputs = scene.depth.requires_grad_(), (0.2 + 0.6 * scene.rgba).requires_grad_()
    assert torch.autograd.gradcheck(outputs, inputs, eps=1e-7, atol=1e-4, fast_mode=True)
    outputs(*inputs)[0].square().sum().backward()
    assert all(part.grad is not None and part.grad.abs().max() > 1e-3 for part in inputs)


def test_textures_are_read_in_float32_under_autocast() -> None:
    depth, rgba = 2 + torch.rand(1, 2, 4, 5), torch.rand(1, 2, 4, 32, 48)
    camera = random_cameras(1, spread=0.05)
    expected = render_scene(textured(depth, rgba), camera, (12, 12))
    with torch.autocast("cpu", torch.bfloat16):
        found = render_scene(textured(depth, rgba), camera, (12, 12))
    assert torch.equal(found.features, expected.features)
    assert not math.isnan(float(found.features.sum()))
