import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from repsynth.errors import UserError
from repsynth.geometry.cameras import (
    Cameras,
    check_cameras,
    crop_intrinsics,
    homogeneous,
    interpolate_pose,
    mean_pose,
)

from .scenes import plain_camera, random_cameras, rotation


def test_projection_follows_the_pinhole_formula() -> None:
    cameras = random_cameras(3, dtype=torch.float64)
    points = torch.randn(3, 7, 3, dtype=torch.float64) + torch.tensor([0.0, 0.0, 5.0])
    pixels, depth = cameras.project(points)
    for camera in range(3):
        for index in range(7):
            extrinsics, intrinsics = cameras.extrinsics[camera].numpy(), cameras.intrinsics[camera].numpy()
            seen = intrinsics @ (extrinsics[:3, :3] @ points[camera, index].numpy() + extrinsics[:3, 3])
            np.testing.assert_allclose(pixels[camera, index], seen[:2] / seen[2], atol=1e-12)
            assert float(depth[camera, index]) == pytest.approx(seen[2])


def test_lifting_inverts_projection_for_any_leading_shape() -> None:
    flat = random_cameras(6)
    cameras = Cameras(flat.extrinsics.view(2, 3, 4, 4), flat.intrinsics.view(2, 3, 3, 3))
    points = torch.randn(2, 1, 9, 3) + torch.tensor([0.0, 0.0, 6.0])
    pixels, depth = cameras.project(points)
    assert pixels.shape == (2, 3, 9, 2)
    torch.testing.assert_close(cameras.lift(pixels, depth), points.expand(2, 3, 9, 3), atol=1e-4, rtol=1e-4)


def test_rays_are_unit_and_pass_through_what_they_see() -> None:
    cameras = random_cameras(2)
    pixels = torch.rand(5, 2)
    rays = cameras.rays(pixels)
    torch.testing.assert_close(rays.norm(dim=-1), torch.ones(2, 5))
    seen, _ = cameras.project(cameras.centres()[:, None] + 3 * rays)
    torch.testing.assert_close(seen, pixels.expand(2, 5, 2), atol=1e-4, rtol=1e-4)


def test_divisor_keeps_its_sign_and_never_vanishes() -> None:
    pixels, _ = plain_camera()[0].project(
        torch.tensor([[1.0, 2.0, -2.0], [1.0, 0.0, 0.0], [1.0, 0.0, -1e-9]])
    )
    torch.testing.assert_close(pixels[0], torch.tensor([0.0, -0.5]))
    assert float(pixels[1, 0]) == pytest.approx(1e6, rel=1e-4)
    assert float(pixels[2, 0]) == pytest.approx(-1e6, rel=1e-4)


@pytest.mark.parametrize("weights", [None, [0.2, 1.0, 0.5, 0.3]])
def test_mean_pose_agrees_with_scipy(weights: list[float] | None) -> None:
    cameras = random_cameras(4, spread=0.7, dtype=torch.float64)
    given = None if weights is None else torch.tensor(weights)
    mean = mean_pose(cameras.extrinsics, given)
    expected = Rotation.from_matrix(cameras.rotation.numpy()).mean(weights).as_matrix()
    np.testing.assert_allclose(mean[:3, :3], expected, atol=1e-9)
    centre = np.average(cameras.centres().numpy(), axis=0, weights=weights)
    np.testing.assert_allclose(Cameras(mean, cameras.intrinsics[0]).centres(), centre, atol=1e-9)


def test_interpolation_reaches_both_ends_and_halves_an_angle() -> None:
    first, second = torch.eye(4), torch.eye(4)
    second[:3, :3] = rotation(torch.tensor([0.0, math.pi * 0.8, 0.0]))
    torch.testing.assert_close(interpolate_pose(first, second, 0.0), first, atol=1e-6, rtol=0)
    torch.testing.assert_close(interpolate_pose(first, second, 1.0), second, atol=1e-6, rtol=0)
    half = rotation(torch.tensor([0.0, math.pi * 0.4, 0.0]))
    torch.testing.assert_close(interpolate_pose(first, second, 0.5)[:3, :3], half, atol=1e-6, rtol=0)


def test_cropped_intrinsics_see_the_crop() -> None:
    camera = random_cameras(1)[0]
    height, width, crop_height, crop_width = 17, 24, 12, 11
    cropped = Cameras(camera.extrinsics, crop_intrinsics(camera.intrinsics, (17, 24), (12, 11)))
    points = torch.randn(6, 3) + torch.tensor([0.0, 0.0, 5.0])
    whole, part = camera.project(points)[0], cropped.project(points)[0]
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    expected = (whole * torch.tensor([width, height]) - torch.tensor([left, top])) / torch.tensor(
        [crop_width, crop_height]
    )
    torch.testing.assert_close(part, expected)


def test_geometry_stays_float32_under_autocast() -> None:
    camera = random_cameras(1)[0]
    points = torch.randn(50, 3) + torch.tensor([0.0, 0.0, 5.0])
    expected = camera.project(points)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = camera.project(points)[0]
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def broken(change: str) -> tuple[torch.Tensor, torch.Tensor]:
    cameras = random_cameras(3)
    extrinsics, intrinsics = cameras.extrinsics.clone(), cameras.intrinsics.clone()
    if change == "nan":
        extrinsics[1, 0, 3] = math.nan
    elif change == "scale":
        extrinsics[1, :3, :3] *= 1.01
    elif change == "mirror":
        extrinsics[1, 0] *= -1
    elif change == "focal":
        intrinsics[1, 1, 1] = 0
    else:
        intrinsics[1, 0, 1] = 0.01
    return extrinsics, intrinsics


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("nan", "NaN or infinite"),
        ("scale", "R R.T is off the identity by up to 0.02"),
        ("mirror", "mirrored"),
        ("focal", "focal length that is not positive"),
        ("skew", "skewed"),
    ],
)
def test_impossible_cameras_are_refused(change: str, words: str) -> None:
    with pytest.raises(UserError, match=f"poses.txt: camera 1 .*{words}.*expected"):
        check_cameras(*broken(change), where="poses.txt")


def test_possible_cameras_pass() -> None:
    cameras = random_cameras(3)
    check_cameras(cameras.extrinsics, cameras.intrinsics, "poses.txt")
    check_cameras(cameras.extrinsics[:, :3], cameras.intrinsics, "poses.txt")
    assert torch.equal(homogeneous(cameras.extrinsics[:, :3]), cameras.extrinsics)
