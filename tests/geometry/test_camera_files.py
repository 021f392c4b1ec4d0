import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from repsynth.errors import UserError
from repsynth.geometry.camera_files import placed, read_cameras
from repsynth.geometry.cameras import Cameras

from .scenes import random_cameras

POSE = [[1, 0, 0, 0.5], [0, 1, 0, -0.25], [0, 0, 1, 2]]
ENTRY: dict[str, Any] = {"name": "left", "w2c_3x4_opencv": POSE}


def written(content: object, folder: Path) -> Path:
    path = folder / "cameras.json"
    path.write_text(json.dumps(content))
    return path


def test_a_list_of_cameras_is_read(tmp_path: Path) -> None:
    lens = [0.9, 1.1, 0.5, 0.4]
    full = {
        "name": "b.2",
        "w2c_4x4_opencv": [*POSE, [0, 0, 0, 1]],
        "intrinsics_normalised_fx_fy_cx_cy": lens,
        "size": [48, 64],
    }
    file = read_cameras(written([ENTRY, full], tmp_path))
    assert (file.relative_to, file.unit) == ("world", "scene")
    first, second = file.cameras
    assert (first.name, first.intrinsics, first.size) == ("left", None, None)
    assert first.extrinsics.tolist() == [*POSE, [0, 0, 0, 1]] == second.extrinsics.tolist()
    assert (second.name, second.size) == ("b.2", (48, 64))
    assert second.intrinsics is not None
    torch.testing.assert_close(
        second.intrinsics, torch.tensor([[0.9, 0.0, 0.5], [0.0, 1.1, 0.4], [0.0, 0.0, 1.0]])
    )


def test_cameras_of_the_world_are_the_same_in_every_scene(tmp_path: Path) -> None:
    file = read_cameras(written([ENTRY], tmp_path))
    reference = random_cameras(3)
    cameras = placed(file.cameras[0], file, reference, torch.tensor([1.0, 2.0, 3.0]))
    assert cameras.extrinsics.tolist() == [[*POSE, [0, 0, 0, 1]]] * 3
    torch.testing.assert_close(cameras.intrinsics, reference.intrinsics)


@pytest.mark.parametrize("unit", ["scene", "baseline"])
def test_cameras_of_the_reference_move_with_it(unit: str, tmp_path: Path) -> None:
    pose = [[1, 0, 0, -2], [0, 1, 0, 0], [0, 0, 1, 0]]  # two units to the right
    content = {"relative_to": "reference", "unit": unit, "cameras": [{"name": "a", "w2c_3x4_opencv": pose}]}
    file = read_cameras(written(content, tmp_path))
    reference, baseline = random_cameras(2), torch.tensor([0.5, 3.0])
    cameras = placed(file.cameras[0], file, reference, baseline)
    torch.testing.assert_close(cameras.rotation, reference.rotation)
    right = torch.zeros(2, 3)
    right[:, 0] = 2 * baseline if unit == "baseline" else 2
    torch.testing.assert_close(
        reference.to_camera(cameras.centres()[:, None])[:, 0], right, atol=1e-5, rtol=0
    )


def test_a_lens_of_the_file_goes_to_every_scene(tmp_path: Path) -> None:
    lens = {"intrinsics_normalised_fx_fy_cx_cy": [2, 3, 0.5, 0.5]}
    file = read_cameras(written([ENTRY | lens], tmp_path))
    cameras: Cameras = placed(file.cameras[0], file, random_cameras(2), torch.ones(2))
    assert cameras.intrinsics[:, [0, 1], [0, 1]].tolist() == [[2, 3], [2, 3]]


def changed(**values: object) -> list[dict[str, Any]]:
    return [{key: value for key, value in (ENTRY | values).items() if value != "absent"}]


NO_CAMERAS = (
    "{path}: found no cameras; expected a list with one object per camera, or an object with this list under "
    "'cameras'."
)
NAME = "{path}: camera 0: its name is %s; expected letters, digits and . _ -, because its picture's file is called so."
LENS = "intrinsics_normalised_fx_fy_cx_cy"
MISTAKES: list[tuple[object, str]] = [
    ([], NO_CAMERAS),
    ({"cameras": {}}, NO_CAMERAS),
    (7, NO_CAMERAS),
    (
        {"cameras": [ENTRY], "units": "m"},
        "{path} has the unknown key 'units'; expected cameras, relative_to, unit.",
    ),
    (
        {"cameras": [ENTRY], "unit": "metre"},
        '{path}: unit is "metre"; expected scene or baseline.',
    ),
    (
        {"cameras": [ENTRY], "relative_to": "side"},
        '{path}: relative_to is "side"; expected world or reference.',
    ),
    (
        [ENTRY, POSE],
        "{path}: camera 1 is not an object; expected {{'name': ..., 'w2c_3x4_opencv': ...}}.",
    ),
    (
        changed(fov=60),
        "{path}: camera 0 has the unknown key 'fov'; expected name, w2c_3x4_opencv, w2c_4x4_opencv, "
        "intrinsics_normalised_fx_fy_cx_cy, size.",
    ),
    (changed(name="absent"), NAME % "null"),
    (changed(name="../a"), NAME % '"../a"'),
    (changed(name="a/b"), NAME % '"a/b"'),
    (changed(name=".a"), NAME % '".a"'),
    ([ENTRY, ENTRY], "{path}: 2 cameras are called 'left'; give each its own name."),
    (
        changed(w2c_3x4_opencv="absent"),
        "{path}: camera 0 ('left') has no pose; expected one of w2c_3x4_opencv and w2c_4x4_opencv, world to camera.",
    ),
    (
        changed(w2c_4x4_opencv=POSE),
        "{path}: camera 0 ('left') has two poses; expected one of w2c_3x4_opencv and w2c_4x4_opencv, world to camera.",
    ),
    (
        changed(w2c_3x4_opencv=POSE[:2]),
        "{path}: camera 0 ('left'): w2c_3x4_opencv is not a 3x4 matrix; expected 3 lists of 4 numbers.",
    ),
    (
        changed(w2c_3x4_opencv=[[1, 2], [3]]),
        "{path}: camera 0 ('left'): w2c_3x4_opencv is not a 3x4 matrix; expected 3 lists of 4 numbers.",
    ),
    (
        changed(w2c_3x4_opencv=[["a"] * 4] * 3),
        "{path}: camera 0 ('left'): w2c_3x4_opencv is not a 3x4 matrix; expected 3 lists of 4 numbers.",
    ),
    (
        changed(w2c_3x4_opencv="absent", w2c_4x4_opencv=[*POSE, [0, 0, 0, 2]]),
        "{path}: camera 0 ('left'): the last row of w2c_4x4_opencv is [0.0, 0.0, 0.0, 2.0]; expected [0, 0, 0, 1].",
    ),
    (
        changed(w2c_3x4_opencv=[[2 * x for x in row] for row in POSE]),
        "{path}: camera 0 has a rotation R whose R R^T is off the identity by up to 3; expected at most 0.001 "
        "(world-to-camera, without scale): correct it or leave it out.",
    ),
    (
        changed(w2c_3x4_opencv=[*POSE[:2], [0, 0, -1, 0]]),
        "{path}: camera 0 has a mirrored rotation (determinant -1); expected determinant +1: correct it or leave it "
        "out.",
    ),
    (
        changed(w2c_3x4_opencv=[[1, 0, 0, float("nan")], *POSE[1:]]),
        "{path}: camera 0 has NaN or infinite numbers; expected finite matrices: correct it or leave it out.",
    ),
    (
        changed(**{LENS: [1, 1, 0.5]}),
        "{path}: camera 0 ('left'): intrinsics_normalised_fx_fy_cx_cy is [1, 1, 0.5]; expected 4 numbers.",
    ),
    (
        changed(**{LENS: [800, 800, 320, 240]}),
        "{path}: camera 0 ('left'): intrinsics_normalised_fx_fy_cx_cy is [800.0, 800.0, 320.0, 240.0], which looks "
        "like pixels; divide fx and cx by the picture's width, fy and cy by its height.",
    ),
    (
        changed(**{LENS: [1, -1, 0.5, 0.5]}),
        "{path}: camera 0 has a focal length that is not positive; expected fx > 0 and fy > 0: correct it or leave "
        "it out.",
    ),
    (
        changed(size=[64]),
        "{path}: camera 0 ('left'): its size is [64]; expected [height, width] in pixels.",
    ),
    (
        changed(size=[64, 0.5]),
        "{path}: camera 0 ('left'): its size is [64, 0.5]; expected [height, width] in pixels.",
    ),
    (
        changed(size=[64, 0]),
        "{path}: camera 0 ('left'): its size is [64, 0]; expected [height, width] in pixels.",
    ),
]


@pytest.mark.parametrize(("content", "sentence"), MISTAKES)
def test_each_mistake_has_its_sentence(content: object, sentence: str, tmp_path: Path) -> None:
    path = written(content, tmp_path)
    with pytest.raises(UserError, match=f"^{re.escape(sentence.format(path=path))}$"):
        read_cameras(path)


def test_a_file_that_is_missing_or_no_json_has_its_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no.json: no such file with cameras \(option model\.prediction\.cam"
    ):
        read_cameras(tmp_path / "no.json")
    path = tmp_path / "cameras.json"
    path.write_text('[\n{"name": }]')
    with pytest.raises(
        UserError, match=r"json line 2, column 10: this is not valid JSON \(Expecting value\)"
    ):
        read_cameras(path)
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match=r"this is not a text file; expected JSON with cameras\.$"):
        read_cameras(path)
