import pytest
import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras
from repsynth.geometry.grids import Grid, pixel_grid, sample_image
from repsynth.geometry.planes import Spacing, plane_depths, plane_sweep, view_planes

from .scenes import plain_camera, random_cameras

DEPTHS = torch.tensor([8.0, 4.0, 2.0], dtype=torch.float64)


def homography(source: Cameras, target: Cameras, depth: Tensor) -> Tensor:
    """Return the 3x3 matrix from pixels of one camera to another's, for a plane at a depth of the first."""
    relative = target.extrinsics @ torch.linalg.inv(source.extrinsics)
    normal = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    moved = relative[:3, :3] + relative[:3, 3:] @ normal / depth
    return target.intrinsics @ moved @ torch.linalg.inv(source.intrinsics)


def mapped(matrix: Tensor, pixels: Tensor) -> Tensor:
    seen = torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1) @ matrix.T
    return seen[..., :2] / seen[..., 2:]


def test_depths_run_from_far_to_near() -> None:
    torch.testing.assert_close(plane_depths(4, 1, 4), torch.tensor([4.0, 2.0, 4 / 3, 1.0]))
    torch.testing.assert_close(plane_depths(4, 1, 4, "uniform"), torch.tensor([4.0, 3.0, 2.0, 1.0]))


@pytest.mark.parametrize("spacing", ["random", "quasi-random"])
def test_random_depths_are_sorted_repeatable_and_in_range(spacing: Spacing) -> None:
    drawn = [plane_depths(50, 1, 100, spacing, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert bool((drawn[0].diff() < 0).all())
    assert float(drawn[0].min()) >= 1
    assert float(drawn[0].max()) <= 100
    if spacing == "quasi-random":
        bins = ((1 / drawn[0] - 0.01) / 0.99 * 50).floor()
        torch.testing.assert_close(bins, torch.arange(50.0))


@pytest.mark.parametrize("grid", ["corner", "centre"])
def test_plane_sweep_is_a_homography_per_plane(grid: Grid) -> None:
    cameras = random_cameras(4, dtype=torch.float64)
    source, reference = cameras[:2], cameras[2:]
    images = torch.rand(2, 3, 10, 12, dtype=torch.float64)
    sweep = plane_sweep(images, source, reference, DEPTHS, (6, 8), grid)
    pixels = pixel_grid(6, 8, grid, dtype=torch.float64)
    for item in range(2):
        for plane, depth in enumerate(DEPTHS):
            seen = mapped(homography(reference[item], source[item], depth), pixels)
            expected = sample_image(images[item, None], seen[None])[0]
            torch.testing.assert_close(sweep[item, plane], expected, atol=1e-9, rtol=0)


def test_integer_grid_reads_absolute_pixels() -> None:
    camera = plain_camera(dtype=torch.float64)
    absolute = Cameras(camera.extrinsics, camera.intrinsics * torch.tensor([[12.0], [10.0], [1.0]]))
    images = torch.rand(1, 3, 10, 12, dtype=torch.float64)
    sweep = plane_sweep(images, absolute, absolute, DEPTHS, (10, 12), "integer")
    expected = sample_image(images, pixel_grid(10, 12, "corner", dtype=torch.float64)[None])
    torch.testing.assert_close(sweep[:, 1], expected)


def test_what_is_behind_the_source_is_mirrored_or_masked() -> None:
    reference = plain_camera()
    ahead = Cameras(reference.extrinsics.clone(), reference.intrinsics)
    ahead.extrinsics[0, 2, 3] = -3.0
    images, depths = torch.ones(1, 3, 8, 8), torch.tensor([6.0, 1.5])
    mirrored = plane_sweep(images, ahead, reference, depths, (8, 8), "centre")
    masked = plane_sweep(images, ahead, reference, depths, (8, 8), "centre", mask_behind=True)
    assert float(mirrored[0, 1].abs().max()) > 0.9
    assert float(masked[0, 1].abs().max()) == 0
    assert torch.equal(mirrored[0, 0], masked[0, 0])


def test_seen_planes_are_a_homography_per_plane() -> None:
    cameras = random_cameras(4, dtype=torch.float64)
    reference, novel = cameras[:2], cameras[2:]
    planes = torch.rand(2, 3, 4, 10, 12, dtype=torch.float64)
    seen, parameter = view_planes(planes, reference, novel, DEPTHS, (6, 8))
    pixels = pixel_grid(6, 8, "centre", dtype=torch.float64)
    for item in range(2):
        for plane, depth in enumerate(DEPTHS):
            places = mapped(torch.linalg.inv(homography(reference[item], novel[item], depth)), pixels)
            expected = sample_image(planes[item, plane, None], places[None])[0]
            torch.testing.assert_close(seen[item, plane], expected, atol=1e-5, rtol=0)
            centre = novel[item].centres()
            hits = centre + parameter[item, plane].reshape(-1, 1) * novel[item].rays(pixels.reshape(-1, 2))
            found = reference[item].to_camera(hits)[:, 2]
            torch.testing.assert_close(found, depth.expand(48), atol=1e-5, rtol=0)


def test_the_reference_camera_sees_the_planes_as_they_are() -> None:
    camera = plain_camera(2)
    planes = torch.rand(2, 3, 4, 6, 8)
    seen, _ = view_planes(planes, camera, camera, DEPTHS.float(), (6, 8))
    torch.testing.assert_close(seen, planes, atol=1e-4, rtol=0)


def test_planes_behind_the_novel_camera_can_be_masked() -> None:
    reference = plain_camera()
    ahead = Cameras(reference.extrinsics.clone(), reference.intrinsics)
    ahead.extrinsics[0, 2, 3] = -3.0
    depths = torch.tensor([6.0, 1.5])
    planes = torch.ones(1, 2, 4, 8, 8)
    assert float(view_planes(planes, reference, ahead, depths, (8, 8))[0][0, 1].abs().max()) > 0
    seen, _ = view_planes(planes, reference, ahead, depths, (8, 8), mask_behind=True)
    assert float(seen[0, 1].abs().max()) == 0
    assert float(seen[0, 0].abs().max()) > 0


def test_sampling_on_the_three_grids() -> None:
    image = torch.rand(1, 2, 5, 7)
    same = sample_image(image, pixel_grid(5, 7, "centre")[None])
    torch.testing.assert_close(same, image, atol=1e-5, rtol=0)
    corner = sample_image(image, pixel_grid(5, 7, "corner")[None])
    torch.testing.assert_close(corner[..., 0, 0], image[..., 0, 0] / 4)
    torch.testing.assert_close(corner[..., 2, 3], image[..., 2, 3])
    assert pixel_grid(5, 7, "integer")[3, 6].tolist() == [6.0, 3.0]
