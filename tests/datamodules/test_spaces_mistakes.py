"""What can be wrong with Spaces or its options: one sentence each, compared as a whole."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from repsynth.datamodules.spaces import Spaces
from repsynth.errors import UserError
from tests.datamodules.spaces_folder import write_scene

_SCENE = Path("data/scene_009")
_MODELS = _SCENE / "models.json"
_WHERE = "Spaces: scene_009/models.json"
_CAMERA = f"{_WHERE}: rig position 1, camera 3"
_LAYOUT = (
    "scene_000/{models.json, cam_00/image_000.JPG, ...}, or the repository, or its data/800, or such a scene "
    "itself"
)
_CORRECT = "correct it or remove the scene"

Spoil = Callable[[], object]
"""Breaks something in the current folder, which holds the data set `data` and nothing else."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spaces")
    write_scene(folder / "scene_009")
    return folder


@pytest.fixture
def place(tmp_path: Path, original: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))
    shutil.copytree(original, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nothing() -> None:
    pass


def models(change: Callable[[Any], Any]) -> Spoil:
    """Changes the lists of models.json."""

    def spoil() -> None:
        found = json.loads(_MODELS.read_text())
        _MODELS.write_text(json.dumps(found if (changed := change(found)) is None else changed))

    return spoil


def camera(**fields: Any) -> Spoil:  # noqa: ANN401
    """Changes fields of camera 3 at rig position 1."""
    return models(lambda found: found[1][3].update(fields))


def text(change: Callable[[str], str]) -> Spoil:
    return lambda: _MODELS.write_text(change(json.dumps(json.loads(_MODELS.read_text()), indent=1)))


def without(field: str) -> Spoil:
    def change(found: Any) -> None:  # noqa: ANN401
        del found[1][3][field]

    return models(change)


def cropped() -> None:
    for file in _SCENE.glob("cam_04/*.png"):
        Image.open(file).crop((0, 0, 60, 40)).save(file)


MISTAKES: dict[str, tuple[Spoil, dict[str, Any], str]] = {
    "no root": (
        nothing,
        {"root": "dada"},
        f"Spaces: no folder at dada (option data.root). Expected {_LAYOUT}. See docs/data/spaces.md for how to get it.",
    ),
    "a root without scenes": (
        lambda: Path("data/scene_009").rename("data/room"),
        {},
        "Spaces: found no folder scene_* in data, nor in data/800 or 800 below it (options data.root, "
        f"data.resolution). Expected {_LAYOUT}. See docs/data/spaces.md",
    ),
    "a scene of another name": (
        lambda: Path("data/scene_009").rename("data/scene_nine"),
        {},
        "Spaces: the folder data/scene_nine is not called scene_<number>, and the split goes by these numbers; rename "
        "it or move it away",
    ),
    "a scene of another part": (
        nothing,
        {"root": "data/scene_009", "test_scenes": (10, 23)},
        "Spaces: data/scene_009 has no scene of the test part (data.test_scenes: 10, 23); give data.test_scenes "
        "numbers that are there",
    ),
    "no test scenes": (
        nothing,
        {"test_scenes": ()},
        "Spaces: data has no scene of the test part (data.test_scenes: none); give data.test_scenes numbers that are "
        "there",
    ),
    "no models": (
        _MODELS.unlink,
        {},
        "Spaces: found 0 usable test scenes under data: 1 without models.json. First: scene_009/0. Expected "
        f"{_LAYOUT}. See docs/data/spaces.md",
    ),
    "half a file": (
        text(lambda content: content[: content.index('"orientation"') + 15]),
        {},
        f"{_WHERE} line 17: is no JSON (Expecting value); the file is damaged, take it from the data set again",
    ),
    "a missing comma": (
        text(lambda content: content.replace("31.0,", "31.0", 1)),
        {},
        f"{_WHERE} line 8: is no JSON (Expecting ',' delimiter); the file is damaged, take it from the data set again",
    ),
    "no text": (
        lambda: _MODELS.write_bytes(b"[\xff]"),
        {},
        f"{_WHERE}: cannot be read ('utf-8' codec can't decode byte 0xff in position 1: invalid start byte); take it "
        "from the data set again",
    ),
    "no list": (
        models(lambda found: {"views": found}),
        {},
        f"{_WHERE}: holds dict, expected a list of rig positions, each a list of cameras; take the file from the data "
        "set again",
    ),
    "no rig position": (
        models(lambda found: []),
        {},
        f"{_WHERE}: holds no rig position, expected a list of rig positions, each a list of cameras; take the file "
        "from the data set again",
    ),
    "one list too few": (
        models(lambda found: found[0]),
        {},
        f"{_WHERE}: rig position 0 has no list of cameras, expected 16; take the file from the data set again or "
        "remove the scene",
    ),
    "other than 16 cameras": (
        models(lambda found: [found[0], found[1][:4]]),
        {},
        f"{_WHERE}: rig position 1 has 4 cameras, expected 16; take the file from the data set again or "
        "remove the scene",
    ),
    "a camera that is no mapping": (
        models(lambda found: [found[0], [*found[1][:3], 7, *found[1][4:]]]),
        {},
        f"{_CAMERA}: is int, expected a mapping of its calibration",
    ),
    "a missing field": (
        without("focal_length"),
        {},
        f"{_CAMERA}: focal_length is missing, expected a finite number; {_CORRECT}",
    ),
    "a word for a number": (
        camera(width="800"),
        {},
        f"{_CAMERA}: width is '800', expected a finite number; {_CORRECT}",
    ),
    "a truth for a number": (
        camera(pixel_aspect_ratio=True),
        {},
        f"{_CAMERA}: pixel_aspect_ratio is True, expected a finite number; {_CORRECT}",
    ),
    "NaN": (
        camera(position=[0.0, float("nan"), 1.0]),
        {},
        f"{_CAMERA}: position is [0.0, nan, 1.0], expected a list of 3 finite numbers; {_CORRECT}",
    ),
    "a quaternion": (
        camera(orientation=[1.0, 0.0, 0.0, 0.0]),
        {},
        f"{_CAMERA}: orientation is [1.0, 0.0, 0.0, 0.0], expected a list of 3 finite numbers; {_CORRECT}",
    ),
    "a focal length below 0": (
        camera(focal_length=-225.5),
        {},
        f"{_CAMERA}: focal_length is -225.5, expected more than 0; {_CORRECT}",
    ),
    "no height": (
        camera(height=0),
        {},
        f"{_CAMERA}: height is 0, expected more than 0; {_CORRECT}",
    ),
    "no path": (
        without("relative_path"),
        {},
        f"{_CAMERA}: relative_path is missing, expected the picture's path; {_CORRECT}",
    ),
    "a number for a path": (
        camera(relative_path=3),
        {},
        f"{_CAMERA}: relative_path is 3, expected the picture's path; {_CORRECT}",
    ),
    "a picture for two cameras": (
        camera(relative_path="cam_00/image_001.png"),
        {},
        f"{_WHERE}: rig position 1: names cam_00/image_001.png for 2 cameras, expected a picture for each; {_CORRECT}",
    ),
    "a path out of the scene": (
        models(lambda found: found[0][3].update(relative_path="../scene_001/cam_03/image_000.png")),
        {},
        f"{_WHERE}: relative_path is '../scene_001/cam_03/image_000.png'; expected a relative path that stays below "
        "data/scene_009: correct it in the file",
    ),
    "a missing picture": (
        (_SCENE / "cam_07" / "image_000.png").unlink,
        {},
        f"{_WHERE} names cam_07/image_000.png, which does not exist; complete the scene or remove it",
    ),
    "a cropped picture": (
        cropped,
        {},
        "data/scene_009/cam_04/image_000.png is 60x40, which is no reduced copy of the 64x40 in models.json (the "
        "aspect ratios differ by more than a pixel); use pictures that were scaled, not cropped or turned",
    ),
    "pictures that are too small": (
        nothing,
        {"image_size": (42, 42)},
        "data/scene_009/cam_00/image_000.png is 64x40 (width x height), smaller than data.image_size 42x42; lower "
        "data.image_size or set data.on_small: skip",
    ),
    "a rig without size": (
        models(lambda found: found[0][8].update(position=found[0][4]["position"])),
        {"scale_per": "rig"},
        f"{_WHERE}: the cameras 4 and 8 of rig position 0 are 0.000000 m apart, and data.scale_per: rig measures in "
        "that distance; expected more than 0: correct the file or set data.scale_per: metre",
    ),
    "planes behind the camera": (
        nothing,
        {"near": 0.0},
        "data.near is 0 and data.far 100; expected 0 < near < far, in scene units",
    ),
    "no scale": (
        nothing,
        {"scale": float("inf")},
        "data.scale is inf; expected scene units per metre above 0",
    ),
    "a group twice": (
        nothing,
        {"groups": ("small", "small")},
        "data.groups is ['small', 'small']; expected each of small, medium, large at most once, or an empty list to "
        "draw evaluation examples",
    ),
    "an unknown group": (
        nothing,
        {"groups": ("tiny",)},
        "data.groups is ['tiny']; expected each of small, medium, large at most once, or an empty list to draw "
        "evaluation examples",
    ),
    "pairs for quads": (
        nothing,
        {"source_views": 2},
        "data.source_views is 2, but each example of data.groups has 4 inputs and a method of fewer would leave some "
        "out unsaid; set it to 4 or more, or data.groups: [] to draw evaluation examples",
    ),
    "draws of groups": (
        nothing,
        {"eval_draws": 3},
        "data.eval_draws is 3, but the examples of data.groups are fixed; leave it out, or set data.groups: [] to draw "
        "evaluation examples",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_sentence(place: Path, mistake: str) -> None:
    spoil, options, sentence = MISTAKES[mistake]
    spoil()
    with pytest.raises(UserError) as caught:
        Spaces(**{"root": "data", "image_size": (32, 32), "test_scenes": (9,), **options}).check("test")
    assert str(caught.value) == sentence


def test_a_damaged_scene_stops_training_unless_it_may_be_left_out(place: Path) -> None:
    write_scene(Path("data/scene_001"))
    shutil.copytree("data/scene_001", "data/scene_002")
    Path("data/scene_001/models.json").write_text("[[")
    module = Spaces("data", image_size=(32, 32), on_bad_scene="skip")
    with pytest.warns(UserWarning, match="1 with unreadable cameras. First: scene_001/0"):
        assert module.survey("train").usable == ["scene_002/0", "scene_002/1"]
    with pytest.raises(UserError, match=r"scene_001/models\.json line 1: is no JSON"):
        Spaces("data", image_size=(32, 32)).survey("train")
