from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from repsynth.batches import Photo
from repsynth.datamodules.photo_files import PhotoFiles
from repsynth.datamodules.photo_reading import look_at, read_photo
from repsynth.errors import UserError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def save(path: Path, picture: np.ndarray | Image.Image = PIXELS, **options: Any) -> Path:  # noqa: ANN401
    path.parent.mkdir(parents=True, exist_ok=True)
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
    return path


def truncated(path: Path, share: float = 0.6) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def planes(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(2, 0, 1)


def test_colours_and_transparency(tmp_path: Path) -> None:
    alpha = RNG.integers(0, 256, (40, 60), dtype=np.uint8)
    photo = read_photo(save(tmp_path / "a.png", np.dstack((PIXELS, alpha))))
    np.testing.assert_array_equal(photo.pixels, planes(PIXELS))
    assert photo.alpha is not None and photo.pixels.flags.c_contiguous
    np.testing.assert_array_equal(photo.alpha, alpha)
    plain = read_photo(save(tmp_path / "b.png"))
    np.testing.assert_array_equal(plain.pixels, planes(PIXELS))
    assert plain.alpha is None and plain.exif == b"" and plain.profile == b""


def test_grey_with_transparency(tmp_path: Path) -> None:
    pair = RNG.integers(0, 256, (40, 60, 2), dtype=np.uint8)
    photo = read_photo(save(tmp_path / "a.png", Image.fromarray(pair, "LA")))
    np.testing.assert_array_equal(photo.pixels, pair[None, ..., 0].repeat(3, 0))
    np.testing.assert_array_equal(photo.alpha, pair[..., 1])


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    indices = Image.fromarray(RNG.integers(0, 3, (10, 12), dtype=np.uint8), "P")
    indices.putpalette([255, 0, 0, 0, 255, 0, 10, 20, 30])
    photo = read_photo(save(tmp_path / "a.png", indices, transparency=1))
    which = np.asarray(indices)
    np.testing.assert_array_equal(photo.alpha, np.where(which == 1, 0, 255))
    expected = np.array([[255, 0, 0], [0, 255, 0], [10, 20, 30]], np.uint8)[which]
    np.testing.assert_array_equal(photo.pixels, planes(expected))


def test_sixteen_bits_of_grey_are_rounded(tmp_path: Path) -> None:
    levels = RNG.integers(0, 65536, (20, 30), dtype=np.uint16)
    photo = read_photo(save(tmp_path / "a.png", levels))
    expected = np.round(levels / 65535 * 255).astype(np.uint8)
    np.testing.assert_array_equal(photo.pixels, expected[None].repeat(3, 0))


def test_sixteen_bits_of_colour(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    levels = RNG.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    assert cv2.imwrite(str(tmp_path / "a.png"), levels[..., ::-1])
    expected = levels / 65535 * 255
    assert np.abs(read_photo(tmp_path / "a.png").pixels - planes(expected)).max() <= 1


def test_cmyk(tmp_path: Path) -> None:
    inks = np.kron(RNG.integers(0, 256, (3, 4, 4)), np.ones((16, 16, 1))).astype(np.uint8)
    path = save(tmp_path / "a.jpg", Image.fromarray(inks, "CMYK"), quality=100, subsampling=0)
    wide = inks.astype(float)
    expected = (255 - wide[..., :3]) * (255 - wide[..., 3:]) / 255
    assert np.abs(read_photo(path).pixels - planes(expected)).max() <= 4


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_orientation_is_applied_and_all_other_exif_kept(turn: int, suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    exif[ExifTags.Base.Make] = "Camera"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] = 400
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    corner = np.zeros((32, 64, 3), np.uint8)
    corner[:16, :16] = 255  # the first rows and columns as they are stored
    lossless = {"lossless": True} if suffix == ".webp" else {}
    path = save(tmp_path / f"a{suffix}", corner, exif=exif, icc_profile=SRGB, **lossless)
    photo = read_photo(path)
    # Where the EXIF standard says that stored row 0 and column 0 are.
    top, left = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[turn]
    height, width = (64, 32) if turn >= 5 else (32, 64)
    assert photo.pixels.shape == (3, height, width) and look_at(path) == (height, width)
    assert photo.pixels[:, top * (height - 12) :, left * (width - 12) :][:, :12, :12].min() > 240
    assert photo.pixels.astype(int).sum() == pytest.approx(3 * 255 * 16 * 16, rel=0.05)
    kept = Image.Exif()
    kept.load(photo.exif)
    assert ExifTags.Base.Orientation not in kept
    assert kept[ExifTags.Base.Make] == "Camera"
    assert kept.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] == 400
    assert kept.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    assert photo.profile == SRGB


def test_the_old_thumbnail_is_left_behind(tmp_path: Path) -> None:
    content = save(tmp_path / "thumb.jpg", PIXELS[:8, :8]).read_bytes()
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    first = exif.get_ifd(ExifTags.IFD.IFD1)
    first[ExifTags.Base.JpegIFOffset], first[ExifTags.Base.JpegIFByteCount] = 0, len(content)
    path = save(tmp_path / "a.jpg", exif=exif)
    kept = Image.Exif()
    kept.load(read_photo(path).exif)
    assert not kept.get_ifd(ExifTags.IFD.IFD1)


def test_damaged_exif_costs_the_exif_only(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\xff\0\0\xff\xff\0\0")
    photo = read_photo(path)
    assert photo.pixels.shape == (3, 40, 60)


def test_a_profile_of_greys_does_not_stay_with_colours(tmp_path: Path) -> None:
    profile = bytearray(SRGB)
    profile[16:20] = b"GRAY"
    path = save(tmp_path / "a.png", PIXELS[..., 0], icc_profile=bytes(profile))
    with pytest.warns(UserWarning, match=r"a\.png: its colour profile is not used"):
        photo = read_photo(path)
    assert photo.profile == b""
    np.testing.assert_array_equal(photo.pixels, PIXELS[None, ..., 0].repeat(3, 0))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_truncated_file_is_found_before_it_is_used(suffix: str, tmp_path: Path) -> None:
    path = truncated(save(tmp_path / f"a{suffix}"))
    with pytest.raises(
        UserError, match=rf"a\{suffix}: cannot be decoded \(.*\); replace the damaged file or remove"
    ):
        look_at(path)


def test_what_follows_the_end_of_a_picture_does_not_matter(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes() + b"maker's data")
    assert look_at(path) == (40, 60)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_modes_of_no_photograph(mode: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.tiff", Image.new(mode, (4, 4)))
    with pytest.raises(
        UserError, match=rf"a.tiff: has the colour mode {mode}, expected RGB, grey, palette or CMYK"
    ):
        read_photo(path)


# The data module.


def photo_files(root: Path, **options: Any) -> PhotoFiles:  # noqa: ANN401
    return PhotoFiles(**{"content": str(root / "content"), **options})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save(tmp_path / "content" / "b.JPG", PIXELS)
    save(tmp_path / "content" / "a b.png", PIXELS[:7])
    (tmp_path / "content" / "notes.txt").write_text("no picture")
    (tmp_path / "content" / ".hidden.png").write_text("no picture")
    save(tmp_path / "style" / "evening.webp")
    return tmp_path


def test_batches_are_photographs_of_their_own_sizes(root: Path) -> None:
    data = photo_files(root, style=str(root / "style" / "evening.webp"), eval_batch_size=2)
    data.check("predict")
    (batch,) = data.predict_dataloader()
    batch = data.on_after_batch_transfer(batch, 0)
    assert batch["ids"] == ["a b", "b"] and batch["complaints"] == []
    assert [photo.pixels.shape for photo in batch["photos"]] == [(3, 7, 60), (3, 40, 60)]
    assert batch["photos"][0].pixels.dtype == np.uint8
    assert list(data.sizes.values()) == [(7, 60), (40, 60)]
    assert data.describe("predict") == {"photographs": 2, "style photographs": 1}
    assert [photo.shape for photo in data.style_photos()] == [(3, 40, 60)]


def test_files_and_folders_in_a_list_each_once(root: Path) -> None:
    one = str(root / "content" / "b.JPG")
    data = PhotoFiles([one, str(root / "content"), one])
    assert [path.name for path in data.sizes] == ["b.JPG", "a b.png"]


def test_names_of_style_photographs_together(root: Path) -> None:
    assert photo_files(root, style=str(root / "style")).style_name == "style"
    assert photo_files(root, style=[str(root / "style")] * 2).style_name == "mean"


def test_bad_photographs_are_all_found_before_anything_is_made(root: Path) -> None:
    truncated(save(root / "content" / "c.jpg"))
    (root / "content" / "d.png").write_bytes(b"")
    with pytest.raises(
        UserError,
        match=r"2 of 4 photographs cannot be used: .*c\.jpg: .*; .*d\.png: .* \(data\.on_bad_photo: skip",
    ):
        photo_files(root).check("predict")


def test_of_many_bad_photographs_three_are_told(root: Path) -> None:
    for number in range(5):
        (root / "content" / f"x{number}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"5 of 7 photographs cannot be used: .*x2\.png.*; and 2 more"):
        photo_files(root).check("predict")


def test_skipped_photographs_are_an_error_at_the_end(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truncated(save(root / "content" / "c.jpg"))
    data = photo_files(root, on_bad_photo="skip", eval_batch_size=3)
    data.check("predict")
    assert "left out (data.on_bad_photo: skip): " in capsys.readouterr().err
    truncated(root / "content" / "b.JPG")  # after it was looked at
    (batch,) = data.predict_dataloader()
    batch = data.on_after_batch_transfer(batch, 0)
    assert batch["ids"] == ["a b"] and len(batch["complaints"]) == 1
    with pytest.raises(
        UserError, match=r"2 of 3 photographs cannot be used: .*c\.jpg.*b\.JPG.*; predictions of all"
    ):
        data.teardown("predict")
    data.teardown("predict")  # said once


def test_without_permission_a_late_failure_stops(root: Path) -> None:
    data = photo_files(root)
    data.check("predict")
    truncated(root / "content" / "b.JPG")
    with pytest.raises(UserError, match=r"b\.JPG: cannot be decoded"):
        list(data.predict_dataloader())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"content": "none"},
            r"none: no such file or folder \(option data\.content\); a photograph was expected",
        ),
        ({"content": []}, r"data\.content is empty; expected a photograph, a folder of them, or a list"),
        ({"style": "none"}, r"none: no such file or folder \(option data\.style\)"),
        (
            {"content": "empty"},
            r"empty: holds no photograph \(option data\.content\), and what is below it is not",
        ),
        ({"style": "broken"}, r"1 of 1 photographs cannot be used: .*x\.png"),
        ({"content": "broken", "on_bad_photo": "skip"}, r"1 of 1 photographs cannot be used: .*x\.png"),
    ],
)
def test_mistakes(
    options: dict[str, Any], sentence: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    (root / "empty" / "below").mkdir(parents=True)
    (root / "broken").mkdir()
    (root / "broken" / "x.png").write_bytes(b"GIF")
    with pytest.raises(UserError, match=sentence):
        photo_files(root, **options).check("predict")


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_it_is_for_predict_only(stage: str, root: Path) -> None:
    with pytest.raises(UserError, match=rf"PhotoFiles is for predict and gives nothing to {stage}"):
        photo_files(root).check(stage)


def test_a_photo_is_more_than_its_pixels() -> None:
    assert Photo(Path("a.png"), planes(PIXELS)).alpha is None
