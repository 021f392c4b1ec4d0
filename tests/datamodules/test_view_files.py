from pathlib import Path

import numpy as np
import pytest

from repsynth.datamodules.view_files import read_views, rising, video_id
from repsynth.datamodules.views import camera_centres
from repsynth.errors import UserError
from tests.datamodules.clip_folder import address, row, times, write_cameras

_TURNED = "0.36 0.48 -0.8 1.25 -0.8 0.6 0 -2.5 0.48 0.64 0.6 3.75"
"""A rotation and a translation, row by row."""


def file_of(tmp_path: Path, *lines: str, end: str = "\n") -> Path:
    path = tmp_path / "clip.txt"
    path.write_bytes(end.join([address("film"), *lines, ""]).encode())
    return path


def test_a_row_is_a_world_to_camera_matrix_with_opencv_axes_and_relative_intrinsics(tmp_path: Path) -> None:
    path = file_of(tmp_path, f"158692025 0.47 0.84 0.5 0.25 0 0 {_TURNED}", row(158725391, 1))
    views = read_views(path, "RealEstate10K", times=True)
    assert views.head == "https://www.youtube.com/watch?v=film" and views.names == ["158692025", "158725391"]
    assert views.times.tolist() == [158692025, 158725391] and views.rows.tolist() == [0, 1]
    np.testing.assert_array_equal(views.intrinsics[0], [[0.47, 0, 0.5], [0, 0.84, 0.25], [0, 0, 1]])
    matrix = np.array(_TURNED.split(), dtype=float).reshape(3, 4)
    np.testing.assert_array_equal(views.extrinsics[0], [*matrix, [0, 0, 0, 1]])
    # The camera sees its own centre, -R^T t, at its origin.
    centre = camera_centres(views.extrinsics)[0]
    np.testing.assert_allclose(views.extrinsics[0] @ [*centre, 1], [0, 0, 0, 1], atol=1e-12)


def test_the_real_samples_parse_thinned_as_they_are(shared_dir: Path) -> None:
    files = sorted((shared_dir / "data" / "realestate10k" / "cameras").glob("*.txt"))
    assert len(files) == 3
    for path in files:
        views = read_views(path, "RealEstate10K", times=True)
        assert len(views.times) == 16 and views.repeated == 0
        # Every 5th to 9th frame, which is no reason to refuse or to cut.
        assert 160_000 < np.diff(views.times).min() <= np.diff(views.times).max() < 310_000
        # The aspect ratio of the video is that of the focal lengths.
        np.testing.assert_allclose(views.intrinsics[:, 1, 1] / views.intrinsics[:, 0, 0], 16 / 9, rtol=1e-3)
        lines = path.read_text().splitlines()
        np.testing.assert_array_equal(
            views.extrinsics[-1, :3].ravel(), [float(cell) for cell in lines[-1].split()[7:]]
        )
        assert video_id(views.head) == lines[0].partition("=")[2]


def test_a_file_in_the_layout_of_sword_parses_with_names_as_text(shared_dir: Path) -> None:
    views = read_views(shared_dir / "data" / "sword_layout" / "views" / "fern.txt", "SWORD")
    assert views.head == "# fern" and views.names[:3] == ["000000", "000033", "000066"]
    assert len(views.times) == 0 and len(views.extrinsics) == 20


def test_quick_and_slow_numbers_agree(tmp_path: Path) -> None:
    quick = write_cameras(tmp_path / "quick.txt", times(7))
    rows = quick.read_text().splitlines()
    (tmp_path / "slow.txt").write_text(
        "\n".join([rows[0], *(line.replace(" ", "  ") for line in rows[1:]), ""])
    )
    for name in ("extrinsics", "intrinsics", "times"):
        first, second = (
            getattr(read_views(tmp_path / f"{kind}.txt", "R", times=True), name) for kind in ("quick", "slow")
        )
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_last_row_is_not_lost_without_a_final_newline(tmp_path: Path, end: str) -> None:
    path = file_of(tmp_path, *(row(time, 0.1) for time in times(5)), end=end)
    whole = path.read_bytes()
    for content in (whole, whole.rstrip(), b"\xef\xbb\xbf" + whole, whole + end.encode() * 2):
        path.write_bytes(content)
        views = read_views(path, "RealEstate10K", times=True)
        assert len(views.names) == 5 and views.head == address("film")


def test_comment_lines_are_no_rows_and_lines_are_counted_with_them(tmp_path: Path) -> None:
    path = file_of(tmp_path, "# made by a tool", row(1000, 0), "", "#", row(2000, 1))
    assert read_views(path, "RealEstate10K", times=True).rows.tolist() == [0, 1]
    path.write_text("\n".join(["# made", "# by a tool", address("film"), row(1000, 0)]))
    views = read_views(path, "RealEstate10K", times=True)
    assert views.head == address("film") and views.times.tolist() == [1000]
    path = file_of(tmp_path, "# made by a tool", row(1000, 0), "", "#", row("2000.5", 1))
    with pytest.raises(UserError, match=r"clip\.txt line 6: the time stamp is '2000\.5'"):
        read_views(path, "RealEstate10K", times=True)


def test_repeated_time_stamps_keep_the_first_and_are_counted(tmp_path: Path) -> None:
    stamps = [1000, 2000, 2000, 1500, 3000, 3000]
    path = file_of(tmp_path, *(row(time, number) for number, time in enumerate(stamps)))
    views = read_views(path, "RealEstate10K", times=True)
    assert views.times.tolist() == [1000, 2000, 3000] and views.rows.tolist() == [0, 1, 4]
    assert views.names == ["1000", "2000", "3000"] and views.repeated == 3
    np.testing.assert_array_equal(camera_centres(views.extrinsics)[:, 0], [0, 1, 4])
    # Names that are no times may come in any order, but only once.
    views = read_views(path, "SWORD")
    assert views.names == ["1000", "2000", "1500", "3000"] and views.rows.tolist() == [0, 1, 3, 4]
    assert views.repeated == 2


def test_rising_keeps_what_is_later_than_all_before() -> None:
    assert rising(np.array([5, 5, 3, 6, 4, 6, 7])).tolist() == [0, 3, 6]
    assert rising(np.array([], dtype=np.int64)).tolist() == []


@pytest.mark.parametrize("lens", ["0 0", "1280 720", "640.000000000 360.000000000"])
def test_a_resolution_in_the_distortion_columns_is_accepted(tmp_path: Path, lens: str) -> None:
    views = read_views(file_of(tmp_path, row(1000, 0, lens=lens)), "RealEstate10K", times=True)
    np.testing.assert_array_equal(views.intrinsics[0, :2, 2], [0.5, 0.5])


@pytest.mark.parametrize(
    ("text", "video"),
    [
        ("https://www.youtube.com/watch?v=QShWPZxTDoE", "QShWPZxTDoE"),
        ("https://www.youtube.com/watch?list=ab&v=_ca03xP-KUU&t=5", "_ca03xP-KUU"),
        ("https://youtu.be/QShWPZxTDoE?t=3", "QShWPZxTDoE"),
        ("# https://www.youtube.com/watch?v=none-llff-fern", "none-llff-fern"),
        ("kitchen_03", "kitchen_03"),
        ("made by a tool", None),
        ("https://", None),
        ("", None),
    ],
)
def test_the_video_is_the_id_in_the_address(text: str, video: str | None) -> None:
    assert video_id(text) == video


WRONG: dict[str, tuple[list[str], str]] = {
    "too few": (
        [row(1000, 0), row(2000, 0)[:-12]],
        " line 3: expected 19 numbers, found 18; expected a name or time stamp, fx fy cx cy, two zeros and a 3 x 4 "
        "world-to-camera matrix",
    ),
    "too many": (
        [row(1000, 0) + " 0.000000000"],
        " line 2: expected 19 numbers, found 20; expected a name or time stamp, fx fy cx cy, two zeros and a 3 x 4 "
        "world-to-camera matrix",
    ),
    "one too few, one too many": (
        [row(1000, 0) + " 0.500000000", row(2000, 0)[:-12]],
        " line 2: expected 19 numbers, found 20; expected a name or time stamp, fx fy cx cy, two zeros and a 3 x 4 "
        "world-to-camera matrix",
    ),
    "no number": (
        [row(1000, 0).replace("0.500000000", "half")],
        " line 2: column 4 is 'half', not a number; expected a name or time stamp, fx fy cx cy, two zeros and a 3 x 4 "
        "world-to-camera matrix",
    ),
    "grouped digits": (
        [row(1000, 0).replace("0.500000000", "0.5_0")],
        " line 2: column 4 is '0.5_0', not a number; expected a name or time stamp, fx fy cx cy, two zeros and a 3 x 4 "
        "world-to-camera matrix",
    ),
    "nan": (
        [row(1000, 0), row(2000, -1).replace(f"{1:.9f} {0:.9f} {0:.9f} {1:.9f}", "1 0 0 nan", 1)],
        " line 3: column 11 is nan; expected finite numbers: correct the row or remove the file",
    ),
    "infinite": (
        [row(1000, 0, focal=(float("inf"), 1))],
        " line 2: column 2 is inf; expected finite numbers: correct the row or remove the file",
    ),
    "distortion": (
        [row(1000, 0, lens="0.02 -0.01")],
        " line 2: columns 6 and 7 (lens distortion) are 0.02 and -0.01, expected 0; undistort the pictures, or see "
        "whether the columns are shifted by one",
    ),
    "half a resolution": (
        [row(1000, 0, lens="1280 0")],
        " line 2: columns 6 and 7 (lens distortion) are 1280 and 0, expected 0; undistort the pictures, or see whether "
        "the columns are shifted by one",
    ),
    "matrix one column early": (
        [f"1000 0.8 1 0.5 0.5 0 {_TURNED} 7"],
        " line 2: columns 6 and 7 (lens distortion) are 0 and 0.36, expected 0; undistort the pictures, or see whether "
        "the columns are shifted by one",
    ),
    "matrix one column late": (
        [f"1000 0.8 1 0.5 0.5 0 0 0 {_TURNED}".rsplit(" ", 1)[0]],
        " line 2: columns 8 to 19 hold no rotation: R R^T is off the identity by up to 5.9, expected at most 0.001; "
        "see whether the columns are shifted by one, or the matrix has a scale",
    ),
    "scaled": (
        [f"1000 0.8 1 0.5 0.5 0 0 {'2 0 0 0 0 2 0 0 0 0 2 0'}"],
        " line 2: columns 8 to 19 hold no rotation: R R^T is off the identity by up to 3, expected at most 0.001; "
        "see whether the columns are shifted by one, or the matrix has a scale",
    ),
    "mirrored": (
        [row(1000, 0), f"2000 0.8 1 0.5 0.5 0 0 {'1 0 0 0 0 1 0 0 0 0 -1 0'}"],
        " line 3: columns 8 to 19 hold a mirrored rotation (determinant -1), expected +1; the axes must be x right, "
        "y down, z forward",
    ),
    "focal length": (
        [row(1000, 0, focal=(0.8, -1))],
        " line 2: fx and fy are 0.8 and -1; expected focal lengths above 0, as fractions of width and height",
    ),
    "time stamp": (
        [row("-5", 0)],
        " line 2: the time stamp is '-5'; expected whole microseconds from the start of the video",
    ),
    "only an address": ([], " has no rows below line 1; get it again or remove it"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_row_is_told_with_file_and_line(tmp_path: Path, name: str) -> None:
    lines, sentence = WRONG[name]
    path = file_of(tmp_path, *lines)
    with pytest.raises(UserError) as caught:
        read_views(path, "RealEstate10K", times=True)
    assert str(caught.value) == f"RealEstate10K: {path}{sentence}"


def test_a_file_without_an_address_does_not_lose_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "clip.txt"
    path.write_text(f"{row(1000, 0)}\n{row(2000, 0)}\n")
    with pytest.raises(UserError) as caught:
        read_views(path, "RealEstate10K", times=True)
    assert str(caught.value) == (
        f"RealEstate10K: {path} line 1: found 19 numbers where the address of the video (or another header) is "
        "expected; put one above them, or the first view would be lost"
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", " is empty; expected a camera file: get it again or remove it"),
        (b"\n\n", " is empty; expected a camera file: get it again or remove it"),
        (b"\x80\x02", " is not a text file (byte 0); expected a camera file: get it again or remove it"),
        (None, " cannot be read (No such file or directory); expected a camera file"),
    ],
)
def test_files_that_hold_no_cameras(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "clip.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_views(path, "RealEstate10K", times=True)
    assert str(caught.value) == f"RealEstate10K: {path}{sentence}"
