"""The whole forward pass: options and their mistakes, sizes, what is behind the side camera, bfloat16."""

import pytest
import torch

from repsynth.errors import UserError
from repsynth.geometry.grids import sample_image
from repsynth.geometry.layered_scene import RenderingOptions
from repsynth.modules.stereomag.generator import StereoMagGenerator
from repsynth.modules.stereomag.merging import MergingOptions

from .tiny import camera


def small(**options: object) -> StereoMagGenerator:
    torch.manual_seed(0)
    settings = {"planes": 6, "near": 1.5, "far": 15.0, "width": 4}
    return StereoMagGenerator(**(settings | options)).eval()


def pictures(height: int = 24, width: int = 32, batch: int = 1) -> torch.Tensor:
    drawn = torch.rand(2, batch, 3, height, width, generator=torch.Generator().manual_seed(3))
    return drawn * 2 - 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"planes": 1}, r"^model\.planes is 1; expected at least 2$"),
        ({"width": 0}, r"^model\.width is 0; expected at least 1$"),
        (
            {"near": 0.0},
            r"^model\.near is 0\.0 and model\.far 15\.0; expected 0 < near < far, in scene units\.$",
        ),
        ({"near": 50.0}, r"expected 0 < near < far"),
        (
            {"rendering": RenderingOptions(fragments=0)},
            r"^model\.rendering\.fragments is 0; expected at least 1$",
        ),
        ({"rendering": RenderingOptions(back_end="gl")}, r"the rasteriser back end 'gl' is unknown"),
    ],
)
def test_impossible_options_are_refused_at_once(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        small(**options)


@pytest.mark.parametrize("size", [(20, 32), (32, 36)])
def test_sides_that_are_no_multiples_of_eight_are_refused(size: tuple[int, int]) -> None:
    sentence = rf"image sides that are multiples of 8, but gets {size[0]}x{size[1]}; change data\.image_size"
    with pytest.raises(UserError, match=sentence):
        small().check_size(*size)
    with pytest.raises(UserError, match=sentence):
        small()(*pictures(*size), camera(), camera(0.2))


@pytest.mark.parametrize("texturing", ["RBg", "RSBg"])
@pytest.mark.parametrize("planes", [2, 5])
@pytest.mark.parametrize(("grid", "mask_behind"), [("centre", True), ("integer", False)])
def test_every_scheme_at_any_number_of_planes_and_any_size(
    texturing: str, planes: int, grid: str, mask_behind: bool
) -> None:
    generator = small(planes=planes, texturing=texturing, grid=grid, mask_behind=mask_behind)
    with torch.no_grad():
        built = generator(*pictures(batch=2), camera(batch=2), camera(0.2, batch=2))
        view = generator.render(built, camera(0.3, batch=2), (16, 40))
        layers = generator.merge(built, 2, MergingOptions(samples=2))
        merged = generator.render(layers, camera(0.3, batch=2), (16, 40))
    assert built.rgba.shape == (2, planes, 4, 24, 32)
    assert built.depths[:, [0, -1]].tolist() == [[pytest.approx(15.0), pytest.approx(1.5)]] * 2
    assert (built.depths.diff(dim=1) < 0).all()
    assert view.features.shape == merged.features.shape == (2, 3, 16, 40)
    assert view.opacity.shape == view.depth.shape == merged.depth.shape == (2, 1, 16, 40)
    assert built.rgba[:, :, 3].min() >= 0
    assert built.rgba[:, :, 3].max() <= 1
    assert built.rgba.abs().max() <= 1


def test_the_network_sees_the_side_view_on_every_plane_and_the_reference_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator, volumes = small(), []
    monkeypatch.setattr(
        generator.coloring_network, "forward", lambda views: volumes.append(views) or views[:, :15]
    )
    reference, side = pictures()
    generator(reference, side, camera(), camera(0.3))
    volume = volumes[0].unflatten(1, (7, 3))
    assert torch.equal(volume[:, 6], reference)
    indices = torch.stack(torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing="ij")[::-1], dim=-1)
    pixels = (indices + 0.5) / torch.tensor([32.0, 24.0])
    for plane, depth in enumerate(generator.plane_depths):
        shifted = pixels - torch.stack((0.9 * 0.3 / depth, torch.zeros(())))  # rectified: disparity = f b / z
        torch.testing.assert_close(volume[:, plane], sample_image(side, shifted[None]), atol=1e-4, rtol=0)


def test_a_side_camera_that_sees_nothing_adds_nothing_unless_mirrored() -> None:
    """All planes lie behind the side camera: its picture must not matter."""
    reference, one = pictures()
    other = one.flip(-1)

    def difference(mask_behind: bool) -> float:
        generator = small(mask_behind=mask_behind, texturing="RSBg")
        with torch.no_grad():
            first, second = (
                generator(reference, picture, camera(), camera(z=40.0)) for picture in (one, other)
            )
        return float((first.rgba - second.rgba).abs().max())

    assert difference(mask_behind=True) == 0
    assert difference(mask_behind=False) > 1e-3


@pytest.mark.parametrize("farthest_opaque", [True, False])
def test_the_farthest_is_opaque_in_planes_and_layers_alike(farthest_opaque: bool) -> None:
    generator = small(rendering=RenderingOptions(farthest_opaque=farthest_opaque))
    with torch.no_grad():
        planes = generator(*pictures(), camera(), camera(0.2))
        views = [
            generator.render(scene, camera(), (24, 32))
            for scene in (planes, generator.merge(planes, 3, MergingOptions(jitter=0.0)))
        ]
    torch.testing.assert_close(views[0].features, views[1].features, atol=1e-3, rtol=0)
    torch.testing.assert_close(views[0].opacity, views[1].opacity, atol=1e-3, rtol=0)
    assert (views[0].opacity.min() > 0.999) == farthest_opaque


def test_on_the_integer_grid_planes_and_layers_are_seen_at_the_same_places() -> None:
    generator = small(grid="integer")
    with torch.no_grad():
        planes = generator(*pictures(), camera(), camera(0.2))
        views = [
            generator.render(scene, camera(), (24, 32)).features[..., 1:-1, 1:-1]
            for scene in (planes, generator.merge(planes, 3, MergingOptions(jitter=0.0)))
        ]
    torch.testing.assert_close(*views, atol=1e-3, rtol=0)


def test_bfloat16_stays_close_and_geometry_in_float32() -> None:
    generator = small()
    with torch.no_grad():
        full = generator.render(generator(*pictures(), camera(), camera(0.2)), camera(0.1), (24, 32))
        with torch.autocast("cpu", torch.bfloat16):
            planes = generator(*pictures(), camera(), camera(0.2))
            layers = generator.merge(planes, 2, MergingOptions())
            half = generator.render(planes, camera(0.1), (24, 32))
    assert (
        planes.rgba.dtype == layers.rgba.dtype == layers.vertices.dtype == half.depth.dtype == torch.float32
    )
    assert (half.features - full.features).abs().mean() < 0.02


def test_scenes_of_a_batch_do_not_know_one_another() -> None:
    generator = small()
    with torch.no_grad():
        both = generator(*pictures(batch=2), camera(batch=2), camera(0.2, batch=2))
        second = generator(*pictures(batch=2)[:, 1:], camera(), camera(0.2))
    torch.testing.assert_close(both.rgba[1:], second.rgba, atol=1e-5, rtol=0)
