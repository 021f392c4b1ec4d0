"""Layered scenes as a folder of PNG, NumPy and JSON files, and back; docs/prediction.md describes the format."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from repsynth.errors import UserError
from repsynth.exports.files import write_bytes, write_json
from repsynth.exports.textures import from_rgba_bytes, png, to_rgba_bytes
from repsynth.geometry.cameras import Cameras, homogeneous
from repsynth.geometry.layered_scene import Layers, RenderingOptions
from repsynth.geometry.layers import layer_vertices

FORMAT = "repsynth layers"
VERSION = 1
DESCRIPTION = "scene.json"
_OWN_MACHINE = "back_end"
"""Option of the renderer that says nothing about the scene."""


def write_layers(layers: Layers, rendering: RenderingOptions, folder: Path) -> Path:
    """Write one scene; returns its description, which is written last.

    Args:
        layers: one scene (B = 1).
        rendering: how the method makes pictures of it; goes to the description.
        folder: is made; files of a scene that was there before are replaced.

    Raises:
        UserError: depth or cameras are not finite.
    """
    require_finite(layers, folder)
    depth = layers.depth[0].float().cpu().numpy()
    textures = to_rgba_bytes(layers.rgba[0])
    entries = [_write_layer(folder, *item) for item in zip(range(len(depth)), textures, depth, strict=True)]
    description = folder / DESCRIPTION
    write_json(description, _description(layers, rendering, entries))
    return description


def load_layers(folder: Path) -> Layers:
    """Read one scene (B = 1) that `write_layers` wrote, on the CPU.

    Colours and alpha have 8 bits, everything else is exact.

    Raises:
        UserError: the folder is no such scene, of a newer version, incomplete or damaged.
    """
    content = _read_description(folder)
    depth = torch.stack([_read_depth(folder, entry, content) for entry in content["layers"]])[None]
    rgba = torch.stack([_read_texture(folder, entry, content) for entry in content["layers"]])[None]
    reference = _camera(content["reference"])
    grid = content["grid"]
    vertices = layer_vertices(depth, reference, grid, rgba.shape[-2:])
    return Layers(depth, rgba, vertices, reference, grid)


def load_rendering(folder: Path) -> RenderingOptions:
    """How the method that wrote a scene makes pictures of it.

    Raises:
        UserError: the folder is no such scene.
    """
    return RenderingOptions(**_read_description(folder)["rendering"])


def require_finite(layers: Layers, path: Path) -> None:
    """Raise UserError when a scene cannot be written because its geometry has NaN or infinite numbers."""
    numbers = (layers.depth, layers.vertices, layers.reference.extrinsics, layers.reference.intrinsics)
    if not all(bool(part.isfinite().all()) for part in numbers):
        raise UserError(
            f"{path} cannot be written: the scene has NaN or infinite depths; look at the run with `repsynth test`, "
            "and take an earlier checkpoint."
        )


def _write_layer(folder: Path, index: int, texture: np.ndarray, depth: np.ndarray) -> dict[str, Any]:
    buffer = BytesIO()
    np.save(buffer, depth, allow_pickle=False)
    contents = {"texture": png(texture), "depth": buffer.getvalue()}
    names = {"texture": f"layer_{index:02d}.png", "depth": f"layer_{index:02d}_depth.npy"}
    for kind, content in contents.items():
        write_bytes(folder / names[kind], content)
    return names | {f"{kind}_sha256": _digest(content) for kind, content in contents.items()}


def _description(
    layers: Layers, rendering: RenderingOptions, entries: list[dict[str, Any]]
) -> dict[str, Any]:
    options = asdict(rendering)
    del options[_OWN_MACHINE]
    lens = layers.reference.intrinsics[0]
    return {
        "format": FORMAT,
        "version": VERSION,
        "units": "depth: z in front of the reference camera in scene units, float32; textures: sRGB, straight alpha",
        "order": "back to front",
        "composition": "over, fragments of all layers sorted by depth; "
        + ("the farthest fragment of a ray is opaque" if rendering.farthest_opaque else "nothing behind"),
        "grid": layers.grid,
        "mesh_size": list(layers.depth.shape[-2:]),
        "texture_size": list(layers.rgba.shape[-2:]),
        "depth_range": [float(layers.depth.min()), float(layers.depth.max())],
        "reference": {
            "w2c_3x4_opencv": layers.reference.extrinsics[0, :3].tolist(),
            "intrinsics_normalised_fx_fy_cx_cy": [
                float(lens[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2))
            ],
        },
        "rendering": options,
        "layers": entries,
    }


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} has no {DESCRIPTION}; expected a folder that `repsynth predict` wrote."
        ) from error
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); export the scene again.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} does not describe layers; expected its 'format' to be '{FORMAT}'.")
    if content.get("version") != VERSION:
        raise UserError(
            f"{path} has version {content.get('version')} of the format; this program reads version {VERSION}."
        )
    _require_keys(content, path)
    return content


def _require_keys(content: dict[str, Any], path: Path) -> None:
    for key in ("grid", "mesh_size", "texture_size", "reference", "rendering", "layers"):
        if key not in content:
            raise UserError(f"{path} lacks '{key}'; export the scene again.")


def _read_depth(folder: Path, entry: dict[str, Any], content: dict[str, Any]) -> Tensor:
    depth = np.load(BytesIO(_read(folder, entry, "depth")), allow_pickle=False)
    _require_size(folder / entry["depth"], depth.shape, content["mesh_size"])
    return torch.from_numpy(depth)


def _read_texture(folder: Path, entry: dict[str, Any], content: dict[str, Any]) -> Tensor:
    texture = np.array(Image.open(BytesIO(_read(folder, entry, "texture"))).convert("RGBA"))
    _require_size(folder / entry["texture"], texture.shape[:2], content["texture_size"])
    return from_rgba_bytes(texture)


def _read(folder: Path, entry: dict[str, Any], kind: str) -> bytes:
    path = folder / entry[kind]
    if not path.is_file():
        raise UserError(f"{path} is missing, but {DESCRIPTION} names it; export the scene again.")
    content = path.read_bytes()
    if _digest(content) != entry[f"{kind}_sha256"]:
        raise UserError(
            f"{path} is damaged or was changed: its SHA-256 is not the one in {DESCRIPTION}; export the scene again."
        )
    return content


def _require_size(path: Path, found: Iterable[int], expected: list[int]) -> None:
    if list(found) != expected:
        raise UserError(f"{path} has {list(found)} elements; {DESCRIPTION} says {expected}.")


def _camera(reference: dict[str, Any]) -> Cameras:
    fx, fy, cx, cy = reference["intrinsics_normalised_fx_fy_cx_cy"]
    intrinsics = torch.tensor([[[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]])
    return Cameras(homogeneous(torch.tensor([reference["w2c_3x4_opencv"]])), intrinsics)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
