import math

import torch

from repsynth.geometry.layers import layer_faces, layer_grid, layer_of_face, layer_vertices, vertex_features

from .scenes import random_cameras


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
