"""Checks of StereoLayers: its two networks, its depth and texturing heads, the whole generator."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras, homogeneous
from repsynth.geometry.layered_scene import RenderingOptions
from repsynth.geometry.layers import layer_faces
from repsynth.geometry.planes import plane_depths
from repsynth.modules.stereolayers.depth import layered_depth
from repsynth.modules.stereolayers.generator import StereoLayersGenerator
from repsynth.modules.stereolayers.geometry_network import GeometryNetwork
from repsynth.modules.stereolayers.texturing import texture_layers
from repsynth.nn.coloring_network import ColoringNetwork
from repsynth.reference.stereolayers import load_coloring_network, load_generator, load_geometry_network

from .fixtures import Check
from .weights import reference_state

RELATIVE = 1e-4  # of the largest expected value
IMAGE_TOLERANCE, IMAGE_SHARE = 1e-3, 0.995  # silhouettes differ between rasterisers


def _close(actual: Tensor, expected: np.ndarray, relative: float = RELATIVE) -> None:
    assert tuple(actual.shape) == expected.shape
    error = np.abs(actual.detach().numpy() - expected).max()
    assert error <= relative * max(1e-12, np.abs(expected).max()), f"off by {error}"


def _like(found: Tensor, expected: np.ndarray) -> Tensor:
    """Bring [B, ..., H, W] to what a fixture stores: one item without its batch, every nth row and column."""
    found = found[0] if found.dim() > expected.ndim else found
    rows, columns = (
        -(-full // kept) for full, kept in zip(found.shape[-2:], expected.shape[-2:], strict=True)
    )
    return found[..., ::rows, ::columns]


def _image_close(actual: Tensor, expected: np.ndarray) -> None:
    assert tuple(actual.shape) == expected.shape
    error = np.abs(actual.detach().numpy() - expected)
    share = (error <= IMAGE_TOLERANCE * max(1.0, np.abs(expected).max())).mean()
    assert share >= IMAGE_SHARE, f"only {share:.4f} of the pixels agree, largest error {error.max()}"


def _input(config: dict[str, Any], case: dict[str, np.ndarray]) -> Tensor:
    """Rebuild a network's input from the rule in config.json."""
    rule = config["input"]
    assert "default_rng(seed).uniform(-1, 1, shape)" in rule["rule"]
    drawn = np.random.default_rng(rule["seed"]).uniform(-1, 1, rule["shape"]).astype(np.float32)
    np.testing.assert_array_equal(drawn[0, 0, 0, :8], case["in_x_first_row"])
    return torch.from_numpy(drawn)


def _check_network(network: torch.nn.Module, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    with torch.no_grad():
        out = network.eval()(_input(config, case))
    step = config.get("output_step", 1)
    _close(out[..., ::step, ::step], case["out_y"])
    assert out.mean() == pytest.approx(float(case["out_y_mean"]), abs=1e-4)
    assert out.std() == pytest.approx(float(case["out_y_std"]), rel=1e-4)


def check_geometry(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    network = GeometryNetwork(
        config["input_channels"], config["output_channels"], config["width"], config["levels"]
    )
    load_geometry_network(network, reference_state(folder))
    _check_network(network, config, case)


def check_coloring(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    network = ColoringNetwork(config["input_channels"], config["output_channels"], config["width"])
    load_coloring_network(network, reference_state(folder))
    _check_network(network, config, case)


def check_heads(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    depths = plane_depths(config["planes"], config["near"], config["far"])
    for scheme in ("BI", "SA", "GC"):
        key = scheme.lower()
        if f"in_{key}_logits" in case:
            logits = torch.from_numpy(case[f"in_{key}_logits"])
            _close(layered_depth(logits, scheme, config["layers"], depths), case[f"out_{key}_depth"])
    for texturing in ("RSBg", "RBg", "RAW"):
        key = texturing.lower()
        if f"in_{key}_raw" in case:
            raw, reference, side = (
                torch.from_numpy(case[name])
                for name in (f"in_{key}_raw", "in_reference", "in_side_on_layers")
            )
            _close(texture_layers(raw, texturing, reference, side), case[f"out_{key}_rgba"])


def _cameras(extrinsics: np.ndarray, intrinsics: np.ndarray) -> Cameras:
    return Cameras(
        homogeneous(torch.from_numpy(extrinsics.reshape(-1, 3, 4))),
        torch.from_numpy(intrinsics.reshape(-1, 3, 3)),
    )


def _rendering(words: str) -> RenderingOptions:
    """Read "peel 16, affine, farthest opaque, scale 120"; official cameras have no near side."""
    peels, scale = re.search(r"peel (\d+)", words), re.search(r"scale ([\d.]+)", words)
    return RenderingOptions(
        visibility="peel" if peels else "layer",
        interpolation="affine" if "affine" in words else "perspective",
        fragments=int(peels[1]) if peels else 16,
        farthest_opaque="farthest opaque" in words,
        near=None,
        far_clip=float(scale[1]) if scale else None,
    )


def check_generator(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    """The released behaviour: corner grid, mirrored side view, and the rendering that config.json names."""
    generator = StereoLayersGenerator(
        layers=config["layers"],
        planes=config["planes"],
        near=config["near"],
        far=config["far"],
        depth=config["depth"],
        texturing=config["texturing"],
        geometry_width=config["geometry_width"],
        geometry_levels=config["geometry_levels"],
        coloring_width=config["coloring_width"],
        mask_behind=False,
        rendering=_rendering(config["rendering"]),
    ).eval()
    load_generator(generator, reference_state(folder))
    reference, side, novel = (
        _cameras(case[f"in_{name}_extrinsics"], case["in_intrinsics"])
        for name in ("reference", "side", "novel")
    )
    images = torch.from_numpy(case["in_reference"]), torch.from_numpy(case["in_side"])
    height, width = images[0].shape[-2:]
    with torch.no_grad():
        layers = generator(*images, reference, side)
        view = generator.render(layers, novel, (height, width))
    vertices = layers.vertices.unflatten(1, (config["layers"], height, width)).movedim(-1, 2)
    for name, found in (("depth", layers.depth), ("rgba", layers.rgba)):
        _close(_like(found, case[f"out_{name}"]), case[f"out_{name}"])
    stored = np.moveaxis(case["out_vertices"], -1, -3)
    _close(_like(vertices, stored), stored)
    faces = layer_faces(config["layers"], height, width, torch.device("cpu"))
    head = case["out_faces_first_layer_head"]
    np.testing.assert_array_equal(faces[: len(head)].numpy(), head)
    for name, found in (("image", view.features), ("opacity", view.opacity), ("depth", view.depth)):
        _image_close(_like(found, case[f"out_novel_{name}"]), case[f"out_novel_{name}"])


COMPONENTS: dict[str, Check] = {
    "stereolayers.geometry": check_geometry,
    "stereolayers.coloring": check_coloring,
    "stereolayers.heads": check_heads,
    "stereolayers.generator": check_generator,
}
