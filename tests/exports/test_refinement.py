from dataclasses import replace

import pytest
import torch

from repsynth.exports.refinement import refined
from repsynth.geometry.layered_scene import Layers, MeshGrid, render_scene
from repsynth.geometry.layers import layer_vertices, texture_coordinates

from .scenes import cameras, layered_scene


def rough(mesh: tuple[int, int], texture: tuple[int, int] | None, grid: MeshGrid = "corner") -> Layers:
    """Layers whose neighbouring vertices differ in depth by up to a half."""
    layers = layered_scene(mesh=mesh, texture=texture, grid=grid)
    factor = 1 + 0.5 * torch.rand(layers.depth.shape, generator=torch.Generator().manual_seed(1))
    depth = layers.depth * factor
    return replace(layers, depth=depth, vertices=layer_vertices(depth, layers.reference, grid, texture))


@pytest.mark.parametrize(
    "layers",
    [
        layered_scene(),
        rough((9, 12), None),
        layered_scene(texture=(90, 120), bumps=0),
        rough((18, 30), (9, 12)),
    ],
    ids=["a vertex per texel", "the same, rough", "flat", "more vertices than texels"],
)
def test_a_mesh_that_needs_it_not_stays_as_it_is(layers: Layers) -> None:
    assert refined(layers) is layers


@pytest.mark.parametrize("grid", ["corner", "centre"])
def test_cut_faces_are_the_same_surface_with_the_same_pictures(grid: MeshGrid) -> None:
    coarse = rough((6, 8), (41, 57), grid)
    fine = refined(coarse)
    cuts = (fine.depth.shape[-2] - 1) // 5
    assert 2 <= cuts <= 4
    assert fine.depth.shape[-2:] == (5 * cuts + 1, 7 * cuts + 1)
    torch.testing.assert_close(fine.depth[..., ::cuts, ::cuts], coarse.depth)
    novel = cameras((0.2, 0.1, 0.1))
    first, second = (render_scene(layers, novel, (40, 50)) for layers in (coarse, fine))
    differs = (first.features - second.features).abs().amax(dim=1) > 0.01
    assert differs.float().mean() < 0.01  # pixel centres on outlines and folds
    assert ((first.depth - second.depth).abs() > 0.01).float().mean() < 0.01


def test_linear_coordinates_are_a_quarter_of_a_texel_off_at_most_on_nearly_all_edges() -> None:
    coarse = rough((9, 12), (65, 89))
    worst = []
    for layers in (coarse, refined(coarse)):
        height, width = layers.depth.shape[-2:]
        places = texture_coordinates(height, width, (65, 89))[0, :, 0] * 89
        first, second = layers.depth[..., :-1], layers.depth[..., 1:]
        share = torch.linspace(0, 1, 101)[:, None, None, None, None]
        seen = (share * second) / ((1 - share) * first + share * second)  # by the reference camera
        off = (seen - share).abs().amax(dim=0) * places.diff()
        worst.append(float(off.quantile(0.99)))
    assert worst[0] > 0.5
    assert worst[1] < 0.26
