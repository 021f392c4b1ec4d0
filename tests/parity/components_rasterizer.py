"""Check of the rasteriser against the images of a float64 brute-force reference."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras, homogeneous
from repsynth.geometry.rasterizers import Interpolation
from repsynth.geometry.rendering import RELEASED_FAR, Rendering, Visibility, render_layers, render_textured

from .fixtures import Check

STABLE = 1e-4
"""On stable pixels: absolute for RGB, opacity and uv, relative for depth."""
SILHOUETTE, SILHOUETTE_SHARE = 0.02, 0.02
"""On the others at most this share of all pixels may differ by more than this."""

INTERPOLATIONS: tuple[Interpolation, ...] = ("affine", "perspective")
VISIBILITIES: tuple[Visibility, ...] = ("peel", "layer")


def compare(
    found: Tensor, expected: np.ndarray, stable: np.ndarray, name: str, relative: bool = False
) -> None:
    """Compare images [..., H, W]: tightly where stable, loosely elsewhere."""
    assert tuple(found.shape) == expected.shape, f"{name}: {tuple(found.shape)}, expected {expected.shape}"
    error = np.abs(found.numpy().astype(np.float64) - expected)
    scaled = error / np.maximum(np.abs(expected), 1.0) if relative else error
    worst = np.where(stable, scaled, 0.0).max()
    assert worst <= STABLE, f"{name}: off by {worst:.2e} on stable pixels"
    share = (error > SILHOUETTE).reshape(-1, *stable.shape).any(axis=0).mean()
    assert share <= SILHOUETTE_SHARE, f"{name}: {share:.1%} of the pixels differ by more than {SILHOUETTE}"


def compare_rendering(found: Rendering, case: dict[str, np.ndarray], camera: str, kind: str) -> None:
    stable = case[f"{camera}_stable"]
    rgba = torch.cat([found.features, found.opacity], dim=1)[0]
    compare(rgba, case[f"{camera}_{kind}_rgba"], stable, f"{camera}_{kind}_rgba")
    if f"{camera}_{kind}_depth" in case:
        compare(
            found.depth[0, 0], case[f"{camera}_{kind}_depth"], stable, f"{camera}_{kind}_depth", relative=True
        )
    counts = f"{camera}_{kind.split('_')[0]}_count"
    np.testing.assert_array_equal(found.count[0].numpy()[stable], case[counts][stable], counts)


def check_layered(case: dict[str, np.ndarray], config: dict[str, Any], index: int, cameras: Cameras) -> None:
    vertices, rgba = torch.from_numpy(case["in_vertices"])[None], torch.from_numpy(case["in_rgba"])[None]
    faces = torch.from_numpy(case["in_faces"]).long()
    layer_of_face = torch.from_numpy(case["in_layer_of_face"]).long()
    size, camera = case["in_size"].tolist(), f"out_cam{index}"
    kinds = [
        (f"{visibility}_{interpolation}{suffix}", visibility, interpolation, not suffix)
        for visibility in VISIBILITIES
        for interpolation in INTERPOLATIONS
        for suffix in ("", "_translucent")
    ]
    for kind, visibility, interpolation, farthest_opaque in kinds:
        if f"{camera}_{kind}_rgba" in case:
            found = render_layers(
                vertices,
                faces,
                rgba,
                layer_of_face,
                cameras,
                size,
                visibility=visibility,
                interpolation=interpolation,
                fragments=config.get("peels", 16),
                farthest_opaque=farthest_opaque,
                near=None,
                far_clip=RELEASED_FAR,
            )
            compare_rendering(found, case, camera, kind)


def check_textured(case: dict[str, np.ndarray], index: int, cameras: Cameras) -> None:
    vertices, faces = torch.from_numpy(case["in_vertices"])[None], torch.from_numpy(case["in_faces"]).long()
    uv, texture = torch.from_numpy(case["in_uv"])[None], torch.from_numpy(case["in_texture"])[None]
    size, camera = case["in_size"].tolist(), f"out_cam{index}"
    for interpolation in INTERPOLATIONS:
        places, sampled = render_textured(
            vertices,
            faces,
            uv,
            texture,
            cameras,
            size,
            interpolation=interpolation,
            near=None,
            far_clip=RELEASED_FAR,
        )
        stable, name = case[f"{camera}_stable"], f"{camera}_nearest_{interpolation}"
        compare(places[0], case[f"{name}_uv"], stable, f"{name}_uv")
        compare(sampled[0], case[f"{name}_textured"], stable, f"{name}_textured")


def check_rasterizer(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    extrinsics = homogeneous(torch.from_numpy(case["in_extrinsics"]))
    cameras = Cameras(extrinsics, torch.from_numpy(case["in_intrinsics"]))
    for index in range(len(extrinsics)):
        check_layered(case, config, index, cameras[index : index + 1])
        if "in_uv" in case:
            check_textured(case, index, cameras[index : index + 1])


COMPONENTS: dict[str, Check] = {"rasterizer": check_rasterizer}
