"""The whole forward pass: options and their mistakes, sizes, what is behind the side camera, bfloat16."""

import pytest
import torch

from repsynth.errors import UserError
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layered_scene import RELEASED, RenderingOptions
from repsynth.modules.stereolayers.generator import StereoLayersGenerator

INTRINSICS = torch.tensor([[[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]])


def small(**options: object) -> StereoLayersGenerator:
    torch.manual_seed(0)
    settings = {"layers": 3, "planes": 6, "geometry_width": 4, "geometry_levels": 0, "coloring_width": 4}
    return StereoLayersGenerator(**(settings | options)).eval()


def camera(x: float = 0.0, z: float = 0.0) -> Cameras:
    extrinsics = torch.eye(4)[None].clone()
    extrinsics[0, 0, 3], extrinsics[0, 2, 3] = -x, -z
    return Cameras(extrinsics, INTRINSICS)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layers": 0}, r"model\.layers is 0; expected at least 1"),
        ({"planes": 1}, r"model\.planes is 1; expected at least 2"),
        ({"geometry_levels": -1}, r"model\.geometry_levels is -1; expected at least 0"),
        ({"near": 0.0}, r"model\.near is 0\.0 and model\.far 100\.0; expected 0 < near < far"),
        ({"near": 5.0, "far": 2.0}, r"expected 0 < near < far"),
        (
            {"depth": "SA", "initial_depth": "spread"},
            r"starts BI layers only; model\.depth is SA: use middle",
        ),
        ({"depth": "GC", "layers": 4}, r"planes=6 is not a multiple of model\.layers=4"),
        ({"rendering": RenderingOptions(fragments=0)}, r"model\.rendering\.fragments is 0"),
        (
            {"rendering": RenderingOptions(back_end="gl")},
            r"the rasteriser back end 'gl' is unknown; expected one of torch",
        ),
    ],
)
def test_impossible_options_are_refused_at_once(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        small(**options)


@pytest.mark.parametrize("depth", ["BI", "SA", "GC"])
@pytest.mark.parametrize("texturing", ["RSBg", "RBg", "RAW"])
@pytest.mark.parametrize(("layers", "planes"), [(1, 2), (2, 6)])
def test_every_scheme_at_any_number_of_layers_and_planes(
    depth: str, texturing: str, layers: int, planes: int
) -> None:
    generator = small(
        layers=layers, planes=planes, depth=depth, texturing=texturing, mask_behind=False, rendering=RELEASED
    )
    with torch.no_grad():
        built = generator(*torch.rand(2, 2, 3, 32, 64), camera(), camera(0.2))
        view = generator.render(built, camera(0.3), (24, 40))
    assert built.depth.shape == (2, layers, 32, 64)
    assert built.rgba.shape == (2, layers, 4, 32, 64)
    assert view.features.shape == (2, 3, 24, 40)
    assert built.depth.min() >= 1 - 1e-3 and built.depth.max() <= 100 + 1e-2
    assert (built.depth.mean((2, 3)).diff(dim=1) <= 0).all(), "back to front"


def test_spread_layers_start_in_the_middles_of_equal_intervals_of_inverse_depth() -> None:
    generator = small(initial_depth="spread", near=2.0, far=10.0)
    with torch.no_grad():
        depth = generator(*torch.rand(2, 1, 3, 32, 32), camera(), camera(0.2)).depth
    places = torch.tensor([1.0, 3.0, 5.0]) / 6
    expected = 1 / (0.1 + places * (0.5 - 0.1))
    torch.testing.assert_close(depth, expected.view(1, 3, 1, 1).expand_as(depth))


def test_a_side_camera_that_sees_nothing_adds_nothing_unless_mirrored() -> None:
    """All of the scene lies behind the side camera: its picture must not matter."""
    side = camera(z=200.0)
    reference, one, other = torch.rand(3, 1, 3, 32, 32)

    def difference(mask_behind: bool) -> float:
        generator = small(mask_behind=mask_behind)
        with torch.no_grad():
            first, second = (generator(reference, picture, camera(), side) for picture in (one, other))
        return max(
            float((first.depth - second.depth).abs().max()), float((first.rgba - second.rgba).abs().max())
        )

    assert difference(mask_behind=True) == 0
    assert difference(mask_behind=False) > 1e-3


def test_bfloat16_networks_still_give_smooth_depth() -> None:
    """Rounded logits would put a smooth layer on some dozens of depths: stairs in every rendered view."""
    generator = small(layers=1)
    assert generator.geometry_network.dconv1.conv.bias is not None
    torch.nn.init.constant_(generator.geometry_network.dconv1.conv.bias, -5.0)
    images = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        full = generator(*images, camera(), camera(0.2)).depth
        with torch.autocast("cpu", torch.bfloat16):
            half = generator(*images, camera(), camera(0.2)).depth
    assert half.unique().numel() > 0.9 * full.unique().numel()
    assert ((half - full).abs() / full).mean() < 1e-3


def test_the_size_rule_tells_what_the_network_would_see() -> None:
    with pytest.raises(
        UserError, match=r"would see 320x192 images at 256x192, .* but it needs multiples of 256; change data"
    ):
        small(geometry_levels=3).check_size(320, 192)
    small(geometry_levels=1).check_size(320, 192)


def test_the_smallest_network_is_not_told_to_become_smaller() -> None:
    with pytest.raises(UserError, match=r"gets 20x32; change data\.image_size\.$"):
        small(geometry_levels=0).check_size(20, 32)
