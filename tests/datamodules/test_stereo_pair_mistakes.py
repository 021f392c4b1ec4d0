"""What can be wrong with a stereo pair: one whole sentence each."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensors import tensors_of

from repsynth.datamodules.stereo_pair import StereoPair
from repsynth.errors import UserError
from tests.datamodules.pair_folder import write_pair

EYE = np.eye(4)[:3].tolist()
PAIR = "StereoPair: chair/pair.json"
LAYOUT = "<pair>/{pair.json, two pictures}, or such a pair itself"
BEHIND = np.diag([-1.0, 1, -1]).tolist()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_pair(Path("chair"))
    return tmp_path


def content(**changes: object) -> Callable[[], object]:
    return lambda: write_pair(Path("chair"), **changes)


def text(words: str) -> Callable[[], object]:
    return lambda: Path("chair/pair.json").write_text(words)


def poses(*matrices: object) -> Callable[[], object]:
    return content(baseline_x_first_to_second=None, w2c_3x4_opencv=list(matrices))


def at(*place: float) -> list[list[float]]:
    return [[*row, value] for row, value in zip(np.eye(3).tolist(), place, strict=True)]


def resaved(change: Callable[[Image.Image], Image.Image], **options: Any) -> Callable[[], None]:  # noqa: ANN401
    def spoil() -> None:
        change(Image.open("chair/right.png")).save("chair/right.png", **options)

    return spoil


def turned() -> Callable[[], None]:
    exif = Image.Exif()
    exif[0x0112] = 3
    return resaved(lambda picture: picture, exif=exif)


BASE_POSES = "a 3 x 4 world-to-camera matrix of each picture"
# What breaks, options, and the whole sentence; * stands for the words of another library.
BAD: dict[str, tuple[Callable[[], object], dict[str, Any], str]] = {
    "no folder": (
        lambda: None,
        {"root": "chiar"},
        f"StereoPair: no folder at chiar (option data.root). Expected {LAYOUT}. See docs/data/stereo_pair.md.",
    ),
    "no pair": (
        lambda: Path("chair/pair.json").unlink(),
        {"root": "."},
        "StereoPair: found 0 pairs under .: 1 folders without pair.json. First: chair. Expected "
        f"{LAYOUT}. See docs/data/stereo_pair.md.",
    ),
    "no JSON": (
        text('{"images": ["left.png",\n"right.png"]'),
        {},
        f"{PAIR} line 2: this is not valid JSON (*); compare with docs/data/stereo_pair.md",
    ),
    "a list": (
        text("[1]"),
        {},
        f"{PAIR} holds a list; expected an object with images, w2c_3x4_opencv, baseline_x_first_to_second, "
        "intrinsics_normalised_fx_fy_cx_cy, intrinsics_note, depth_range",
    ),
    "no text": (
        lambda: Path("chair/pair.json").write_bytes(b"\xff\xfe"),
        {},
        f"{PAIR} cannot be read (*); expected a JSON file",
    ),
    "another spelling": (
        content(intrinsics_normalized_fx_fy_cx_cy=[1, 1, 0.5, 0.5]),
        {},
        f"{PAIR} has the unknown key 'intrinsics_normalized_fx_fy_cx_cy'; expected only images, w2c_3x4_opencv, "
        "baseline_x_first_to_second, intrinsics_normalised_fx_fy_cx_cy, intrinsics_note, depth_range",
    ),
    "one picture": (
        content(images=["left.png"]),
        {},
        f'{PAIR}: images is ["left.png"]; expected the names of two pictures beside it',
    ),
    "the same picture": (
        content(images=["left.png", "left.png"]),
        {},
        f"{PAIR}: images names left.png twice; expected two pictures",
    ),
    "a picture elsewhere": (
        content(images=["left.png", "../right.png"]),
        {},
        f"{PAIR}: a name in images is '../right.png'; expected a relative path that stays below chair: correct it in "
        "the file",
    ),
    "a picture missing": (
        content(images=["left.png", "middle.png"]),
        {},
        "chair/middle.png: no such file; an image was expected here",
    ),
    "two sizes": (
        resaved(lambda p: p.resize((50, 30))),
        {},
        f"{PAIR}: left.png is 100x60 and right.png 50x30 (width x height); both must have one size: scale or crop them "
        "alike and correct the intrinsics",
    ),
    "no cameras": (
        content(baseline_x_first_to_second=None),
        {},
        f"{PAIR} has neither w2c_3x4_opencv nor baseline_x_first_to_second; expected the poses of both pictures, or "
        "the distance of a rectified pair",
    ),
    "cameras twice": (
        content(w2c_3x4_opencv=[EYE, EYE]),
        {},
        f"{PAIR} has both w2c_3x4_opencv and baseline_x_first_to_second; expected the poses of both pictures, or "
        "the distance of a rectified pair",
    ),
    "one camera": (
        poses(EYE),
        {},
        f"{PAIR}: w2c_3x4_opencv is of shape [1, 3, 4]; expected {BASE_POSES}",
    ),
    "cameras of four rows": (
        poses(np.eye(4).tolist(), np.eye(4).tolist()),
        {},
        f"{PAIR}: w2c_3x4_opencv is of shape [2, 4, 4]; expected {BASE_POSES}",
    ),
    "a camera of words": (
        content(baseline_x_first_to_second="0.25"),
        {},
        f'{PAIR}: baseline_x_first_to_second is "0.25"; expected how far the second camera is to the right of the '
        "first",
    ),
    "NaN": (
        content(baseline_x_first_to_second=float("nan")),
        {},
        f"{PAIR}: baseline_x_first_to_second is NaN; expected how far the second camera is to the right of the first",
    ),
    "no rotation": (
        poses(EYE, [[2, 0, 0, -0.2], [0, 1, 0, 0], [0, 0, 1, 0]]),
        {},
        f"{PAIR}: camera 1 has a rotation R whose R R^T is off the identity by up to 3; expected at most 0.001 "
        "(world-to-camera, without scale): correct it or leave it out.",
    ),
    "a mirror": (
        poses(EYE, [[-1, 0, 0, -0.2], [0, 1, 0, 0], [0, 0, 1, 0]]),
        {},
        f"{PAIR}: camera 1 has a mirrored rotation (determinant -1); expected determinant +1: correct it or leave it "
        "out.",
    ),
    "the same place": (
        poses(at(1, 2, 3), at(1, 2, 3)),
        {},
        f"{PAIR}: both cameras are at the same place, which leaves nothing to match; expected the poses of a pair",
    ),
    "looking away": (
        poses(EYE, [[*row, value] for row, value in zip(BEHIND, (0.2, 0, 0), strict=True)]),
        {},
        f"{PAIR}: nothing that the first picture can show in depth_range 2 to 50 is in the second; the poses must be "
        "world-to-camera with x right, y down, z forward",
    ),
    "no focal length": (
        content(intrinsics_normalised_fx_fy_cx_cy=None),
        {},
        f"{PAIR} gives no intrinsics_normalised_fx_fy_cx_cy, and depth follows from the focal length; add it, or set "
        "data.assume_focal: 0.5 (times the width) to go on with a guess",
    ),
    "pixels": (
        content(intrinsics_normalised_fx_fy_cx_cy=[90, 90, 50, 30]),
        {},
        f"{PAIR}: intrinsics_normalised_fx_fy_cx_cy has a principal point of [50.0, 30.0], as if in pixels; expected "
        "fractions: divide fx and cx by the width, fy and cy by the height",
    ),
    "three intrinsics": (
        content(intrinsics_normalised_fx_fy_cx_cy=[0.9, 0.5, 0.5]),
        {},
        f"{PAIR}: intrinsics_normalised_fx_fy_cx_cy is [0.9, 0.5, 0.5]; expected fx fy cx cy, as fractions of width "
        "and height, once or for each picture",
    ),
    "ragged intrinsics": (
        content(intrinsics_normalised_fx_fy_cx_cy=[[0.9, 0.9, 0.5, 0.5], [0.9]]),
        {},
        f"{PAIR}: intrinsics_normalised_fx_fy_cx_cy is [[0.9, 0.9, 0.5, 0.5], [0.9]]; expected fx fy cx cy, as "
        "fractions of width and height, once or for each picture",
    ),
    "a focal length below zero": (
        content(intrinsics_normalised_fx_fy_cx_cy=[-0.9, 0.9, 0.5, 0.5]),
        {},
        f"{PAIR}: camera 0 has a focal length that is not positive; expected fx > 0 and fy > 0: correct it or leave it "
        "out.",
    ),
    "no depth": (
        content(depth_range=None),
        {},
        f"{PAIR}: depth_range is missing; expected two numbers near and far, 0 < near < far",
    ),
    "depths the wrong way": (
        content(depth_range=[100, 1]),
        {},
        f"{PAIR}: depth_range is 100 to 1; expected 0 < near < far, in the units of the cameras",
    ),
    "a turned picture": (
        turned(),
        {},
        "chair/right.png: has the EXIF orientation 3, but its camera belongs to the pixels as stored, expected 1; "
        "remove the tag if the cameras were made from the stored pixels, else turn the pixels and make them anew",
    ),
    "transparency": (
        resaved(lambda p: p.convert("RGBA")),
        {},
        "chair/right.png: has the colour mode RGBA, expected RGB, grey or palette; convert the file or set "
        "data.convert_colours: true",
    ),
    "small pictures": (
        lambda: None,
        {"image_size": (64, 64)},
        "chair/left.png is 100x60 (width x height), smaller than data.image_size 64x64; lower data.image_size or use "
        "larger pictures",
    ),
    "near depth": (
        lambda: None,
        {"near_depth": 0.0},
        "data.near_depth is 0.0; expected a number above 0, or null",
    ),
    "focal length": (
        lambda: None,
        {"assume_focal": -1.0},
        "data.assume_focal is -1.0; expected a number above 0, or null",
    ),
    "fit": (
        lambda: None,
        {"stage": "fit"},
        "StereoPair has no novel views to learn from or to compare with, so `repsynth fit` cannot use it; use "
        "`repsynth predict`, or data with more views such as repsynth.datamodules.colmap_scenes.COLMAPScenes",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_pair_gets_its_sentence(name: str, place: Path) -> None:
    spoil, options, sentence = BAD[name]
    spoil()
    given = {"root": "chair", "image_size": (30, 40), **options}
    stage = given.pop("stage", "predict")
    with pytest.raises(UserError) as caught:
        StereoPair(**given).check(stage)
    pattern = "".join(".*" if part == "*" else re.escape(part) for part in re.split(r"(?<=\()(\*)", sentence))
    told = str(caught.value).replace(f"{place}/", "")
    assert re.fullmatch(pattern, told), told


@pytest.mark.parametrize("verb", ["fit", "validate", "test"])
def test_only_prediction_is_possible(verb: str, place: Path) -> None:
    data = StereoPair("chair", image_size=(30, 40))
    loaders = {"fit": data.train_dataloader, "validate": data.val_dataloader, "test": data.test_dataloader}
    for attempt in (lambda: data.check(verb), loaders[verb]):
        with pytest.raises(UserError, match=f"so `repsynth {verb}` cannot use it; use `repsynth predict`"):
            attempt()


def test_a_picture_that_breaks_off_is_named_when_it_is_read(place: Path) -> None:
    file = Path("chair/right.png")
    Image.effect_noise((100, 60), 80).convert("RGB").save(file)
    file.write_bytes(file.read_bytes()[:4000])
    data = StereoPair("chair", image_size=(30, 40))
    data.check("predict")
    with pytest.raises(UserError, match=r"chair/right.png: cannot be decoded \(.*truncated"):
        list(data.predict_dataloader())


def test_a_file_with_a_byte_order_mark_is_read(place: Path) -> None:
    file = Path("chair/pair.json")
    without = next(iter(StereoPair("chair", image_size=(30, 40)).predict_dataloader()))
    file.write_text("\ufeff" + json.dumps(json.loads(file.read_text())), encoding="utf-8")
    data = StereoPair("chair", image_size=(30, 40))
    data.check("predict")
    found = next(iter(data.predict_dataloader()))
    for (name, tensor), (_, expected) in zip(tensors_of(found), tensors_of(without), strict=True):
        assert torch.equal(tensor, expected), name
