"""Checks of the shared geometry: cameras, planes, layers."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras, crop_intrinsics, homogeneous, interpolate_pose, mean_pose
from repsynth.geometry.composition import compose_fragments, compose_planes
from repsynth.geometry.grids import Grid
from repsynth.geometry.layers import layer_faces, layer_vertices, vertex_features
from repsynth.geometry.planes import plane_depths, plane_sweep, view_planes

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


def check_planes(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    cameras = cameras_of(case)
    reference, source, novel = cameras[:1], cameras[1:2], cameras[2:3]
    depths = plane_depths(config["planes"], config["near"], config["far"])
    close(depths, case["out_depths"], "depths")
    image, size = torch.from_numpy(case["in_image"])[None], case["in_image"].shape[-2:]
    grids: tuple[Grid, ...] = ("corner", "centre")
    for grid in grids:
        sweep = plane_sweep(image, source, reference, depths, size, grid)
        close(sweep[0], case[f"out_sweep_{grid}"], f"sweep_{grid}")
    seen, parameter = view_planes(torch.from_numpy(case["in_mpi"])[None], reference, novel, depths, size)
    close(seen[0], case["out_seen"], "seen")
    close(parameter[0], case["out_ray_parameter"], "ray_parameter")
    masked, black = compose_planes(seen, "masked"), compose_planes(seen, "black")
    close(masked.values[0], case["out_rgb"], "rgb")
    close(masked.opacity[0], case["out_opacity"], "opacity")
    close(masked.weights[0], case["out_weights"], "weights")
    close(black.values[0], case["out_rgb_black"], "rgb_black")
    close(black.opacity[0], case["out_opacity_black"], "opacity_black")


def check_layers(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    cameras = cameras_of(case)
    depth, features = torch.from_numpy(case["in_depth"]), torch.from_numpy(case["in_features"])
    layers, height, width = depth.shape
    vertices = layer_vertices(depth[None], cameras[:1])[0]
    close(vertices, case["out_vertices"], "vertices")
    close(layer_faces(layers, height, width, "cpu"), case["out_faces"], "faces", tolerance=0)
    close(vertex_features(features[None])[0], case["out_vertex_features"], "vertex_features")
    pixels, seen_depth = cameras[2].project(vertices)
    seen = torch.cat([2 * pixels - 1, seen_depth[:, None]], dim=-1)
    close(seen, case["out_seen_by_camera2"], "seen_by_camera2")
    texels = torch.from_numpy(case["in_texels"])
    exists = torch.ones_like(texels[..., 0], dtype=torch.bool)
    composed = compose_fragments(texels[..., :3], texels[..., 3], exists, farthest_opaque=False)
    close(composed.values, case["out_composed"], "composed")
    close(composed.opacity[..., None], case["out_composed_opacity"], "composed_opacity")
    close(composed.weights[..., None], case["out_composed_weights"], "composed_weights")


COMPONENTS: dict[str, Check] = {"cameras": check_cameras, "planes": check_planes, "layers": check_layers}
