"""Merged layers: closed forms, a slow ray caster as the other opinion, and what the reference camera sees of them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.geometry.grids import sample_image
from repsynth.geometry.layered_scene import Layers, RenderingOptions, render_scene
from repsynth.geometry.rendering import Rendering
from repsynth.modules.stereomag.merging import RELEASED, MergingOptions, merge_planes
from repsynth.modules.stereomag.multiplane_image import MultiplaneImage, casting_cameras, render_planes

from .tiny import camera, constant_planes, smooth_planes

STRAIGHT_RAYS = MergingOptions(jitter=0.0)


def seen(layers: Layers, farthest_opaque: bool = True, size: tuple[int, int] = (12, 16)) -> Rendering:
    return render_scene(layers, layers.reference, size, RenderingOptions(farthest_opaque=farthest_opaque))


@pytest.mark.parametrize("opaque", [0, 1])
def test_groups_with_one_opaque_plane_equal_that_plane(opaque: int) -> None:
    planes = smooth_planes(6)
    planes.rgba[:, :, 3] = 0.0
    planes.rgba[:, opaque::2, 3] = 1.0
    layers = merge_planes(planes, 3)
    expected = planes.depths[:, opaque::2, None, None].expand(1, 3, 12, 16)
    torch.testing.assert_close(layers.depth, expected, atol=0, rtol=1e-4)
    torch.testing.assert_close(layers.rgba, planes.rgba[:, opaque::2], atol=1e-3, rtol=0)


def test_as_many_layers_as_planes_are_the_planes_whatever_the_rays() -> None:
    planes = smooth_planes(4)
    layers = merge_planes(planes, 4)
    torch.testing.assert_close(layers.depth, planes.depths[:, :, None, None].expand(1, 4, 12, 16))
    torch.testing.assert_close(layers.rgba[:, 1:], planes.rgba[:, 1:], atol=1e-4, rtol=0)
    torch.testing.assert_close(layers.rgba[:, 0, :3], planes.rgba[:, 0, :3], atol=1e-4, rtol=0)
    torch.testing.assert_close(layers.rgba[:, 0, 3], torch.ones(1, 12, 16))


def test_constant_alphas_have_a_closed_form_up_to_the_border() -> None:
    colours = torch.rand(6, 3) * 2 - 1
    layers = merge_planes(constant_planes(colours, torch.full((6,), 0.3)), 2)
    weights = torch.tensor([0.3 * 0.49, 0.3 * 0.7, 0.3])
    alpha = 1 - 0.7**3
    near = torch.cat((weights @ colours[3:] / alpha, torch.tensor([alpha])))
    torch.testing.assert_close(layers.rgba[0, 1], near[:, None, None].expand(4, 6, 8), atol=1e-4, rtol=0)
    disparity = 1 / constant_planes(colours, torch.ones(6)).depths[0]
    for layer in range(2):
        far, middle, front = disparity[3 * layer : 3 * layer + 3]
        depth = 1 / (0.49 * far + 0.3 * 0.7 * middle + 0.3 * front)
        torch.testing.assert_close(layers.depth[0, layer], depth.expand(6, 8), atol=0, rtol=1e-4)


@pytest.mark.parametrize("farthest_opaque", [True, False])
@pytest.mark.parametrize(
    ("planes", "layers"), [(8, 1), (8, 2), (8, 4), (8, 8), (8, 3), (9, 8), (5, 4), (7, 2), (10, 6)]
)
def test_the_reference_camera_sees_of_the_layers_what_it_sees_of_the_planes(
    planes: int, layers: int, farthest_opaque: bool
) -> None:
    """Also with copies of the farthest plane before the others, of which (9, 8) has three layers full."""
    image = smooth_planes(planes)
    merged = seen(merge_planes(image, layers, STRAIGHT_RAYS, farthest_opaque), farthest_opaque)
    expected = render_planes(image, image.reference, (12, 16), "masked" if farthest_opaque else "black")
    assert merged.count.max() <= layers
    torch.testing.assert_close(merged.features, expected.features, atol=2e-4, rtol=0)
    torch.testing.assert_close(merged.opacity, expected.opacity, atol=1e-4, rtol=0)


def test_on_the_integer_grid_layers_lie_where_the_planes_are_seen() -> None:
    image = smooth_planes(4, grid="integer")
    layers = merge_planes(image, 2, STRAIGHT_RAYS)
    expected = render_planes(image, image.reference, (12, 16)).features
    found = seen(layers).features
    inner = (..., slice(1, -1), slice(1, -1))  # at the border the integer grid reads half a pixel outside
    torch.testing.assert_close(found[inner], expected[inner], atol=2e-4, rtol=0)
    assert (expected - smooth_view(image)).abs().max() > 0.02, (
        "the grids must differ for this to say anything"
    )
    novel = camera(x=0.02)
    aside = render_scene(layers, casting_cameras(novel, (12, 16), "integer"), (12, 16)).features
    flat = render_planes(image, novel, (12, 16)).features
    assert (aside - flat)[inner].abs().mean() < 0.01


def smooth_view(image: MultiplaneImage) -> Tensor:
    return render_planes(replace(image, grid="centre"), image.reference, (12, 16)).features


def test_from_aside_layers_look_like_the_planes() -> None:
    image = smooth_planes(12)
    novel = camera(x=0.1)
    expected = render_planes(image, novel, (12, 16)).features
    errors = []
    for layers in (2, 4, 12):
        found = render_scene(merge_planes(image, layers), novel, (12, 16))
        assert found.opacity[..., 2:-2].min() > 0.99
        errors.append(float((found.features - expected)[..., 2:-2].abs().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 0.05
    assert errors[-1] < 1e-3


def cast_slowly(image: MultiplaneImage, depth: Tensor, near_planes: slice, row: int, column: int) -> Tensor:
    """RGBA of one texel of a mesh [H, W], by rays built, met with each plane and composed one after another."""
    options, cameras = MergingOptions(), image.reference
    height, width = depth.shape
    draws = torch.randn(options.samples, 2, generator=torch.Generator().manual_seed(options.seed))
    pixel = torch.tensor([[(column + 0.5) / width, (row + 0.5) / height]])
    point = cameras.to_camera(cameras.lift(pixel, depth[row, column].view(1, 1)))[0, 0]
    focal = cameras.intrinsics[0].diagonal()[:2]
    colours, logs, weights = torch.zeros(3), 0.0, 0.0
    share = 0.0
    for draw in draws:
        start = torch.cat((options.jitter * image.depths[0, -1] * draw / focal, torch.zeros(1)))
        weight = float((-draw.square().sum() / 2).exp())
        colour, left = torch.zeros(3), 1.0
        for plane in reversed(range(*near_planes.indices(image.depths.shape[1]))):  # front to back
            hit = start + (point - start) * (image.depths[0, plane] - start[2]) / (point[2] - start[2])
            met, _ = cameras.to_pixels(hit[None, None])
            rgba = sample_image(image.rgba[:, plane], met)[0, :, 0]
            colour, left = colour + left * rgba[3] * rgba[:3], left * float(1 - rgba[3])
        log = torch.log(torch.tensor(left))
        colours = colours + weight * log * colour / (1 - left)
        share, logs, weights = share + weight * log, logs + weight * log, weights + weight
    return torch.cat((colours / share, (1 - (logs / weights).exp())[None]))


@pytest.mark.parametrize(("row", "column"), [(5, 7), (3, 10), (8, 4)])
def test_texels_are_means_over_rays_from_around_the_camera(row: int, column: int) -> None:
    image = smooth_planes(6)
    layers = merge_planes(image, 2)
    expected = cast_slowly(image, layers.depth[0, 1], slice(3, 6), row, column)
    torch.testing.assert_close(layers.rgba[0, 1, :, row, column], expected, atol=1e-4, rtol=0)
    unjittered = merge_planes(image, 2, STRAIGHT_RAYS).rgba[0, 1, :, row, column]
    assert (unjittered - expected).abs().max() > 1e-3


def test_released_rays_are_all_equal_so_that_their_number_and_seed_do_not_matter() -> None:
    image = smooth_planes(6)
    released = merge_planes(image, 2, RELEASED)
    other = merge_planes(image, 2, replace(RELEASED, samples=3, seed=7))
    assert torch.equal(released.rgba, other.rgba)
    ours = merge_planes(image, 2, replace(RELEASED, jitter=0.1))
    assert torch.equal(released.depth, ours.depth)
    assert (released.rgba - ours.rgba).abs().max() > 0.01


def test_released_colours_carry_their_alpha_ours_do_not() -> None:
    planes = constant_planes(torch.tensor([[0.5, 0.5, 0.5], [0.8, -0.4, 0.2]]), torch.tensor([0.5, 0.25]))
    for options, colour in ((RELEASED, [0.2, -0.1, 0.05]), (STRAIGHT_RAYS, [0.8, -0.4, 0.2])):
        near = merge_planes(planes, 2, options).rgba[0, 1, :, 3, 3]
        torch.testing.assert_close(near, torch.tensor([*colour, 0.25]), atol=1e-5, rtol=0)


def test_copies_of_the_farthest_plane_leave_its_layer_as_it_is() -> None:
    image = smooth_planes(5)
    layers = merge_planes(image, 2)  # a copy and two planes, three planes
    first = MultiplaneImage(image.rgba[:, :2], image.depths[:, :2], image.reference, "centre")
    alone = merge_planes(first, 1)
    torch.testing.assert_close(layers.depth[:, :1], alone.depth, atol=0, rtol=1e-5)
    straight = merge_planes(image, 2, STRAIGHT_RAYS).rgba[:, :1]
    torch.testing.assert_close(straight, merge_planes(first, 1, STRAIGHT_RAYS).rgba, atol=1e-4, rtol=0)
    full = merge_planes(smooth_planes(9), 8)  # seven copies: three layers of them
    assert (full.depth[0, :3] > full.depth[0, 3]).all()
    assert full.rgba[0, :3, 3].max() < 1e-5
    torch.testing.assert_close(
        full.rgba[0, :3, :3], smooth_planes(9).rgba[:, 0, :3].expand(3, -1, -1, -1), atol=1e-4, rtol=0
    )


def test_meshes_may_be_coarse_while_their_textures_stay_fine() -> None:
    image = smooth_planes(6)
    layers = merge_planes(image, 2, replace(STRAIGHT_RAYS, size=(4, 5)))
    assert layers.depth.shape == (1, 2, 4, 5)
    assert layers.rgba.shape == (1, 2, 4, 12, 16)
    assert layers.vertices.shape == (1, 2 * 20, 3)
    expected = render_planes(image, image.reference, (12, 16)).features
    torch.testing.assert_close(seen(layers).features, expected, atol=5e-4, rtol=0)
    fine = merge_planes(image, 2, replace(STRAIGHT_RAYS, size=(12, 16)))
    torch.testing.assert_close(fine.depth, merge_planes(image, 2, STRAIGHT_RAYS).depth)
    third = merge_planes(image, 2, replace(STRAIGHT_RAYS, size=(12, 6)))  # vertices on every third texel
    torch.testing.assert_close(third.depth, fine.depth[..., ::3], atol=0, rtol=1e-5)


def test_results_depend_on_the_seed_alone() -> None:
    both = smooth_planes(6, batch=2)
    torch.manual_seed(1)
    first = merge_planes(both, 2)
    torch.manual_seed(2)
    assert torch.equal(first.rgba, merge_planes(both, 2).rgba)
    second = MultiplaneImage(both.rgba[1:], both.depths[1:], both.reference[1:], "centre")
    torch.testing.assert_close(first.rgba[1:], merge_planes(second, 2).rgba, atol=1e-6, rtol=0)
    assert (first.rgba - merge_planes(both, 2, MergingOptions(seed=1)).rgba).abs().max() > 1e-3


def test_merging_computes_in_float32_and_stays_finite_at_the_ends() -> None:
    image = smooth_planes(4)
    for alpha in (0.0, 1.0):
        rgba = image.rgba.clone()
        rgba[:, :, 3] = alpha
        layers = merge_planes(replace(image, rgba=rgba.bfloat16()), 2)
        assert layers.rgba.dtype == layers.depth.dtype == torch.float32
        assert layers.rgba.isfinite().all() and layers.depth.isfinite().all()


@pytest.mark.parametrize(
    ("layers", "options", "sentence"),
    [
        (0, {}, r"^model\.merged_layers is 0; expected at least 1$"),
        (
            5,
            {},
            r"^model\.merged_layers is 5, but there are only 4 planes to merge; expected at most as many layers",
        ),
        (2, {"samples": 0}, r"^model\.merging\.samples is 0; expected at least 1$"),
        (2, {"jitter": -0.1}, r"^model\.merging\.jitter is -0\.1; expected 0 or more, in image sides\.$"),
        (2, {"size": (1, 9)}, r"^model\.merging\.size is \[1, 9\]; expected \[height, width\] of at least 2"),
    ],
)
def test_impossible_merging_is_refused(layers: int, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        merge_planes(smooth_planes(4), layers, MergingOptions(**options))
