"""What can be wrong with a folder of COLMAP: one whole sentence each, before training starts."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from repsynth.datamodules import colmap
from repsynth.datamodules.colmap_model import Camera, Photograph, Points
from repsynth.datamodules.colmap_scenes import COLMAPScenes
from repsynth.errors import UserError
from tests.datamodules.colmap_folder import PINHOLE, write_binary, write_scene

MODEL = Path("garden", "sparse", "0")
IMAGES = Path("garden", "images")
LAYOUT = "<scene>/{images/*.jpg, sparse/0/{cameras, images, points3D}.bin or .txt}, or such a scene itself"
Model = tuple[dict[int, Camera], dict[int, Photograph], Points]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colmap") / "garden"
    write_scene(folder)
    return folder


@pytest.fixture
def place(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The current folder, which holds the scene `garden` and nothing else."""
    shutil.copytree(original, tmp_path / "garden")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path_factory.mktemp("cache")))
    return tmp_path


def model() -> Model:
    return (
        colmap.read_cameras(MODEL / "cameras.bin"),
        colmap.read_photographs(MODEL / "images.bin"),
        colmap.read_points(MODEL / "points3D.bin"),
    )


def rewritten(change: Callable[[Model], Model]) -> Callable[[], None]:
    return lambda: write_binary(MODEL, *change(model()))


def with_camera(**changes: Any) -> Callable[[], None]:  # noqa: ANN401
    return rewritten(lambda m: ({3: replace(PINHOLE, **changes)}, m[1], m[2]))


def with_photograph(key: int, **changes: Any) -> Callable[[], None]:  # noqa: ANN401
    return rewritten(lambda m: (m[0], m[1] | {key: replace(m[1][key], **changes)}, m[2]))


def with_points(**changes: Any) -> Callable[[], None]:  # noqa: ANN401
    return rewritten(lambda m: (m[0], m[1], replace(m[2], **changes)))


def as_text(name: str, text: str) -> Callable[[], None]:
    def spoil() -> None:
        for part in ("cameras", "images", "points3D"):
            (MODEL / f"{part}.bin").unlink()
            (MODEL / f"{part}.txt").write_text("1 PINHOLE 640 480 1 1 1 1\n" if part == "cameras" else "")
        (MODEL / name).write_text(text)

    return spoil


def resaved(change: Callable[[Image.Image], Image.Image], name: str, **options: Any) -> Callable[[], None]:  # noqa: ANN401
    def spoil() -> None:
        for file in IMAGES.glob(name):
            change(Image.open(file)).save(file, **options)

    return spoil


def turned() -> Callable[[], None]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return resaved(lambda picture: picture, "IMG_003.png", exif=exif)


def pictures_of_another_scene() -> None:
    write_scene(Path("other"), seed=7)
    shutil.rmtree(IMAGES)
    Path("other", "images").rename(IMAGES)
    shutil.rmtree("other")


def far_points(m: Model) -> Model:
    """Half of the points far to the side."""
    positions = m[2].positions.copy()
    positions[::2, 0] += 50
    return m[0], m[1], replace(m[2], positions=positions)


def cut(name: str) -> Callable[[], None]:
    return lambda: Path(MODEL, name).write_bytes((MODEL / name).read_bytes()[:1000])


# What breaks, options, and the whole sentence; * stands for the words of another library.
BAD: dict[str, tuple[Callable[[], object], dict[str, Any], str]] = {
    "no folder": (
        lambda: None,
        {"root": "gardn"},
        f"COLMAP: no folder at gardn (option data.root). Expected {LAYOUT}. See docs/data/colmap.md for how to get it.",
    ),
    "no model": (
        lambda: shutil.rmtree("garden/sparse"),
        {},
        f"COLMAP: found 0 usable train scenes under garden: 1 without a model. First: images. Expected {LAYOUT}. See "
        "docs/data/colmap.md",
    ),
    "no model where it was named": (
        lambda: None,
        {"model": "sparse/1"},
        "COLMAP: found 0 usable train scenes under garden: 2 without a model in sparse/1. First: images. Expected "
        f"{LAYOUT}. See docs/data/colmap.md",
    ),
    "half a model": (
        lambda: (MODEL / "images.bin").unlink(),
        {},
        "COLMAP: garden: garden/sparse/0 has only cameras.bin, points3D.bin; expected cameras, images and points3D, "
        "all as .bin or all as .txt: export the whole model",
    ),
    "an empty model": (
        rewritten(lambda m: (m[0], {}, m[2])),
        {},
        f"COLMAP: found 0 usable train scenes under garden: 1 with an empty model. First: garden. Expected {LAYOUT}. "
        "See docs/data/colmap.md",
    ),
    "a distorted camera": (
        with_camera(
            model="RADIAL", parameters=(*PINHOLE.parameters[1:], 0.1, -0.02), distortion=(0.1, -0.02)
        ),
        {},
        "COLMAP: garden: garden/sparse/0/cameras.bin: model RADIAL has distortion 0.1, -0.02; undistort with COLMAP's "
        "image_undistorter and name its result with data.model and data.images, or set data.ignore_distortion: true",
    ),
    "a fisheye lens": (
        with_camera(
            model="OPENCV_FISHEYE", parameters=(*PINHOLE.parameters, 0, 0, 0, 0), distortion=(0,) * 4
        ),
        {},
        "COLMAP: garden: garden/sparse/0/cameras.bin: model OPENCV_FISHEYE has distortion 0, 0, 0, 0; undistort with "
        "COLMAP's image_undistorter and name its result with data.model and data.images, or set "
        "data.ignore_distortion: true",
    ),
    "no focal length": (
        with_camera(parameters=(0.0, 0.0, 256.0, 192.0)),
        {},
        "garden/sparse/0/cameras.bin: camera 3 is of 512x384 pixels with the parameters 0, 0, 256, 192; expected a "
        "size and focal lengths above 0 and finite numbers: make the model anew",
    ),
    "no such camera": (
        with_photograph(95, camera=8),
        {},
        "COLMAP: garden: garden/sparse/0/images.bin: image 95 (IMG_005.png) has the camera 8, which cameras.bin lacks; "
        "take both files from the same model",
    ),
    "a name twice": (
        with_photograph(95, name="IMG_004.png"),
        {},
        "COLMAP: garden: garden/sparse/0/images.bin names IMG_004.png twice (images 96 and 95); expected each picture "
        "once: remove one and export the model anew",
    ),
    "a name outside": (
        with_photograph(95, name="../../secret.png"),
        {},
        "COLMAP: garden: garden/sparse/0/images.bin: the name of image 95 is '../../secret.png'; expected a relative "
        "path that stays below garden/images: correct it in the file",
    ),
    "no pictures": (
        lambda: shutil.rmtree(IMAGES),
        {},
        f"COLMAP: found 0 usable train scenes under garden: 1 without pictures. First: garden. Expected {LAYOUT}. See "
        "docs/data/colmap.md",
    ),
    "held-out pictures gone": (
        lambda: [(IMAGES / f"IMG_00{view}.png").unlink() for view in (0, 8)],
        {"stage": "test"},
        "COLMAP: found 0 usable test scenes under garden: 1 without held-out views. First: garden. Expected "
        f"{LAYOUT}. See docs/data/colmap.md",
    ),
    "too few pictures": (
        lambda: [(IMAGES / f"IMG_00{view}.png").unlink() for view in range(3, 10)],
        {},
        "COLMAP: found 0 usable train scenes under garden: 1 shorter than 3. First: garden. Expected "
        f"{LAYOUT}. See docs/data/colmap.md",
    ),
    "points of another model": (
        rewritten(lambda m: (m[0], {key - 50: one for key, one in m[1].items()}, m[2])),
        {},
        "COLMAP: garden: no image of garden/sparse/0/images.bin sees a point of garden/sparse/0/points3D.bin in front "
        "of it; near and far bounds come from them: take all files from the same model",
    ),
    "no points": (
        with_points(
            positions=np.empty((0, 3)),
            colours=np.empty((0, 3), np.uint8),
            track_points=np.empty(0),
            track_images=np.empty(0),
        ),
        {},
        "COLMAP: garden: no image of garden/sparse/0/images.bin sees a point of garden/sparse/0/points3D.bin in front "
        "of it; near and far bounds come from them: take all files from the same model",
    ),
    "points cut": (
        cut("points3D.bin"),
        {},
        "garden/sparse/0/points3D.bin: is no whole COLMAP file of 1000 bytes (its entries go on after its end); copy "
        "it again or export the model in binary form",
    ),
    "a point that is none": (
        rewritten(
            lambda m: (
                m[0],
                m[1],
                replace(
                    m[2], positions=np.where(m[2].positions == m[2].positions[7], np.nan, m[2].positions)
                ),
            )
        ),
        {},
        "garden/sparse/0/points3D.bin: point 7 has NaN or infinite coordinates; expected finite numbers: make the "
        "model anew",
    ),
    "points elsewhere": (
        rewritten(far_points),
        {},
        "COLMAP: garden: * of the sparse points that garden/images/IMG_*.png sees lie outside of its picture or behind "
        "its camera, expected nearly none; the cameras in garden/sparse/0 do not fit its points: export the whole "
        "model anew",
    ),
    "pictures of another scene": (
        pictures_of_another_scene,
        {},
        "COLMAP: garden: the pictures in garden/images do not show the sparse points where garden/sparse/0 puts them "
        "(colours differ by * levels, by * at random); they are turned, or have the names of others: use the pictures "
        "that COLMAP was given",
    ),
    "pictures upside down": (
        resaved(lambda p: p.rotate(180), "*.png"),
        {},
        "COLMAP: garden: the pictures in garden/images do not show the sparse points where garden/sparse/0 puts them "
        "(colours differ by * levels, by * at random); they are turned, or have the names of others: use the pictures "
        "that COLMAP was given",
    ),
    "a cropped picture": (
        resaved(lambda p: p.crop((0, 0, 60, 48)), "IMG_004.png"),
        {},
        "COLMAP: garden: garden/images/IMG_004.png is 60x48, which is no reduced copy of the 512x384 of its camera in "
        "garden/sparse/0/cameras.bin (the aspect ratios differ by more than a pixel); use pictures that were scaled, "
        "not cropped or turned",
    ),
    "a turned picture": (
        turned(),
        {},
        "garden/images/IMG_003.png: has the EXIF orientation 6, but its camera belongs to the pixels as stored, "
        "expected 1; remove the tag if the cameras were made from the stored pixels, else turn the pixels and "
        "make them anew",
    ),
    "transparency": (
        resaved(lambda p: p.convert("RGBA"), "IMG_006.png"),
        {},
        "garden/images/IMG_006.png: has the colour mode RGBA, expected RGB, grey or palette; convert the file or set "
        "data.convert_colours: true",
    ),
    "a small picture": (
        resaved(lambda p: p.resize((56, 42)), "IMG_006.png"),
        {},
        "garden/images/IMG_006.png is 56x42 (width x height), smaller than data.image_size 48x48; lower "
        "data.image_size or set data.on_small: skip",
    ),
    "no picture": (
        lambda: (IMAGES / "IMG_006.png").write_text("hello"),
        {},
        "garden/images/IMG_006.png: cannot be decoded (*); replace the damaged file or remove it",
    ),
    "text with a bad line": (
        as_text("images.txt", "# two lines each\n5 1 0 0 0 0.5 0 0\n\n"),
        {},
        "garden/sparse/0/images.txt line 2: found 8 columns; expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME",
    ),
    "near depth": (lambda: None, {"near_depth": 0}, "data.near_depth is 0; expected a depth above 0"),
    "draws": (
        lambda: None,
        {"eval_draws": 2},
        "data.eval_draws is 2, but COLMAP evaluates each held-out view once and draws nothing; leave the option out",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_folder_gets_its_sentence(name: str, place: Path) -> None:
    spoil, options, sentence = BAD[name]
    spoil()
    before = sorted(place.rglob("*"))
    stage = options.get("stage", "fit")
    given = {"root": "garden", "image_size": (48, 48), **options}
    with pytest.raises(UserError) as caught:
        COLMAPScenes(**{key: value for key, value in given.items() if key != "stage"}).check(stage)
    told = str(caught.value).replace(f"{place}/", "")
    pattern = "".join(
        ".*" if part == "*" else re.escape(part) for part in re.split(r"(?<=[ _(])(\*)", sentence)
    )
    assert re.fullmatch(pattern, told), told
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("name", ["a distorted camera", "half a model", "a cropped picture"])
def test_a_bad_scene_among_others_can_be_left_out(name: str, place: Path) -> None:
    shutil.copytree("garden", "meadow")
    BAD[name][0]()
    data = COLMAPScenes(".", image_size=(48, 48), on_bad_scene="skip")
    with pytest.warns(
        UserWarning, match="found 1 usable train scenes under .: 1 with unreadable cameras. First: garden"
    ):
        assert data.survey("train").usable == ["meadow"]
