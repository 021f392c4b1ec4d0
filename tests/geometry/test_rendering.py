import math

import pytest
import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras
from repsynth.geometry.composition import EPSILON
from repsynth.geometry.layers import layer_faces, layer_of_face, layer_vertices, vertex_features
from repsynth.geometry.rasterizers import Interpolation
from repsynth.geometry.rendering import RELEASED_FAR, Rendering, Visibility, render_layers, render_textured

from .scenes import plain_camera, random_cameras


def render(
    depth: Tensor, images: Tensor, novel: Cameras, size: tuple[int, int], **options: object
) -> Rendering:
    """Render layers [B, L, C + 1, H, W] at depths [B, L, H, W] of plain reference cameras, centre grid."""
    layers, height, width = depth.shape[1:]
    vertices = layer_vertices(depth, plain_camera(len(depth), depth.dtype), "centre")
    return render_layers(
        vertices,
        layer_faces(layers, height, width),
        vertex_features(images),
        layer_of_face(layers, height, width),
        novel,
        size,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("visibility", ["peel", "layer"])
@pytest.mark.parametrize("interpolation", ["affine", "perspective"])
def test_a_layer_at_constant_depth_reproduces_its_image(
    visibility: Visibility, interpolation: Interpolation
) -> None:
    for height, width in [(6, 8), (37, 53), (64, 64), (100, 190)]:
        images = torch.rand(2, 1, 4, height, width)
        depth = torch.full((2, 1, height, width), 3.7)
        novel = plain_camera(2)
        found = render(
            depth, images, novel, (height, width), visibility=visibility, interpolation=interpolation
        )
        torch.testing.assert_close(found.features, images[:, 0, :3], atol=1e-4, rtol=0)
        torch.testing.assert_close(found.depth, depth, atol=1e-4, rtol=0)
        assert bool((found.count == 1).all())


@pytest.mark.parametrize("side", [24, 123, 256])
def test_all_pixels_of_a_posed_reference_camera_are_covered_once(side: int) -> None:
    for seed in range(3):
        exact = random_cameras(1, seed=seed, spread=0.5, dtype=torch.float64)
        camera = Cameras(exact.extrinsics.float(), exact.intrinsics.float())
        depth = torch.full((1, 1, side, side + 5), 1.0 + 3 * seed)
        images = torch.rand(1, 1, 4, side, side + 5)
        found = render_layers(
            layer_vertices(depth, camera, "centre"),
            layer_faces(1, side, side + 5),
            vertex_features(images),
            layer_of_face(1, side, side + 5),
            camera,
            (side, side + 5),
        )
        assert bool((found.count == 1).all())
        torch.testing.assert_close(found.features, images[:, 0, :3], atol=1e-4, rtol=0)


def test_three_layers_in_front_of_each_other_are_composed_over() -> None:
    images = torch.rand(1, 3, 4, 6, 8, dtype=torch.float64)
    depth = torch.tensor([6.0, 4.0, 2.0], dtype=torch.float64)[None, :, None, None].expand(1, 3, 6, 8)
    found = render(depth, images, plain_camera(dtype=torch.float64), (6, 8), farthest_opaque=False)
    far, middle, front = images[0, :, 3:]
    weights = torch.stack([far * (1 - middle) * (1 - front), middle * (1 - front), front])
    expected = (weights * images[0, :, :3]).sum(0)
    torch.testing.assert_close(found.features[0], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.depth[0], (weights * depth[0, :, None]).sum(0), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        found.opacity[0], 1 - (1 - far) * (1 - middle) * (1 - front), atol=1e-4, rtol=0
    )


def test_both_visibilities_agree_on_separate_layers_seen_from_aside() -> None:
    generator = torch.Generator().manual_seed(0)
    slabs = torch.tensor([6.0, 4.0, 2.5])[None, :, None, None]
    depth = slabs + 0.02 * torch.rand(2, 3, 20, 24, generator=generator)
    images, novel = torch.rand(2, 3, 4, 20, 24, generator=generator), random_cameras(2, spread=0.05)
    peeled, layered = (render(depth, images, novel, (30, 34), visibility=kind) for kind in ("peel", "layer"))
    torch.testing.assert_close(peeled.features, layered.features, atol=1e-5, rtol=0)
    torch.testing.assert_close(peeled.depth, layered.depth, atol=1e-4, rtol=0)
    assert torch.equal(peeled.count, layered.count)
    assert int(peeled.count.min()) < 3 and int(peeled.count.max()) == 3


def test_empty_pixels_count_every_slot() -> None:
    images = torch.rand(1, 2, 4, 4, 4, dtype=torch.float64)
    depth = torch.full((1, 2, 4, 4), 2.0, dtype=torch.float64)
    away = plain_camera(dtype=torch.float64)
    away.extrinsics[0, 0, 3] = 50
    for visibility, slots in (("peel", 16), ("layer", 2)):
        found = render(depth, images, away, (4, 4), visibility=visibility)
        assert float(found.opacity[0, 0, 0, 0]) == pytest.approx(1 - (1 + EPSILON) ** slots, rel=1e-6)
        assert float(found.features.abs().max()) == 0
        assert int(found.count.max()) == 0


def test_no_more_than_the_nearest_fragments_are_composed() -> None:
    images = torch.rand(1, 3, 4, 6, 8)
    depth = torch.tensor([6.0, 4.0, 2.0])[None, :, None, None].expand(1, 3, 6, 8)
    found = render(depth, images, plain_camera(), (6, 8), fragments=2)
    front = render(depth[:, 1:], images[:, 1:], plain_camera(), (6, 8), fragments=2)
    torch.testing.assert_close(found.features, front.features)
    assert bool((found.count == 2).all())


def test_faces_that_reach_behind_the_camera_are_dropped_or_drawn_mirrored() -> None:
    images, depth = torch.ones(1, 1, 4, 6, 6), torch.full((1, 1, 6, 6), 2.0)
    depth[..., 3:, :] = 0.5
    ahead = plain_camera()
    ahead.extrinsics[0, 2, 3] = -1.0
    dropped = render(depth, images, ahead, (6, 6))
    released = render(depth, images, ahead, (6, 6), near=None, interpolation="affine", far_clip=RELEASED_FAR)
    assert int(dropped.count.sum()) > 0
    assert int(released.count.sum()) > int(dropped.count.sum())
    assert bool(torch.isfinite(released.features).all())
    far = render(depth * 1e3, images, plain_camera(), (6, 6), far_clip=RELEASED_FAR)
    assert int(far.count.sum()) == 0


@pytest.mark.parametrize("visibility", ["peel", "layer"])
@pytest.mark.parametrize("interpolation", ["affine", "perspective"])
def test_gradients_of_the_whole_rendering(visibility: Visibility, interpolation: Interpolation) -> None:
    generator = torch.Generator().manual_seed(0)
    depth = torch.tensor([5.0, 2.0], dtype=torch.float64)[None, :, None, None] + 0.3 * torch.rand(
        1, 2, 3, 4, generator=generator, dtype=torch.float64
    )
    images = 0.2 + 0.6 * torch.rand(1, 2, 3, 3, 4, generator=generator, dtype=torch.float64)
    novel = random_cameras(1, spread=0.02, dtype=torch.float64)

    def outputs(depth: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        found = render(depth, images, novel, (4, 5), visibility=visibility, interpolation=interpolation)
        return found.features, found.opacity, found.depth

    assert int(render(depth, images, novel, (4, 5)).count.max()) == 2
    assert torch.autograd.gradcheck(
        outputs, (depth.requires_grad_(), images.requires_grad_()), eps=1e-7, atol=1e-4, fast_mode=True
    )


def test_rendering_is_the_same_under_autocast() -> None:
    images, depth = torch.rand(1, 2, 4, 12, 12), torch.rand(1, 2, 12, 12) + 1
    novel = random_cameras(1, spread=0.05)
    expected = render(depth, images, novel, (12, 12))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = render(depth, images, novel, (12, 12))
    assert torch.equal(found.features, expected.features)
    assert torch.equal(found.depth, expected.depth)


def test_texture_of_the_nearest_surface() -> None:
    camera, texture = plain_camera(), torch.rand(1, 3, 8, 10)
    vertices = layer_vertices(torch.tensor([4.0, 2.0])[None, :, None, None].expand(1, 2, 2, 2), camera)
    uv = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]).repeat(2, 1)[None]
    uv[:, :4] = math.nan  # never read: the farther layer is hidden
    places, sampled = render_textured(vertices, layer_faces(2, 2, 2), uv, texture, camera, (8, 10))
    torch.testing.assert_close(sampled, texture, atol=1e-5, rtol=0)
    assert float(places.min()) == pytest.approx(0.05)
    away = plain_camera()
    away.extrinsics[0, 0, 3] = 50
    places, sampled = render_textured(vertices, layer_faces(2, 2, 2), uv, texture, away, (8, 10))
    assert bool((places == -1).all())
    assert float(sampled.abs().max()) == 0
