"""The short way through Pillow gives Pillow's pixels, and leaves what is not ordinary to `Image.open`."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

from repsynth.datamodules.images import read_image
from repsynth.datamodules.plain_jpeg import read_plain_jpeg
from repsynth.errors import UserError

PHOTOGRAPH = Image.fromarray(data.astronaut()).resize((130, 70))


def written(path: Path, picture: Image.Image = PHOTOGRAPH, **options: Any) -> Path:  # noqa: ANN401
    picture.save(path, **options)
    return path


def by_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).transpose(2, 0, 1)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize(
    "options",
    [
        {"quality": 40},
        {"quality": 98, "optimize": True},
        {"comment": b"cut from a video", "dpi": (72, 72)},
        {"icc_profile": b"a profile" * 900},
        {"restart_marker_rows": 1},
    ],
)
def test_plain_files_have_pillow_s_pixels(
    tmp_path: Path, subsampling: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.JPG", subsampling=subsampling, **options)
    expected = by_pillow(path)
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("took the long way"))
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(read_image(io.BytesIO(path.read_bytes())), expected)  # type: ignore[arg-type]


def odd_files(folder: Path) -> dict[str, Path]:
    exif = Image.Exif()
    exif[0x0112] = 1
    cmyk = PHOTOGRAPH.convert("CMYK")
    renamed = written(folder / "renamed.png")
    renamed.rename(folder / "renamed.jpg")
    return {
        "grey": written(folder / "grey.jpg", PHOTOGRAPH.convert("L")),
        "progressive": written(folder / "progressive.jpg", progressive=True),
        "with EXIF": written(folder / "exif.jpg", exif=exif),
        "CMYK": written(folder / "cmyk.jpg", cmyk),
        "PNG": written(folder / "a.png"),
        "PNG by another name": folder / "renamed.jpg",
    }


def test_other_files_go_the_long_way_and_are_read_all_the_same(tmp_path: Path) -> None:
    for kind, path in odd_files(tmp_path).items():
        assert read_plain_jpeg(path) is None, kind
        np.testing.assert_array_equal(read_image(path, convert=True), by_pillow(path))


def test_an_orientation_in_any_segment_is_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    for options in ({"exif": exif}, {"xmp": xmp}):
        path = written(tmp_path / "a.jpg", **options)
        with pytest.raises(UserError, match=r"a\.jpg: has the EXIF orientation 6"):
            read_image(path)


@pytest.mark.parametrize("kept", [1, 2, 10, 30, 300, 700, -1000, -100, -3, -1])
def test_a_file_that_was_cut_short_is_never_read(tmp_path: Path, kept: int) -> None:
    whole = written(tmp_path / "whole.jpg", quality=95).read_bytes()
    assert len(whole) > 5000
    path = tmp_path / "cut.jpg"
    path.write_bytes(whole[:kept])
    try:
        expected = by_pillow(path)
    except OSError:
        with pytest.raises(UserError, match=r"cut\.jpg: cannot be decoded \("):
            read_image(path)
    else:  # only the mark of the end is missing
        np.testing.assert_array_equal(read_image(path), expected)


def test_pixels_go_where_they_are_wanted_if_they_fit(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jpg")
    room = np.zeros((2, 3, 70, 130), dtype=np.uint8)
    assert np.shares_memory(read_image(path, out=room[1]), room)
    np.testing.assert_array_equal(room[1], by_pillow(path))
    assert not room[0].any()
    other = np.zeros((3, 70, 129), dtype=np.uint8)
    np.testing.assert_array_equal(read_image(path, out=other), by_pillow(path))
    assert not other.any()


def test_pictures_do_not_share_memory_and_threads_do_not_share_canvases(tmp_path: Path) -> None:
    pictures = [PHOTOGRAPH, PHOTOGRAPH.transpose(Image.Transpose.ROTATE_180), PHOTOGRAPH.resize((64, 200))]
    paths = [written(tmp_path / f"{number}.jpg", picture) for number, picture in enumerate(pictures)]
    expected = [by_pillow(path) for path in paths]
    found = [read_plain_jpeg(path) for path in paths]  # all are kept
    with ThreadPoolExecutor(4) as pool:
        found += pool.map(read_plain_jpeg, paths * 40)
    for number, planes in enumerate(found):
        assert planes is not None
        np.testing.assert_array_equal(planes, expected[number % 3])


def test_a_size_that_pillow_warns_of_goes_the_long_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.jpg")
    assert read_plain_jpeg(path) is not None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_plain_jpeg(path) is None


@pytest.mark.parametrize("side", [1, 2, 7, 64])
def test_planes_are_exact_for_every_shape(tmp_path: Path, side: int) -> None:
    pixels = np.random.default_rng(side).integers(0, 256, (side, 2 * side + 1, 3), dtype=np.uint8)
    path = written(tmp_path / "a.png", Image.fromarray(pixels))
    found = read_image(path)
    assert found.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(found, pixels.transpose(2, 0, 1))
