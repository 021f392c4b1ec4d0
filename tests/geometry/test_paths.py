import math

import torch

from repsynth.geometry.cameras import Cameras
from repsynth.geometry.paths import sway


def posed(angle: float, centre: tuple[float, float, float], focal: float) -> Cameras:
    rotation = torch.tensor(
        [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]]
    )
    extrinsics = torch.eye(4)
    extrinsics[:3, :3] = rotation
    extrinsics[:3, 3] = -rotation @ torch.tensor(centre)
    return Cameras(extrinsics[None], torch.diag(torch.tensor([focal, focal, 1.0]))[None])


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
