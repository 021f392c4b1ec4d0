"""Camera paths for videos. Every path yields T times B cameras, one for each of B scenes."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from repsynth.geometry.cameras import Cameras, homogeneous, interpolate_pose, mean_pose, turned


def sway(reference: Cameras, side: Cameras, frames: int, reach: float) -> Iterator[Cameras]:
    """Move to and fro along the baseline, once and back to the start, with the reference camera's rotation.

    Args:
        reference, side: B cameras each.
        frames: number of cameras T.
        reach: largest distance from the middle of the baseline, in baselines.
    """
    apart = side.centres() - reference.centres()
    along = turned(reference.rotation, apart[..., None, :])[..., 0, :]
    for frame in range(frames):
        s = 0.5 + reach * math.sin(2 * math.pi * frame / frames)
        yield moved_by(reference, s * along)


def interpolate(sources: Cameras, frames: int, there_and_back: bool) -> Iterator[Cameras]:
    """Pass through the source cameras in their order, also through their lenses.

    Neighbours take equal shares of the way; between two the pose is `cameras.interpolate_pose`.

    Args:
        sources: cameras [B, V], V >= 2.
        frames: number of cameras T.
        there_and_back: see `progress`.
    """
    segments = sources.extrinsics.shape[1] - 1
    for share in progress(frames, there_and_back):
        first = min(int(share * segments), segments - 1)
        s = share * segments - first
        start, end = sources[:, first], sources[:, first + 1]
        pose = interpolate_pose(start.extrinsics, end.extrinsics, s)
        yield Cameras(pose, torch.lerp(start.intrinsics, end.intrinsics, s))


def spiral(
    sources: Cameras, focus: Tensor, frames: int, radii: Sequence[float], turns: int
) -> Iterator[Cameras]:
    """Go round an ellipse about the mean source camera and look at the point before it, back to the start.

    The lens is the first source's. With a third radius the path also moves forward and back, once over all turns.

    Args:
        sources: cameras [B, V].
        focus: [B] distance of the point looked at, scene units.
        frames: number of cameras T.
        radii: half axes to the right, down and forward of the mean camera, in baselines (see `baseline`).
        turns: how often the path goes round.
    """
    mean = Cameras(mean_pose(sources.extrinsics), sources.intrinsics[:, 0])
    right, down, forward = (radius * baseline(sources) for radius in radii)
    for frame in range(frames):
        whole = 2 * math.pi * frame / frames
        around = whole * turns
        place = [right * math.cos(around), down * math.sin(around), forward * math.sin(whole)]
        yield looking_at(mean, torch.stack(place, dim=-1), focus)


def dolly(
    reference: Cameras, focus: Tensor, frames: int, reach: float, there_and_back: bool
) -> Iterator[Cameras]:
    """Move from the reference camera along its optical axis into the scene.

    Args:
        reference: B cameras.
        focus: [B] depth of the scene, scene units.
        frames: number of cameras T.
        reach: end of the way as a share of the focus depth; below zero away from the scene.
        there_and_back: see `progress`.
    """
    for share in progress(frames, there_and_back):
        ahead = share * reach * focus
        yield moved_by(reference, torch.stack([ahead * 0, ahead * 0, ahead], dim=-1))


def progress(frames: int, there_and_back: bool) -> list[float]:
    """Shares of a way in [0, 1]: evenly from 0 to 1, or slowing down at both ends, to 1 and back.

    There and back, frame T would be frame 0 again, so that a repeated video does not stop; frame T / 2 is at 1.
    """
    if there_and_back:
        return [0.5 - 0.5 * math.cos(2 * math.pi * frame / frames) for frame in range(frames)]
    return [frame / max(frames - 1, 1) for frame in range(frames)]


def farthest_source(sources: Cameras) -> Cameras:
    """Of the cameras [B, V] the B that are farthest from the first; for a stereo pair the side cameras."""
    chosen = _from_first(sources).argmax(dim=1)
    return sources[torch.arange(len(chosen), device=chosen.device), chosen]


def baseline(sources: Cameras) -> Tensor:
    """Largest distance between the first of the cameras [B, V] and another, [B], scene units."""
    return _from_first(sources).amax(dim=1)


def _from_first(sources: Cameras) -> Tensor:
    centres = sources.centres()
    return (centres - centres[:, :1]).norm(dim=-1)


def moved_by(cameras: Cameras, offset: Tensor) -> Cameras:
    """B cameras moved by [B, 3] in their own axes (right, down, forward), scene units."""
    extrinsics = cameras.extrinsics.clone()
    extrinsics[..., :3, 3] -= offset
    return Cameras(extrinsics, cameras.intrinsics)


def looking_at(cameras: Cameras, offset: Tensor, focus: Tensor) -> Cameras:
    """B cameras moved by [B, 3] in their own axes, turned to the point [B] before where they were.

    The picture stays level: its rows remain perpendicular to the old camera's down axis.
    """
    ahead = torch.stack([focus * 0, focus * 0, focus], dim=-1) - offset
    forward = F.normalize(ahead, dim=-1)
    down = forward.new_tensor([0.0, 1.0, 0.0]).expand_as(forward)
    right = F.normalize(torch.linalg.cross(down, forward), dim=-1)
    turn = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=-2)
    step = homogeneous(torch.cat([turn, -turned(turn, offset[..., None, :]).mT], dim=-1))
    exact = step.double() @ cameras.extrinsics.double()
    return Cameras(exact.to(cameras.extrinsics.dtype), cameras.intrinsics)
