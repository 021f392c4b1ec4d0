"""What can be wrong with a SWORD data set or its options: one sentence each, compared as a whole."""

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from repsynth.datamodules.sword import SWORD
from repsynth.errors import UserError
from tests.datamodules.sword_folder import write_data_set, write_list, write_pictures, write_points

_LAYOUT = "{sorted_train.csv, videos/<scene>/<frame>.jpg, views/<scene>.txt}"
_COLUMNS = "scene_name, images_path, views_path, num_points, num_views, p_1, p_10, p_50, p_90"
_FIRST, _SECOND = "SWORD: data/sorted_train.csv line 2", "SWORD: data/sorted_train.csv line 3"

Spoil = Callable[[], object]
"""Breaks something in the current folder, which holds the data set `data` and nothing else."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sword") / "data"
    write_data_set(folder, train=2, val=1, test=1)
    return folder


@pytest.fixture
def place(tmp_path: Path, original: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))
    shutil.copytree(original, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nothing() -> None:
    pass


def field(row: int, **fields: str) -> Spoil:
    """Changes fields of a row of the training list."""

    def spoil() -> None:
        with Path("data/sorted_train.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        rows[row].update(fields)
        write_list(Path("data/sorted_train.csv"), rows)

    return spoil


def text(file: str, change: Callable[[str], str]) -> Spoil:
    return lambda: Path(file).write_text(change(Path(file).read_text()))


def replaced(file: str, old: str, new: str) -> Spoil:
    return text(file, lambda content: content.replace(old, new, 1))


def all_depths(low: str, high: str) -> Spoil:
    def spoil() -> None:
        field(0, p_1="1", p_10=low)()
        field(1, p_1="1", p_10=high)()

    return spoil


def copied(source: str, target: str) -> Spoil:
    return lambda: shutil.copy(source, target)


MISTAKES: dict[str, tuple[Spoil, dict[str, Any], str]] = {
    "no root": (
        nothing,
        {"root": "dada"},
        f"SWORD: no folder at dada (option data.root). Expected {_LAYOUT}. See docs/data/sword.md for how to get it.",
    ),
    "no validation root": (
        nothing,
        {"val_root": "tablet"},
        f"SWORD: no folder at tablet (option data.val_root). Expected {_LAYOUT}; leave the option out when the "
        "validation clips lie below data.root",
    ),
    "no list": (
        lambda: Path("data/sorted_val.csv").rename("data/val.csv"),
        {},
        "SWORD: no list of the val scenes at data/sorted_val.csv (option data.val_csv); lists there: sorted_test.csv, "
        "sorted_train.csv, val.csv. Name one of them, with data.val_scenes where parts share it",
    ),
    "no names": (
        nothing,
        {"train_scenes": "train0"},
        "SWORD: data/train0 cannot be read ([Errno 2] No such file or directory: 'data/train0'); data.train_scenes is "
        "a list of names or a text file with one name a line",
    ),
    "unknown names": (
        nothing,
        {"train_scenes": ("train0", "trian1", "train7")},
        "SWORD: data.train_scenes names 2 scenes that data/sorted_train.csv does not have, first: trian1 (the list "
        "begins with train0); correct the names",
    ),
    "a column is called otherwise": (
        replaced("data/sorted_train.csv", "views_path", "views"),
        {},
        "SWORD: data/sorted_train.csv has no column views_path; columns are "
        f"{_COLUMNS.replace('views_path', 'views')}: rename them or name another list",
    ),
    "no column of names, no p_10": (
        text(
            "data/sorted_train.csv",
            lambda content: content.replace("p_10", "p10").replace("scene_name", "scene"),
        ),
        {},
        "SWORD: data/sorted_train.csv has no column scene_name or scene_id, p_10; columns are "
        f"{_COLUMNS.replace('p_10', 'p10').replace('scene_name', 'scene')}: rename them or name another list",
    ),
    "an empty list": (
        text("data/sorted_train.csv", lambda content: ""),
        {},
        "SWORD: data/sorted_train.csv has no column scene_name or scene_id, images_path, views_path, p_10; columns are "
        "none: rename them or name another list",
    ),
    "a list without rows": (
        text("data/sorted_train.csv", lambda content: content.splitlines()[0]),
        {},
        "SWORD: data/sorted_train.csv has no rows below its header; get it again or name another list",
    ),
    "a column twice": (
        replaced("data/sorted_train.csv", "p_50", "p_10"),
        {},
        "SWORD: data/sorted_train.csv has the column p_10 twice; remove one of them",
    ),
    "a comma without quotes": (
        replaced("data/sorted_train.csv", "videos/train1", "videos/train,1"),
        {},
        f"{_SECOND}: found 10 fields, expected 9 as in the header; put quotes around fields with commas",
    ),
    "quotes that do not end": (
        replaced("data/sorted_train.csv", "videos/train1", '"videos/train1'),
        {},
        f"{_SECOND}: is no CSV (unexpected end of data); get the list again or remove the row",
    ),
    "a list that is no text": (
        lambda: Path("data/sorted_train.csv").write_bytes(b"\x80\x02}q\x00"),
        {},
        "SWORD: data/sorted_train.csv line 1: is no CSV ('utf-8' codec can't decode byte 0x80 in position 0: invalid "
        "start byte); get the list again or remove the row",
    ),
    "a scene without a name": (
        field(1, scene_name=" "),
        {},
        f"{_SECOND}: the scene has no name; give it one or remove the row",
    ),
    "a scene twice": (
        field(1, scene_name="train0"),
        {},
        f"{_SECOND}: the scene train0 comes a second time (first: 2); remove one of the rows",
    ),
    "no number": (
        field(0, p_50="far"),
        {},
        f"{_FIRST}: p_50 is 'far'; expected a depth: correct or remove the row",
    ),
    "NaN": (
        field(0, p_10="nan"),
        {},
        f"{_FIRST}: p_10 is 'nan'; expected a depth: correct or remove the row",
    ),
    "no depth": (
        field(0, p_10=""),
        {},
        f"{_FIRST}: p_10 is ''; expected a depth: correct or remove the row",
    ),
    "depth behind the camera": (
        field(0, p_1="-9", p_10="-1"),
        {},
        f"{_FIRST}: p_10 is '-1'; expected a depth: correct or remove the row",
    ),
    "percentiles out of order": (
        field(1, p_50="12"),
        {},
        f"{_SECOND}: its depth percentiles do not rise (p_1 = 18, p_10 = 20, p_50 = 12, p_90 = 60); see whether the "
        "columns are shifted",
    ),
    "an absolute path": (
        field(0, images_path="/mnt/videos/train0"),
        {},
        f"{_FIRST}: images_path is '/mnt/videos/train0'; expected a relative path that stays below data: correct it in "
        "the file",
    ),
    "an absolute path of Windows": (
        field(0, views_path="D:\\views\\train0.txt"),
        {},
        f"{_FIRST}: views_path is 'D:\\\\views\\\\train0.txt'; expected a relative path that stays below data: correct "
        "it in the file",
    ),
    "a path out of the root": (
        field(0, views_path="views/../../views/train0.txt"),
        {},
        f"{_FIRST}: views_path is 'views/../../views/train0.txt'; expected a relative path that stays below data: "
        "correct it in the file",
    ),
    "an empty path": (
        field(1, images_path=""),
        {},
        f"{_SECOND}: images_path is ''; expected a relative path that stays below data: correct it in the file",
    ),
    "small depths everywhere": (
        all_depths("2.5", "15"),
        {},
        "SWORD: all 2 scenes were dropped by p_10 > 15 (their range is 2.5..15); lower data.min_percentile_depth if "
        "data/sorted_train.csv is in other units",
    ),
    "small depths in validation": (
        nothing,
        {"val_min_percentile_depth": 30.0},
        "SWORD: all 1 scenes were dropped by p_10 > 30 (their range is 20..20); lower data.val_min_percentile_depth if "
        "data/sorted_val.csv is in other units",
    ),
    "a row of the camera file is short": (
        replaced("data/views/train1.txt", "000003 0.800000000 ", "000003 "),
        {},
        "SWORD: data/views/train1.txt line 5: expected 19 numbers, found 18; expected a name or time stamp, fx fy cx "
        "cy, two zeros and a 3 x 4 world-to-camera matrix",
    ),
    "a mirrored camera": (
        replaced("data/views/train1.txt", "1.000000000 0.000000000\n", "-1.000000000 0.000000000\n"),
        {},
        "SWORD: data/views/train1.txt line 2: columns 8 to 19 hold a mirrored rotation (determinant -1), expected +1; "
        "the axes must be x right, y down, z forward",
    ),
    "no point cloud": (
        nothing,
        {"use_points": True},
        "SWORD: train0: point cloud missing, needed because data.use_points is on; expected "
        "data/point_clouds/train0/points3D.bin or data/colmap/train0/points3D.bin: complete the data set or set "
        "data.use_points: false",
    ),
    "another scene's point cloud": (
        lambda: write_points(Path("data/colmap/train0/points3D.bin"), np.array([[0.0, 0, -5]])),
        {"use_points": True},
        "SWORD: train0: none of the 1 points of data/colmap/train0/points3D.bin is seen by a camera; it belongs to "
        "another reconstruction: get it again or set data.use_points: false",
    ),
    "no such copies": (
        lambda: write_pictures(Path("data/videos_36/train0"), 6, (36, 48)),
        {"images": 256},
        "SWORD: train0: has no pictures for data.images 256; there are full, 36: choose one of these, or null",
    ),
    "two files for a frame": (
        copied("data/videos/train0/000001.png", "data/videos/train0/000001.jpg"),
        {},
        "SWORD: train0: data/videos/train0 has 2 files for one frame, 000001.jpg and 000001.png; remove all but one",
    ),
    "pictures that are too small": (
        nothing,
        {"image_size": (64, 64)},
        "data/videos/train0/000000.png is 64x48 (width x height), smaller than data.image_size 64x64; lower "
        "data.image_size or set data.on_small: skip",
    ),
    "a first picture that is none": (
        lambda: Path("data/videos/train0/000000.png").write_bytes(b"<html>"),
        {},
        "data/videos/train0/000000.png: cannot be decoded (cannot identify image file "
        "'data/videos/train0/000000.png'); replace the damaged file or remove it",
    ),
    "turned pictures": (
        lambda: turn(Path("data/videos/train0/000000.png")),
        {},
        "data/videos/train0/000000.png: has the EXIF orientation 6, but its camera belongs to the pixels as stored, "
        "expected 1; remove the tag if the cameras were made from the stored pixels, else turn the pixels and make "
        "them anew",
    ),
    "nothing usable": (
        lambda: shutil.rmtree("data/videos"),
        {},
        "SWORD: found 0 usable train scenes under data: 2 without frames. First: train0. Expected "
        f"{_LAYOUT}. See docs/data/sword.md",
    ),
    "fewer than wanted": (
        lambda: shutil.rmtree("data/videos/train1"),
        {"min_items": 2},
        "SWORD: found 1 usable train scenes under data: 1 without frames. First: train1; data.min_items wants 2. "
        f"Expected {_LAYOUT}. See docs/data/sword.md",
    ),
    "a scale below 0": (
        nothing,
        {"scale_constant": 0.0},
        "data.scale_constant is 0; expected a depth above 0, in scene units",
    ),
    "a validation scale that is none": (
        nothing,
        {"val_scale_constant": float("nan")},
        "data.val_scale_constant is nan; expected a depth above 0, in scene units",
    ),
    "a negative least depth": (
        nothing,
        {"min_percentile_depth": -1.0},
        "data.min_percentile_depth is -1; expected a depth, or 0 to keep all scenes",
    ),
    "a negative short side": (
        nothing,
        {"images": 0},
        "data.images is 0; expected the short side of a copy in pixels, full or null",
    ),
}


def turn(file: Path) -> None:
    picture = Image.open(file)
    tags = picture.getexif()
    tags[0x0112] = 6
    picture.save(file, exif=tags)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_sentence(place: Path, mistake: str) -> None:
    spoil, options, sentence = MISTAKES[mistake]
    spoil()
    with pytest.raises(UserError) as caught:
        SWORD(**{"root": "data", "image_size": (32, 32), "seed": 0, **options}).check("fit")
    assert re.sub(r"\s+", " ", str(caught.value)) == sentence


def test_bad_scenes_may_be_left_out(place: Path) -> None:
    field(0, images_path="/mnt/videos/train0")()
    module = SWORD("data", image_size=(32, 32), on_bad_scene="skip")
    with pytest.warns(UserWarning, match="1 with unreadable cameras. First: train0"):
        assert module.survey("train").usable == ["train1"]
