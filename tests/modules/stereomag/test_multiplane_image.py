"""What novel cameras see of planes, against homographies and closed forms."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras
from repsynth.geometry.grids import sample_image
from repsynth.geometry.planes import view_planes
from repsynth.modules.stereomag.multiplane_image import MultiplaneImage, PlaneGrid, render_planes

from .tiny import camera, constant_planes, smooth_planes

NOVEL = camera(x=0.4, z=-0.2, yaw=0.1)


def homography_pixels(reference: Cameras, novel: Cameras, depth: float, pixels: Tensor) -> Tensor:
    """Where novel pixels [..., 2] are seen in the reference view if all lies at one depth there (one camera each)."""
    relative = (novel.extrinsics[0] @ torch.linalg.inv(reference.extrinsics[0])).double()
    plane = relative[:3, :3] + relative[:3, 3:] @ torch.tensor([[0, 0, 1 / depth]], dtype=torch.float64)
    matrix = (
        reference.intrinsics[0].double()
        @ torch.linalg.inv(plane)
        @ torch.linalg.inv(novel.intrinsics[0].double())
    )
    seen = torch.cat((pixels.double(), torch.ones_like(pixels[..., :1]).double()), dim=-1) @ matrix.T
    return (seen[..., :2] / seen[..., 2:]).float()


def absolute(cameras: Cameras, height: int, width: int) -> Cameras:
    return Cameras(cameras.extrinsics, cameras.intrinsics * torch.tensor([[width], [height], [1]]))


def pixel_indices(height: int, width: int) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    return torch.stack((columns, rows), dim=-1)


@pytest.mark.parametrize("grid", ["centre", "integer"])
@pytest.mark.parametrize("size", [(12, 16), (9, 20)])
def test_one_opaque_plane_is_a_homography_of_its_picture(grid: PlaneGrid, size: tuple[int, int]) -> None:
    planes = smooth_planes(1, grid=grid)
    planes.rgba[:, :, 3] = 1.0
    view = render_planes(planes, NOVEL, size)
    indices = pixel_indices(*size)
    if grid == "centre":
        pixels = (indices + 0.5) / torch.tensor([size[1], size[0]])
        met = homography_pixels(planes.reference, NOVEL, 4.0, pixels)
    else:
        cameras = absolute(planes.reference, 12, 16), absolute(NOVEL, *size)
        met = homography_pixels(*cameras, 4.0, indices) / torch.tensor([15.0, 11.0])
    expected = sample_image(planes.rgba[0], met[None])
    torch.testing.assert_close(view.features, expected[:, :3], atol=1e-4, rtol=0)
    inside = expected[:, 3:] > 0
    torch.testing.assert_close(view.opacity, inside.float(), atol=1e-5, rtol=0)
    assert inside.any() and not inside.all()
    assert torch.equal(view.count, inside[:, 0].long())


def test_the_reference_camera_sees_the_pictures_where_they_are() -> None:
    planes = smooth_planes(1)
    planes.rgba[:, :, 3] = 1.0
    view = render_planes(planes, planes.reference, (12, 16))
    torch.testing.assert_close(view.features, planes.rgba[:, 0, :3], atol=1e-4, rtol=0)


@pytest.mark.parametrize("background", ["masked", "opaque", "black"])
def test_constant_alphas_have_a_closed_form(background: str) -> None:
    colours = torch.rand(5, 3) * 2 - 1
    planes = constant_planes(colours, torch.full((5,), 0.3))
    view = render_planes(planes, planes.reference, (6, 8), background)
    weights = torch.tensor([0.3 * 0.7 ** (4 - index) for index in range(5)])
    weights[0] = 0.7**4 * (0.3 if background == "black" else 1.0)
    opacity = 1 - 0.7**5 if background == "black" else 1.0
    torch.testing.assert_close(view.features[0, :, 2, 3], weights @ colours, atol=1e-4, rtol=0)
    torch.testing.assert_close(view.opacity, torch.full((1, 1, 6, 8), opacity), atol=1e-4, rtol=0)
    torch.testing.assert_close(view.depth[0, 0, 2, 3], weights @ planes.depths[0], atol=1e-3, rtol=0)
    assert (view.count == 5).all()


def test_depth_is_that_of_the_novel_camera_not_the_length_of_the_ray() -> None:
    planes = smooth_planes(1)
    planes.rgba[:, :, 3] = 1.0
    view = render_planes(planes, camera(x=0.1, z=1.0), (12, 16))
    assert (view.count == 1).all()
    torch.testing.assert_close(view.depth, torch.full((1, 1, 12, 16), 3.0), atol=1e-4, rtol=0)


def test_from_behind_planes_are_composed_in_the_other_order() -> None:
    planes = smooth_planes(4)
    behind = camera(z=30.0, yaw=math.pi)
    view = render_planes(planes, behind, (12, 16))
    seen, distance = view_planes(planes.rgba, planes.reference, behind, planes.depths, (12, 16))
    assert (distance.diff(dim=1) > 0).all(), "the plane stored first is the nearest"
    turned = MultiplaneImage(planes.rgba.flip(1), planes.depths.flip(1), planes.reference, "centre")
    expected = render_planes(turned, behind, (12, 16))
    torch.testing.assert_close(view.features, expected.features)
    front = seen[:, 0]
    front_only = front[:, :3] * front[:, 3:]
    rest = replace(planes, rgba=planes.rgba[:, 1:], depths=planes.depths[:, 1:])
    through = (1 - front[:, 3:]) * render_planes(rest, behind, (12, 16)).features
    both = render_planes(rest, behind, (12, 16)).opacity > 0
    torch.testing.assert_close((view.features * both), ((front_only + through) * both), atol=1e-4, rtol=0)


def test_planes_behind_the_camera_are_not_seen_unless_mirrored() -> None:
    planes = constant_planes(torch.rand(2, 3), torch.ones(2))  # at 12 and 1.5
    between, beyond = camera(z=5.0), camera(z=50.0)
    view = render_planes(planes, between, (6, 8))
    torch.testing.assert_close(view.features[0, :, 3, 4], planes.rgba[0, 0, :3, 3, 4], atol=1e-5, rtol=0)
    assert view.count.max() == 1
    assert render_planes(planes, beyond, (6, 8)).opacity.max() <= 0
    mirrored = render_planes(planes, between, (6, 8), mask_behind=False)
    torch.testing.assert_close(mirrored.features[0, :, 3, 4], planes.rgba[0, 1, :3, 3, 4], atol=1e-5, rtol=0)
    assert mirrored.count[0, 3, 4] == 2
