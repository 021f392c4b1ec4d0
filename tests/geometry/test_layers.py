import math

import pytest
import torch
from torch.nn import functional as F

from repsynth.geometry.layers import (
    LayerGrid,
    depth_on_mesh,
    layer_faces,
    layer_grid,
    layer_of_face,
    layer_vertices,
    resampled,
    texture_coordinates,
    vertex_features,
)

from .scenes import plain_camera, random_cameras


def test_faces_of_two_small_layers() -> None:
    faces = layer_faces(2, 2, 3)
    first = [[0, 3, 4], [0, 4, 1], [1, 4, 5], [1, 5, 2]]
    assert faces.tolist() == first + [[6 + index for index in face] for face in first]
    assert layer_of_face(2, 2, 3).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_vertices_lie_at_their_depth_behind_their_pixel() -> None:
    cameras = random_cameras(2)
    depth = 2 + torch.rand(2, 3, 4, 5)
    pixels, found = cameras.project(layer_vertices(depth, cameras, "centre"))
    torch.testing.assert_close(found, depth.flatten(1))
    vertex = 1 * 20 + 2 * 5 + 3
    torch.testing.assert_close(pixels[1, vertex], torch.tensor([3.5 / 5, 2.5 / 4]), atol=1e-5, rtol=0)
    features = vertex_features(torch.arange(2 * 3 * 2 * 20).view(2, 3, 2, 4, 5))
    assert features[1, vertex].tolist() == [((3 + 1) * 2 + channel) * 20 + 13 for channel in (0, 1)]


def test_hexagonal_cells_are_equilateral_and_tile_the_strip() -> None:
    height, width = 4, 5
    places = layer_grid(height, width, "hexagonal", dtype=torch.float64).flatten(0, 1)
    assert places.min() == 0 and places.max() == 1
    places = places * torch.tensor([width - 0.5, (height - 1) * math.sqrt(3) / 2], dtype=torch.float64)
    corners = places[layer_faces(1, height, width, grid="hexagonal")]
    sides = (corners - corners.roll(1, dims=1)).norm(dim=-1)
    torch.testing.assert_close(sides, torch.ones_like(sides))
    (ax, ay), (bx, by) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    area = ax * by - ay * bx
    assert bool((area < 0).all()), "all faces turn the same way"
    whole = torch.tensor((height - 1) * (width - 1) * math.sqrt(3) / 2, dtype=torch.float64)
    torch.testing.assert_close(-area.sum() / 2, whole)


@pytest.mark.parametrize("texels", [(9, 13), (3, 4), (2, 3)])
def test_a_mesh_goes_from_the_first_texel_to_the_last(texels: tuple[int, int]) -> None:
    height, width = texels
    for size in [(4, 5), (2, 2), texels]:
        grid = layer_grid(*size, "centre", texels=texels)
        first, last = [0.5 / width, 0.5 / height], [1 - 0.5 / width, 1 - 0.5 / height]
        assert grid[0, 0].tolist() == pytest.approx(first)
        assert grid[-1, -1].tolist() == pytest.approx(last)
        assert torch.allclose(grid.diff(dim=1).std(dim=(0, 1)), torch.zeros(2), atol=1e-6), "evenly spread"
        assert torch.equal(layer_grid(*size, "corner", texels=texels), layer_grid(*size, "corner"))
        assert torch.equal(texture_coordinates(*size, texels), grid)
    assert torch.equal(layer_grid(*texels, "centre", texels=texels), layer_grid(*texels, "centre"))


@pytest.mark.parametrize("grid", ["corner", "centre"])
def test_maps_are_read_at_the_places_of_another_grid(grid: LayerGrid) -> None:
    maps = torch.rand(2, 3, 6, 8, dtype=torch.float64)
    assert resampled(maps, (6, 8), grid) is maps
    assert resampled(maps, (6, 8), grid, (6, 8)) is maps
    found = resampled(maps, (11, 5), grid)
    expected = F.interpolate(maps, (11, 5), mode="bilinear", align_corners=grid == "corner")
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("grid", ["corner", "centre"])
def test_a_map_that_is_linear_over_the_image_is_read_exactly(grid: LayerGrid) -> None:
    def plane(places: torch.Tensor) -> torch.Tensor:
        return (2 + 3 * places[..., 0] - 5 * places[..., 1])[None, None]

    maps = plane(layer_grid(16, 24, grid, dtype=torch.float64))
    places = layer_grid(5, 4, grid, dtype=torch.float64, texels=(12, 10))
    inside = (places - 0.5).abs().amax(
        -1
    ) <= 0.5 - 0.5 / 16  # beyond the outermost places of the map it is constant
    expected = torch.where(inside, plane(places), 0)
    found = torch.where(inside, resampled(maps, (5, 4), grid, (12, 10)), 0)
    assert inside.sum() >= 6
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("grid", ["corner", "centre"])
@pytest.mark.parametrize(("mesh", "texels"), [((3, 4), (16, 23)), ((2, 2), (5, 9)), ((9, 7), (6, 5))])
def test_texels_lie_on_the_flat_faces_of_their_mesh(
    grid: LayerGrid, mesh: tuple[int, int], texels: tuple[int, int]
) -> None:
    """Rays of the reference camera through the texels meet the planes of the faces there."""
    camera = plain_camera(1, torch.float64)
    depth = 2 + torch.rand(1, 2, *mesh, dtype=torch.float64)
    found = depth_on_mesh(depth, texels)
    rays = camera.lift(
        layer_grid(*texels, grid, dtype=torch.float64).flatten(0, 1), torch.ones(1, dtype=torch.float64)
    )
    for layer in range(2):
        vertices = layer_vertices(depth[:, layer : layer + 1], camera, grid, texels)[0]
        corners = vertices[layer_faces(1, *mesh)]  # [F, 3, 3]
        normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        scale = (normal * corners[:, 0]).sum(-1)[:, None] / (normal @ rays[0].T)  # [F, rays]
        hits = scale[..., None] * rays
        weights = torch.linalg.solve(corners.mT[:, None], hits[..., None])[..., 0]
        met = (weights >= -1e-9).all(-1)
        assert met.any(0).all()
        for ray in range(met.shape[1]):
            expected = hits[met[:, ray], ray, 2]
            torch.testing.assert_close(found[0, layer].flatten()[ray].expand_as(expected), expected)


def test_a_mesh_with_a_vertex_per_texel_is_its_own_depth() -> None:
    depth = torch.rand(1, 2, 4, 5)
    assert depth_on_mesh(depth, (4, 5)) is depth
