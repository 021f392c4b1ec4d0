"""Camera paths for videos."""

import math
from collections.abc import Iterator

import torch

from repsynth.geometry.cameras import Cameras


def sway(reference: Cameras, side: Cameras, frames: int, reach: float) -> Iterator[Cameras]:
    """Move to and fro along the baseline, once and back to the start, with the reference camera's rotation.

    Args:
        reference, side: B cameras each.
        frames: number of cameras T.
        reach: largest distance from the middle of the baseline, in baselines.

    Yields:
        T times B cameras.
    """
    baseline = side.centres() - reference.centres()
    for frame in range(frames):
        s = 0.5 + reach * math.sin(2 * math.pi * frame / frames)
        centre = reference.centres() + s * baseline
        extrinsics = reference.extrinsics.clone()
        rotation = extrinsics[..., :3, :3]
        extrinsics[..., :3, 3] = -torch.einsum("...ij,...j->...i", rotation, centre)
        yield Cameras(extrinsics, reference.intrinsics)
