"""Cameras and meshes for the tests of geometry."""

import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras, homogeneous

INTRINSICS = torch.tensor([[0.9, 0.0, 0.48], [0.0, 1.1, 0.53], [0.0, 0.0, 1.0]])


def rotation(angles: Tensor) -> Tensor:
    """Return rotation matrices [..., 3, 3] of axis-angle vectors [..., 3]."""
    x, y, z = angles.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, -1) for row in ([zero, -z, y], [z, zero, -x], [-y, x, zero])]
    return torch.linalg.matrix_exp(torch.stack(rows, -2))


def random_cameras(
    count: int, seed: int = 0, spread: float = 0.2, dtype: torch.dtype = torch.float32
) -> Cameras:
    """Return cameras that look roughly along z from about the origin."""
    rng = torch.Generator().manual_seed(seed)
    turns = rotation(spread * torch.randn(count, 3, generator=rng, dtype=dtype))
    moves = spread * torch.randn(count, 3, 1, generator=rng, dtype=dtype)
    return Cameras(homogeneous(torch.cat([turns, moves], -1)), INTRINSICS.to(dtype).repeat(count, 1, 1))


def plain_camera(batch: int = 1, dtype: torch.dtype = torch.float32) -> Cameras:
    """Return cameras at the origin that see [-z/2, z/2] at depth z."""
    intrinsics = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]], dtype=dtype)
    return Cameras(torch.eye(4, dtype=dtype).repeat(batch, 1, 1), intrinsics.repeat(batch, 1, 1))
