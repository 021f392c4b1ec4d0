import math

import pytest
import torch
from torch import Tensor

from repsynth.geometry import paths
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.paths import dolly, farthest_source, interpolate, progress, spiral, sway

from .scenes import random_cameras


def posed(angle: float, centre: tuple[float, float, float], focal: float) -> Cameras:
    rotation = torch.tensor(
        [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]]
    )
    extrinsics = torch.eye(4)
    extrinsics[:3, :3] = rotation
    extrinsics[:3, 3] = -rotation @ torch.tensor(centre)
    return Cameras(extrinsics[None], torch.diag(torch.tensor([focal, focal, 1.0]))[None])


def sources(batch: int = 2, views: int = 3) -> Cameras:
    """Source cameras [B, V] whose lenses differ."""
    cameras = random_cameras(batch * views)
    zoom = 1 + 0.1 * torch.arange(batch * views)[:, None, None] * torch.tensor([1.0, 1.0, 0.0]).diag()
    stacked = Cameras(cameras.extrinsics, cameras.intrinsics * zoom)
    return Cameras(
        stacked.extrinsics.unflatten(0, (batch, views)), stacked.intrinsics.unflatten(0, (batch, views))
    )


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_sway_follows_its_sine_with_the_reference_rotation_and_lens() -> None:
    reference, side = posed(0.4, (1.0, 2.0, 3.0), 0.8), posed(-0.2, (3.0, 2.0, 2.0), 1.3)
    path = list(sway(reference, side, frames=8, reach=1.5))
    assert len(path) == 8
    baseline = torch.tensor([2.0, 0.0, -1.0])
    for t, camera in enumerate(path):
        place = torch.tensor([1.0, 2.0, 3.0]) + (0.5 + 1.5 * math.sin(2 * math.pi * t / 8)) * baseline
        torch.testing.assert_close(camera.centres()[0], place, atol=1e-5, rtol=0)
        torch.testing.assert_close(camera.rotation, reference.rotation)
        torch.testing.assert_close(camera.intrinsics, reference.intrinsics)
    torch.testing.assert_close(
        path[2].centres() - path[6].centres(), 3 * baseline[None], atol=1e-5, rtol=0
    )  # twice the reach
    torch.testing.assert_close(reference.extrinsics, posed(0.4, (1.0, 2.0, 3.0), 0.8).extrinsics)


@pytest.mark.parametrize(("there_and_back", "stops"), [(False, [0, 2, 4]), (True, [0, None, 5])])
def test_interpolation_passes_through_the_sources(there_and_back: bool, stops: list[int | None]) -> None:
    given = sources()
    frames = 10 if there_and_back else 5
    path = list(interpolate(given, frames, there_and_back))
    assert len(path) == frames
    for view, frame in enumerate(stops):
        if frame is not None:
            close(path[frame].extrinsics, given.extrinsics[:, view])
            close(path[frame].intrinsics, given.intrinsics[:, view])


def test_interpolation_is_halfway_between_neighbours() -> None:
    given = sources()
    centre = list(interpolate(given, 5, there_and_back=False))[1].centres()
    close(centre, given.centres()[:, :2].mean(dim=1))


@pytest.mark.parametrize("name", ["interpolate", "dolly"])
def test_there_and_back_closes_without_repeating_its_start(name: str) -> None:
    given, focus = sources(), torch.tensor([3.0, 5.0])
    path = list(
        interpolate(given, 8, True) if name == "interpolate" else dolly(given[:, 0], focus, 8, 0.4, True)
    )
    for t in range(1, 4):
        close(path[t].extrinsics, path[8 - t].extrinsics)
    assert (path[0].extrinsics - path[7].extrinsics).abs().max() > 1e-3


def test_progress_is_even_one_way_and_slows_down_at_both_ends_of_there_and_back() -> None:
    assert progress(5, there_and_back=False) == [0, 0.25, 0.5, 0.75, 1]
    assert progress(1, there_and_back=False) == [0]
    both = progress(60, there_and_back=True)
    assert both[0] == 0
    assert both[30] == 1
    steps = torch.tensor(both).diff()[:30]
    assert steps[0] < 0.1 * steps.max()
    assert steps[-1] < 0.1 * steps.max()


def test_a_circular_spiral_keeps_its_distance_and_looks_at_the_focus() -> None:
    given, focus = sources(), torch.tensor([3.0, 5.0])
    mean = paths.mean_pose(given.extrinsics)
    target = Cameras(mean, given.intrinsics[:, 0]).lift(
        given.intrinsics[:, 0, :2, 2][:, None], focus[:, None]
    )
    radius = 0.6 * paths.baseline(given)
    path = list(spiral(given, focus, 12, (0.6, 0.6, 0.0), turns=1))
    assert len(path) == 12
    for camera in path:
        pixels, _ = camera.project(target)
        close(pixels[:, 0], camera.intrinsics[:, :2, 2])
        distance = (camera.centres() - target[:, 0]).norm(dim=-1)
        close(distance, (focus**2 + radius**2).sqrt())
        close(camera.rotation @ camera.rotation.mT, torch.eye(3).expand(2, 3, 3))
        assert (torch.linalg.det(camera.rotation) > 0.99).all()
        torch.testing.assert_close(camera.intrinsics, given.intrinsics[:, 0])


def test_the_axes_of_a_spiral_are_those_of_the_mean_camera_in_baselines() -> None:
    given, focus = sources(), torch.tensor([30.0, 50.0])
    mean = Cameras(paths.mean_pose(given.extrinsics), given.intrinsics[:, 0])
    path = list(spiral(given, focus, 8, (2.0, 0.5, 0.25), turns=2))
    places = torch.stack([mean.to_camera(camera.centres()[:, None])[:, 0] for camera in path], dim=1)
    t = torch.arange(8) / 8 * 2 * math.pi
    expected = torch.stack([2 * torch.cos(2 * t), 0.5 * torch.sin(2 * t), 0.25 * torch.sin(t)], dim=-1)
    close(places, expected * paths.baseline(given)[:, None, None])


def test_rows_of_a_spiral_stay_level() -> None:
    """The right axis has no part along the mean camera's down axis: the horizon does not roll."""
    given, focus = sources(), torch.tensor([3.0, 5.0])
    mean = paths.mean_pose(given.extrinsics)
    down = mean[:, 1, :3]
    for camera in spiral(given, focus, 7, (1.0, 0.5, 0.2), turns=1):
        close((camera.rotation[:, 0] * down).sum(dim=-1), torch.zeros(2))
        assert (
            (camera.rotation * mean[:, :3, :3]).sum(dim=-1) > 0.5
        ).all()  # neither mirrored nor upside down


def test_a_dolly_moves_along_the_optical_axis_by_a_share_of_the_focus_depth() -> None:
    reference, focus = random_cameras(2), torch.tensor([3.0, 5.0])
    path = list(dolly(reference, focus, 5, 0.5, there_and_back=False))
    close(path[0].extrinsics, reference.extrinsics)
    for share, camera in zip((0, 0.25, 0.5, 0.75, 1), path, strict=True):
        expected = torch.zeros(2, 3)
        expected[:, 2] = 0.5 * share * focus
        close(reference.to_camera(camera.centres()[:, None])[:, 0], expected)
        close(camera.rotation, reference.rotation)


def test_the_baseline_of_many_views_is_to_the_farthest() -> None:
    near, far = posed(0.0, (1.0, 0.0, 0.0), 1.0), posed(0.3, (0.0, 3.0, 4.0), 0.7)
    first = posed(0.1, (0.0, 0.0, 0.0), 1.0)
    given = Cameras(
        torch.stack([first.extrinsics, near.extrinsics, far.extrinsics, near.extrinsics], dim=1),
        torch.stack([first.intrinsics, near.intrinsics, far.intrinsics, near.intrinsics], dim=1),
    )
    close(paths.baseline(given), torch.tensor([5.0]))
    close(farthest_source(given).extrinsics, far.extrinsics)
    close(farthest_source(given).intrinsics, far.intrinsics)
