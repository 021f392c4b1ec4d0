"""Checks of the shared geometry: cameras, planes, layers."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras, crop_intrinsics, homogeneous, interpolate_pose, mean_pose

from .fixtures import Check

RELATIVE = 1e-5
"""Of the largest value of an array (README of nvs_common: float32)."""


def close(found: Tensor, expected: np.ndarray, name: str, tolerance: float = RELATIVE) -> None:
    """Compare two arrays; the tolerance is relative to the larger of one and the largest value expected."""
    assert tuple(found.shape) == expected.shape, f"{name}: {tuple(found.shape)}, expected {expected.shape}"
    scale = max(float(np.abs(expected).max(initial=0.0)), 1.0)
    difference = np.abs(found.detach().numpy().astype(np.float64) - expected).max(initial=0.0)
    assert difference <= tolerance * scale, f"{name}: off by {difference:.2e} of {scale:.3g}"


def cameras_of(case: dict[str, np.ndarray]) -> Cameras:
    extrinsics = homogeneous(torch.from_numpy(case["in_extrinsics"]))
    return Cameras(extrinsics, torch.from_numpy(case["in_intrinsics"]))


def check_cameras(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    cameras, points = cameras_of(case), torch.from_numpy(case["in_points"])
    first = cameras[0]
    pixels, depth = first.project(points)
    weights = torch.from_numpy(case["in_weights"])
    size, crop = case["in_size"].tolist(), case["in_crop"].tolist()
    found = {
        "camera_points": first.to_camera(points),
        "pixels": pixels,
        "lifted": first.lift(pixels, depth),
        "centres": cameras.centres(),
        "rays": first.rays(pixels),
        "mean": mean_pose(cameras.extrinsics)[:3],
        "weighted_mean": mean_pose(cameras.extrinsics, weights)[:3],
        "between": interpolate_pose(cameras.extrinsics[0], cameras.extrinsics[1], 0.3)[:3],
        "cropped": crop_intrinsics(first.intrinsics, size, crop),
    }
    for name, value in found.items():
        close(value, case[f"out_{name}"], name)


COMPONENTS: dict[str, Check] = {"cameras": check_cameras}
