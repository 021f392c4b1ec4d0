"""A stereo pair on disk: two pictures and pair.json, which says how they were taken."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from repsynth.datamodules.images import read_size, require_mode, require_size
from repsynth.datamodules.posed_scene import FilePicture, PosedScene, middle_depth
from repsynth.datamodules.relative_paths import below
from repsynth.datamodules.views import STATIC, camera_centres
from repsynth.errors import UserError
from repsynth.geometry.cameras import Cameras, check_cameras

FILE = "pair.json"

_POSES, _BASELINE = "w2c_3x4_opencv", "baseline_x_first_to_second"
_INTRINSICS, _NOTE = "intrinsics_normalised_fx_fy_cx_cy", "intrinsics_note"
_KEYS = ("images", _POSES, _BASELINE, _INTRINSICS, _NOTE, "depth_range")

_FARTHEST_CENTRE = 2.0
"""Beyond it, in image sizes, a principal point must have been given in pixels."""
_GRID = 9
"""Pixels along each side, and depths, at which the views are tried for overlap."""


@dataclass(frozen=True)
class PairOptions:
    """How a pair becomes a scene."""

    near_depth: float | None
    """Depth of the near bound after scaling; None keeps the units of the file."""
    assume_focal: float | None
    """Focal length in image widths where the file gives none; None refuses that."""


@dataclass(frozen=True)
class Pair:
    """What was read."""

    scene: PosedScene
    """Two views, the first picture first."""
    remarks: tuple[str, ...]
    """What a user should know, a sentence each."""


def read_pair(folder: Path, options: PairOptions) -> Pair:
    """Read and check a pair, its pictures' sizes included.

    Args:
        folder: with pair.json and the pictures.
        options: scale and focal length.

    Raises:
        UserError: see docs/data/stereo_pair.md for the sentences.
    """
    where = f"StereoPair: {folder / FILE}"
    content = _content(where, folder / FILE)
    files = _pictures(where, folder, content)
    size = _one_size(where, files)
    near, far = _depth_range(where, content)
    scale = 1.0 if options.near_depth is None else options.near_depth / near
    extrinsics = _poses(where, content)
    extrinsics[:, :3, 3] *= scale
    intrinsics, remarks = _intrinsics(where, content, size, options.assume_focal)
    depth_range = (scale * near, scale * far)
    check_cameras(torch.from_numpy(extrinsics), torch.from_numpy(intrinsics), where)
    _check_geometry(where, extrinsics, intrinsics, depth_range)
    scene = PosedScene(
        folder.resolve().name,
        [FilePicture(file) for file in files],
        np.arange(2),
        extrinsics,
        intrinsics,
        depth_range,
        np.full(2, middle_depth(depth_range)),
    )
    return Pair(scene, remarks)


def check_pair(pair: Pair, image_size: tuple[int, int], convert: bool) -> None:
    """Raise UserError for pictures whose colours are not accepted or that do not reach (height, width)."""
    for picture in pair.scene.pictures:
        require_mode(Path(picture.label), convert)
        require_size(picture.label, picture.size(), image_size)


def _content(where: str, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{where} line {error.lineno}: this is not valid JSON ({error.msg}); compare with docs/data/stereo_pair.md"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where} cannot be read ({error}); expected a JSON file") from error
    if not isinstance(content, dict):
        raise UserError(
            f"{where} holds a {type(content).__name__}; expected an object with {', '.join(_KEYS)}"
        )
    unknown = [key for key in content if key not in _KEYS]
    if unknown:
        raise UserError(f"{where} has the unknown key {unknown[0]!r}; expected only {', '.join(_KEYS)}")
    return content


def _pictures(where: str, folder: Path, content: dict[str, Any]) -> list[Path]:
    names = content.get("images")
    if not isinstance(names, list) or len(names) != 2 or not all(isinstance(name, str) for name in names):
        raise UserError(f"{where}: images is {_shown(names)}; expected the names of two pictures beside it")
    if names[0] == names[1]:
        raise UserError(f"{where}: images names {names[0]} twice; expected two pictures")
    return [below(folder, name, f"{where}: a name in images") for name in names]


def _one_size(where: str, files: list[Path]) -> tuple[int, int]:
    first, second = (read_size(file) for file in files)
    if first != second:
        raise UserError(
            f"{where}: {files[0].name} is {first[1]}x{first[0]} and {files[1].name} {second[1]}x{second[0]} (width x "
            "height); both must have one size: scale or crop them alike and correct the intrinsics"
        )
    return first


def _depth_range(where: str, content: dict[str, Any]) -> tuple[float, float]:
    values = _numbers(where, content, "depth_range", [(2,)], "two numbers near and far, 0 < near < far")
    near, far = values.tolist()
    if not 0 < near < far:
        raise UserError(
            f"{where}: depth_range is {near:g} to {far:g}; expected 0 < near < far, in the units of the cameras"
        )
    return near, far


def _poses(where: str, content: dict[str, Any]) -> np.ndarray:
    """[2, 4, 4] in the units of the file."""
    given = [key for key in (_POSES, _BASELINE) if key in content]
    if len(given) != 1:
        raise UserError(
            f"{where} has {'both' if given else 'neither'} {_POSES} {'and' if given else 'nor'} {_BASELINE}; expected "
            "the poses of both pictures, or the distance of a rectified pair"
        )
    extrinsics = np.tile(np.eye(4), (2, 1, 1))
    if given == [_POSES]:
        extrinsics[:, :3] = _numbers(
            where, content, _POSES, [(2, 3, 4)], "a 3 x 4 world-to-camera matrix of each picture"
        )
    else:
        distance = _numbers(
            where, content, _BASELINE, [()], "how far the second camera is to the right of the first"
        )
        extrinsics[1, 0, 3] = -distance
    return extrinsics


def _intrinsics(
    where: str, content: dict[str, Any], size: tuple[int, int], assumed: float | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """[2, 3, 3] normalised, and what to say about them."""
    note = content.get(_NOTE)
    remarks: tuple[str, ...] = (f"{where}: {_NOTE}: {note}",) if note else ()
    if content.get(_INTRINSICS) is None:
        if assumed is None:
            raise UserError(
                f"{where} gives no {_INTRINSICS}, and depth follows from the focal length; add it, or set "
                "data.assume_focal: 0.5 (times the width) to go on with a guess"
            )
        height, width = size
        values = np.array([assumed, assumed * width / height, 0.5, 0.5])
        remarks += (
            f"{where} gives no focal length; {assumed:g} times the width with square pixels is assumed "
            "(data.assume_focal), so depths and camera paths are right only as far as that is",
        )
    else:
        expected = "fx fy cx cy, as fractions of width and height, once or for each picture"
        values = _numbers(where, content, _INTRINSICS, [(4,), (2, 4)], expected)
        if np.abs(values[..., 2:]).max() > _FARTHEST_CENTRE:
            raise UserError(
                f"{where}: {_INTRINSICS} has a principal point of {_shown(values[..., 2:].tolist())}, as if in pixels; "
                "expected fractions: divide fx and cx by the width, fy and cy by the height"
            )
    matrices = np.tile(np.eye(3), (2, 1, 1))
    matrices[:, [0, 1, 0, 1], [0, 1, 2, 2]] = values
    return matrices, remarks


def _check_geometry(
    where: str, extrinsics: np.ndarray, intrinsics: np.ndarray, depth_range: tuple[float, float]
) -> None:
    first, second = camera_centres(extrinsics)
    if np.linalg.norm(second - first) <= STATIC:
        raise UserError(
            f"{where}: both cameras are at the same place, which leaves nothing to match; expected the poses of a pair"
        )
    cameras = Cameras(torch.from_numpy(extrinsics), torch.from_numpy(intrinsics))
    sides = torch.linspace(0, 1, _GRID, dtype=torch.float64)
    inverse = torch.linspace(1 / depth_range[1], 1 / depth_range[0], _GRID, dtype=torch.float64)
    across, down, depth = torch.meshgrid(sides, sides, 1 / inverse, indexing="ij")
    points = cameras[0].lift(torch.stack([across, down], dim=-1).flatten(0, 2), depth.flatten())
    pixels, depths = cameras[1].project(points)
    if not (((pixels >= 0) & (pixels <= 1)).all(dim=-1) & (depths > 0)).any():
        raise UserError(
            f"{where}: nothing that the first picture can show in depth_range {depth_range[0]:g} to {depth_range[1]:g} "
            "is in the second; the poses must be world-to-camera with x right, y down, z forward"
        )


def _numbers(
    where: str, content: dict[str, Any], key: str, shapes: list[tuple[int, ...]], expected: str
) -> np.ndarray:
    value = content.get(key)
    try:
        found = np.array(value)
    except ValueError:  # rows of different lengths
        found = np.array(None)
    numbers = found.dtype.kind in "if" and np.isfinite(found).all()
    if not numbers or found.shape not in shapes:
        shown = f"of shape {list(found.shape)}" if numbers and found.ndim > 1 else _shown(value)
        raise UserError(f"{where}: {key} is {shown}; expected {expected}")
    return found.astype(np.float64)


def _shown(value: object) -> str:
    text = "missing" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
