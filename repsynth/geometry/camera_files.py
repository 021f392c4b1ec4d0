"""JSON files with cameras for single views; docs/prediction.md describes them."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.geometry.cameras import Cameras, check_cameras, homogeneous

Frame = Literal["world", "reference"]
Unit = Literal["scene", "baseline"]

_POSE, _POSE_4X4 = "w2c_3x4_opencv", "w2c_4x4_opencv"
_LENS = "intrinsics_normalised_fx_fy_cx_cy"
_FIELDS = ("name", _POSE, _POSE_4X4, _LENS, "size")
_TOP = ("cameras", "relative_to", "unit")
_SAFE_NAME = re.compile(r"\w[\w.-]*")
_LARGEST_LENS = 50.0
"""Relative to the picture; numbers beyond are pixels."""


@dataclass(frozen=True)
class GivenCamera:
    """One entry of a camera file."""

    name: str
    extrinsics: Tensor
    """[4, 4] world to camera, or reference camera to camera."""
    intrinsics: Tensor | None
    """[3, 3] relative; None takes the reference camera's."""
    size: tuple[int, int] | None
    """Height and width of the picture; None takes that of the prediction."""


@dataclass(frozen=True)
class CameraFile:
    """A camera file, checked."""

    cameras: list[GivenCamera]
    relative_to: Frame
    """Where poses start: the scene's world, or its reference camera."""
    unit: Unit
    """What a translation of 1 is: a scene unit, or the scene's baseline."""


def placed(given: GivenCamera, file: CameraFile, reference: Cameras, baseline: Tensor) -> Cameras:
    """The given camera in each of B scenes.

    Args:
        given: an entry of `file`.
        file: says what its pose is relative to.
        reference: the B reference cameras.
        baseline: [B] scene units.
    """
    pose = given.extrinsics.to(reference.extrinsics).repeat(len(baseline), 1, 1)
    if file.unit == "baseline":
        pose[:, :3, 3] *= baseline[:, None]
    if file.relative_to == "reference":
        pose = (pose.double() @ reference.extrinsics.double()).to(pose.dtype)
    if given.intrinsics is None:
        return Cameras(pose, reference.intrinsics)
    return Cameras(pose, given.intrinsics.to(pose).expand(len(pose), 3, 3))


def read_cameras(path: Path) -> CameraFile:
    """Read a list of cameras, or an object with the list and what it is relative to.

    Raises:
        UserError: for each way in which the file can be wrong; names the file and the camera.
    """
    content = _content(path)
    top = {"cameras": content} if isinstance(content, list) else content
    if not isinstance(top, dict) or not isinstance(top.get("cameras"), list) or not top["cameras"]:
        raise UserError(
            f"{path}: found no cameras; expected a list with one object per camera, or an object with this list "
            "under 'cameras'."
        )
    _refuse_unknown(top, _TOP, f"{path}")
    relative_to = _choice(top, "relative_to", get_args(Frame), path)
    unit = _choice(top, "unit", get_args(Unit), path)
    cameras = [_camera(entry, f"{path}: camera {index}") for index, entry in enumerate(top["cameras"])]
    _refuse_same_names(cameras, path)
    lenses = [torch.eye(3) if camera.intrinsics is None else camera.intrinsics for camera in cameras]
    check_cameras(torch.stack([camera.extrinsics for camera in cameras]), torch.stack(lenses), str(path))
    return CameraFile(cameras, relative_to, unit)


def _content(path: Path) -> Any:  # noqa: ANN401  JSON
    if not path.is_file():
        raise UserError(
            f"{path}: no such file with cameras (option model.prediction.cameras); give its path from the current "
            "folder."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} line {error.lineno}, column {error.colno}: this is not valid JSON ({error.msg}); correct it."
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: this is not a text file; expected JSON with cameras.") from error


def _camera(entry: Any, where: str) -> GivenCamera:  # noqa: ANN401  JSON
    if not isinstance(entry, dict):
        raise UserError(f"{where} is not an object; expected {{'name': ..., '{_POSE}': ...}}.")
    _refuse_unknown(entry, _FIELDS, where)
    name = entry.get("name")
    if not isinstance(name, str) or not _SAFE_NAME.fullmatch(name):
        raise UserError(
            f"{where}: its name is {json.dumps(name)}; expected letters, digits and . _ -, because its picture's file "
            "is called so."
        )
    where = f"{where} ('{name}')"
    return GivenCamera(name, _pose(entry, where), _lens(entry, where), _size(entry, where))


def _pose(entry: dict[str, Any], where: str) -> Tensor:
    given = [key for key in (_POSE, _POSE_4X4) if key in entry]
    if len(given) != 1:
        raise UserError(
            f"{where} has {'two poses' if given else 'no pose'}; expected one of {_POSE} and {_POSE_4X4}, world to "
            "camera."
        )
    (key,) = given
    rows = 3 if key == _POSE else 4
    matrix = _numbers(entry[key])
    if matrix is None or matrix.shape != (rows, 4):
        raise UserError(f"{where}: {key} is not a {rows}x4 matrix; expected {rows} lists of 4 numbers.")
    if rows == 3:
        return homogeneous(matrix)
    if matrix[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
        raise UserError(f"{where}: the last row of {key} is {matrix[3].tolist()}; expected [0, 0, 0, 1].")
    return matrix


def _lens(entry: dict[str, Any], where: str) -> Tensor | None:
    if entry.get(_LENS) is None:
        return None
    numbers = _numbers(entry[_LENS])
    if numbers is None or numbers.shape != (4,):
        raise UserError(f"{where}: {_LENS} is {json.dumps(entry[_LENS])}; expected 4 numbers.")
    if (numbers.abs() > _LARGEST_LENS).any():
        raise UserError(
            f"{where}: {_LENS} is {numbers.tolist()}, which looks like pixels; divide fx and cx by the picture's "
            "width, fy and cy by its height."
        )
    fx, fy, cx, cy = numbers.tolist()
    return torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _size(entry: dict[str, Any], where: str) -> tuple[int, int] | None:
    size = entry.get("size")
    if size is None:
        return None
    whole = isinstance(size, list) and all(type(side) is int and side > 0 for side in size)
    if not whole or len(size) != 2:
        raise UserError(f"{where}: its size is {json.dumps(size)}; expected [height, width] in pixels.")
    return size[0], size[1]


def _numbers(value: Any) -> Tensor | None:  # noqa: ANN401  JSON
    """The tensor in nested lists of numbers; None where there is anything else."""
    try:
        return torch.tensor(value, dtype=torch.float32) if isinstance(value, list) else None
    except (TypeError, ValueError, RuntimeError):
        return None


def _choice(top: dict[str, Any], key: str, allowed: tuple[Any, ...], path: Path) -> Any:  # noqa: ANN401  a Literal
    value = top.get(key, allowed[0])
    if value not in allowed:
        raise UserError(f"{path}: {key} is {json.dumps(value)}; expected {' or '.join(allowed)}.")
    return value


def _refuse_unknown(entry: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in entry:
        if key not in known:
            raise UserError(f"{where} has the unknown key '{key}'; expected {', '.join(known)}.")


def _refuse_same_names(cameras: list[GivenCamera], path: Path) -> None:
    names = [camera.name for camera in cameras]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"{path}: {names.count(name)} cameras are called '{name}'; give each its own name."
            )
