"""Options of the generator beyond the paper's defaults: mesh and network sizes, alphas, fixed layers, gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from repsynth.errors import UserError
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.grids import sample_image
from repsynth.geometry.layered_scene import Layers
from repsynth.geometry.layers import depth_on_mesh, layer_vertices
from repsynth.modules.stereolayers.generator import StereoLayersGenerator
from repsynth.modules.stereolayers.options import LayerOptions

from .test_generator import camera, small

PAIR = (camera(), camera(0.3))


def images(*size: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    first, second = torch.rand(2, batch, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return first, second


def uneven(**options: object) -> StereoLayersGenerator:
    """A generator whose layers are bent: at its random start they are nearly flat."""
    generator = small(**({"near": 2.0, "far": 10.0} | options))
    last = generator.geometry_network.dconv1.conv
    torch.nn.init.normal_(last.weight, std=0.4)
    return generator


def shows_only(generator: StereoLayersGenerator, source: int) -> StereoLayersGenerator:
    """RSBg colours are those of the reference (0), the background (1) or the side view (2), all alphas one half."""
    last = generator.coloring_network.final_conv
    torch.nn.init.zeros_(last.weight)
    assert last.bias is not None
    torch.nn.init.zeros_(last.bias)
    last.bias.data[3 + source :: 4] = 60.0
    return generator


class Heard:
    """Keeps what a network was given."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.inputs: list[Tensor] = []
        network.register_forward_hook(lambda _, given, __: self.inputs.append(given[0]))


# Mesh size


@pytest.mark.parametrize("grid", ["corner", "centre"])
@pytest.mark.parametrize("mesh", [(5, 9), (40, 70)])
def test_layers_keep_their_mesh_under_textures_of_the_images_size(grid: str, mesh: tuple[int, int]) -> None:
    generator = uneven(mesh_size=mesh, grid=grid)
    with torch.no_grad():
        built = generator(*images(32, 64), *PAIR)
        view = generator.render(built, camera(0.1), (32, 64))
    assert built.depth.shape == (2, 3, *mesh)
    assert built.vertices.shape == (2, 3 * mesh[0] * mesh[1], 3)
    assert built.rgba.shape == (2, 3, 4, 32, 64)
    assert view.features.shape == (2, 3, 32, 64)
    assert (view.opacity > 0).float().mean() > 0.7


def test_a_mesh_with_a_vertex_per_pixel_is_the_default_bit_for_bit() -> None:
    pair = images(32, 64)
    with torch.no_grad():
        plain, same = (uneven(mesh_size=size)(*pair, *PAIR) for size in (None, (32, 64)))
    for name in ("depth", "rgba", "vertices"):
        assert torch.equal(getattr(plain, name), getattr(same, name))


def test_vertices_have_the_depth_that_the_network_gives_at_their_place() -> None:
    pair = images(32, 64)
    with torch.no_grad():
        whole = uneven()(*pair, *PAIR).depth
        built = uneven(mesh_size=(3, 4))(*pair, *PAIR)
    rows, columns = torch.linspace(0, 31, 3), torch.linspace(0, 63, 4)
    expected = F.interpolate(whole, (3, 4), mode="bilinear", align_corners=True)
    torch.testing.assert_close(built.depth, expected)
    torch.testing.assert_close(built.depth[:, :, 0, 0], whole[:, :, int(rows[0]), int(columns[0])])
    pixels, depth = camera().project(built.vertices)
    torch.testing.assert_close(depth, built.depth.flatten(1))
    assert pixels.amin() == pytest.approx(0, abs=1e-5) and pixels.amax() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("grid", ["corner", "centre"])
def test_colours_of_the_side_view_are_taken_at_the_texels_on_the_faces(grid: str) -> None:
    generator = shows_only(uneven(mesh_size=(4, 5), grid=grid, mask_behind=False), 2)
    reference, side = images(32, 64)
    with torch.no_grad():
        built = generator(reference, side, *PAIR)
    points = layer_vertices(depth_on_mesh(built.depth, (32, 64)), camera(), grid)
    seen = sample_image(side, camera(0.3).project(points)[0]).unflatten(2, (3, 32, 64)).transpose(1, 2)
    torch.testing.assert_close(built.rgba[:, :, :3], seen, atol=1e-5, rtol=0)
    flat = shows_only(uneven(grid=grid, mask_behind=False), 2)
    with torch.no_grad():
        assert (flat(reference, side, *PAIR).rgba - built.rgba).abs().max() > 0.1, (
            "the faces make no difference here"
        )


def test_the_reference_view_shows_its_own_pixels_on_any_mesh() -> None:
    reference, side = images(32, 64)
    for mesh in [(2, 2), (7, 5), None]:
        generator = shows_only(uneven(mesh_size=mesh, grid="centre"), 0)
        with torch.no_grad():
            view = generator.render(generator(reference, side, *PAIR), camera(), (32, 64))
        torch.testing.assert_close(view.features, reference, atol=2e-4, rtol=0)


def test_textures_and_meshes_learn_from_the_novel_view() -> None:
    generator = uneven(mesh_size=(6, 7)).train()
    built = generator(*images(32, 64), *PAIR)
    generator.render(built, camera(0.1), (32, 64)).features.square().mean().backward()
    still = [
        name for name, p in generator.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ]
    assert still == []
    assert generator.geometry_network.conv1.conv.parametrizations.weight.original.grad.abs().max() > 0


# Network size


@pytest.mark.parametrize("grid", ["corner", "centre"])
def test_the_geometry_network_sees_what_it_would_see_of_smaller_images(grid: str) -> None:
    fixed, plain = uneven(network_size=(32, 64), grid=grid), uneven(grid=grid)
    heard, expected = Heard(fixed.geometry_network), Heard(plain.geometry_network)
    pair = images(96, 128)
    reduced = [F.interpolate(image, (32, 64), mode="bilinear", antialias=True) for image in pair]
    with torch.no_grad():
        built, low = fixed(*pair, *PAIR), plain(*reduced, *PAIR)
    assert torch.equal(heard.inputs[0], expected.inputs[0])
    upsampled = F.interpolate(low.depth, (96, 128), mode="bilinear", align_corners=grid == "corner")
    torch.testing.assert_close(built.depth, upsampled)
    assert built.rgba.shape == (2, 3, 4, 96, 128)


def test_a_network_of_the_images_size_is_the_default_bit_for_bit() -> None:
    pair = images(32, 64)
    with torch.no_grad():
        plain, same = (
            uneven(**options)(*pair, *PAIR)
            for options in ({}, {"network_size": (32, 64), "color_at_network_size": True})
        )
    for name in ("depth", "rgba", "vertices"):
        assert torch.equal(getattr(plain, name), getattr(same, name))


@pytest.mark.parametrize("mesh", [None, (5, 6)])
def test_the_colouring_network_sees_the_smaller_views_too_if_told_so(mesh: tuple[int, int] | None) -> None:
    options = {"mesh_size": mesh, "grid": "corner"}
    fixed = uneven(network_size=(32, 64), color_at_network_size=True, **options)
    plain = uneven(**options)
    heard, expected = Heard(fixed.coloring_network), Heard(plain.coloring_network)
    pair = images(70, 130)  # no multiples of anything
    fixed.check_size(70, 130)
    reduced = [F.interpolate(image, (32, 64), mode="bilinear", antialias=True) for image in pair]
    with torch.no_grad():
        built, _ = fixed(*pair, *PAIR), plain(*reduced, *PAIR)
    torch.testing.assert_close(heard.inputs[0], expected.inputs[0], atol=1e-5, rtol=0)
    with torch.no_grad():
        raw = plain.coloring_network(expected.inputs[0])
    alphas = F.interpolate(raw, (70, 130), mode="bilinear", align_corners=True)[:, 6::4].sigmoid()
    torch.testing.assert_close(built.rgba[:, :, 3], alphas, atol=1e-4, rtol=0)


def test_colours_keep_every_pixel_of_the_views_at_a_smaller_network_size() -> None:
    reference, side = images(96, 128)
    for source in (0, 2):
        small_network = shows_only(uneven(network_size=(32, 64), color_at_network_size=True), source)
        with torch.no_grad():
            built = small_network(reference, side, *PAIR)
        if source == 0:
            expected = reference[:, None].expand(-1, 3, -1, -1, -1)
        else:
            points = camera(0.3).project(built.vertices)[0]
            expected = sample_image(side, points).unflatten(2, (3, 96, 128)).transpose(1, 2)
        torch.testing.assert_close(built.rgba[:, :, :3], expected, atol=1e-5, rtol=0)


def test_without_its_own_switch_the_colouring_network_sees_all_pixels() -> None:
    generator = uneven(network_size=(32, 64))
    heard = Heard(generator.coloring_network)
    with torch.no_grad():
        generator(*images(96, 128), *PAIR)
    assert heard.inputs[0].shape[-2:] == (96, 128)
    with pytest.raises(
        UserError, match=r"colouring network needs image sides that are multiples of 8, but gets 70x"
    ):
        generator.check_size(70, 128)


def test_a_fixed_network_size_replaces_the_official_rule() -> None:
    generator = StereoLayersGenerator(
        layers=1, planes=2, geometry_width=1, coloring_width=1, network_size=(256, 512)
    )
    assert generator.network_size(512, 1024) == generator.network_size(300, 400) == (256, 512)
    generator.check_size(512, 1024)
    generator.check_size(304, 400)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"mesh_size": (1, 4)},
            r"model\.mesh_size is \[1, 4\]; expected \[height, width\] of at least 2 vertices",
        ),
        (
            {"network_size": (48, 64)},
            r"model\.network_size is \[48, 64\], but the geometry network needs multiples of 32; change it",
        ),
        ({"network_size": (0, 64)}, r"model\.network_size is \[0, 64\], but"),
        ({"color_at_network_size": True}, r"is true, but model\.network_size names no size; give it\.$"),
        (
            {"layer_options": LayerOptions(stop_color_gradient=True, stop_rendering_gradient=True)},
            r"stops both gradients of the depth, .* set one of stop_color_gradient and stop_rendering",
        ),
        (
            {"layer_options": LayerOptions(farthest_depth=200.0), "layers": 1},
            r"farthest_depth fixes one layer, but model\.layers is 1; expected at least 2 layers",
        ),
        (
            {"layer_options": LayerOptions(farthest_depth=20.0)},
            r"farthest_depth is 20\.0, so learned layers could lie behind it; expected at least model\.far, 100\.0\.",
        ),
    ],
)
def test_impossible_sizes_and_variants_are_refused_at_once(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        small(**options)


# Variants of the layers


@pytest.mark.parametrize("depth", ["BI", "BI-inverse", "SA", "GC"])
def test_a_fixed_farthest_layer_stands_behind_the_learned_ones(depth: str) -> None:
    generator = uneven(depth=depth, layers=3, planes=6, layer_options=LayerOptions(farthest_depth=12.5))
    plain = uneven(depth=depth, layers=2, planes=6)
    assert (
        generator.geometry_network.dconv1.conv.weight.shape == plain.geometry_network.dconv1.conv.weight.shape
    )
    with torch.no_grad():
        built = generator(*images(32, 64), *PAIR)
    assert bool((built.depth[:, 0] == 12.5).all())
    assert built.depth[:, 1:].max() <= 10 + 1e-3
    assert built.rgba.shape == (2, 3, 4, 32, 64)


def test_learned_layers_spread_before_a_fixed_one() -> None:
    options = LayerOptions(farthest_depth=10.0)
    for scheme in ("BI", "BI-inverse"):
        generator = small(depth=scheme, initial_depth="spread", near=2.0, far=10.0, layer_options=options)
        with torch.no_grad():
            depth = generator(*images(32, 32), *PAIR).depth
        expected = torch.tensor(
            [0.1, 0.2, 0.4]
        ).reciprocal()  # the wall, and the middles 1/4 and 3/4 of [0.1, 0.5]
        torch.testing.assert_close(depth, expected.view(1, 3, 1, 1).expand_as(depth))


def gradients(built: Layers, generator: StereoLayersGenerator) -> tuple[float, float]:
    """Largest gradient of F_g through the colours, and through the places of vertices in a novel view."""
    weight = generator.geometry_network.dconv1.conv.weight
    seen = generator.render(
        Layers(built.depth, built.rgba.detach(), built.vertices, built.reference, built.grid),
        camera(0.1),
        (32, 64),
    )
    largest = []
    for outcome in (built.rgba, seen.features):
        grad = None
        if outcome.requires_grad:
            (grad,) = torch.autograd.grad(
                outcome.square().sum(), weight, retain_graph=True, allow_unused=True
            )
        largest.append(0.0 if grad is None else float(grad.abs().max()))
    return largest[0], largest[1]


@pytest.mark.parametrize("mesh", [None, (5, 6)])
def test_gradients_of_the_depth_can_be_stopped_on_either_way(mesh: tuple[int, int] | None) -> None:
    found = {}
    for colours in (False, True):
        for rendering in (False, True):
            if colours and rendering:
                continue
            options = LayerOptions(stop_color_gradient=colours, stop_rendering_gradient=rendering)
            generator = uneven(mesh_size=mesh, layer_options=options)
            built = generator(*images(32, 64), *PAIR)
            assert built.depth.requires_grad
            found[colours, rendering] = gradients(built, generator)
    assert min(found[False, False]) > 1e-3
    assert found[True, False][0] == 0 and found[True, False][1] == found[False, False][1]
    assert found[False, True][1] == 0 and found[False, True][0] == found[False, False][0]


def test_stopping_gradients_changes_no_value() -> None:
    pair = images(32, 64)
    with torch.no_grad():
        plain = uneven()(*pair, *PAIR)
        stopped = uneven(layer_options=LayerOptions(stop_color_gradient=True))(*pair, *PAIR)
    assert torch.equal(plain.rgba, stopped.rgba) and torch.equal(plain.vertices, stopped.vertices)


def test_cameras_of_the_pair_stay_while_its_images_shrink() -> None:
    """Relative intrinsics: a point is seen at the same relative place of the smaller image."""
    side = Cameras(PAIR[1].extrinsics, PAIR[1].intrinsics)
    generator = uneven(network_size=(32, 64), planes=6)
    heard = Heard(generator.geometry_network)
    u = torch.linspace(-1, 1, 128).expand(
        1, 3, 96, 128
    )  # brightness = place, which shows where the sweep reads
    with torch.no_grad():
        generator(u, u, camera(), side)
    # In this camera a plane at depth d is shifted by 0.3 / d of the width; brightness runs over 2 per width.
    shifts = 2 * 0.3 / generator.plane_depths
    volume = heard.inputs[0].unflatten(1, (7, 3))[0, :, 0]
    middle = volume[:6, 16, 32] - volume[6, 16, 32]
    torch.testing.assert_close(middle, -shifts, atol=0.04, rtol=0)
