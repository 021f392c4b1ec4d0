from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms

from repsynth.batches import Photo
from repsynth.exports.photo_files import PhotoFile, write_photo
from repsynth.exports.prediction import MadeFrames, Prediction, checked
from repsynth.exports.samples import write_sample

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PICTURE = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 30, 50), dtype=np.uint8))


def exif_with(**tags: int | str) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    for name, value in tags.items():
        inner = exif.get_ifd(ExifTags.IFD.Exif) if name.startswith("Exif") else exif
        inner[ExifTags.Base[name]] = value
    return exif.tobytes()


def like(**parts: object) -> Photo:
    return Photo(Path("photo.jpg"), np.zeros((3, 60, 100), np.uint8), **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp"])
def test_exif_and_profile_go_along(suffix: str, tmp_path: Path) -> None:
    exif = exif_with(ImageWidth=100, ExifImageWidth=100, ExifImageHeight=60)
    path = write_photo(
        PICTURE, tmp_path / "new", PhotoFile(f"a photo (1){suffix}", like(exif=exif, profile=SRGB))
    )
    assert path == tmp_path / "new" / f"a photo (1){suffix}"
    with Image.open(path) as found:
        tags = found.getexif()
        assert found.size == (50, 30) and found.info["icc_profile"] == SRGB
        assert tags[ExifTags.Base.Make] == "Camera" and tags[ExifTags.Base.ImageWidth] == 50
        inner = tags.get_ifd(ExifTags.IFD.Exif)
        assert inner[ExifTags.Base.ExifImageWidth] == 50 and inner[ExifTags.Base.ExifImageHeight] == 30
        assert ExifTags.Base.ImageLength not in tags
        found.load()


def test_png_keeps_every_level_and_jpeg_comes_close(tmp_path: Path) -> None:
    smooth = torch.arange(3 * 30 * 50).reshape(3, 30, 50).div(4500).mul(255).byte()
    for name, largest in (("a.png", 0), ("a.jpg", 8)):
        path = write_photo(smooth, tmp_path, PhotoFile(name, like(), quality=100))
        found = np.asarray(Image.open(path)).transpose(2, 0, 1)
        assert np.abs(found.astype(int) - smooth.numpy()).max() <= largest
    unit = write_photo(smooth.double().div(255), tmp_path, PhotoFile("b.png", like()))
    np.testing.assert_array_equal(np.asarray(Image.open(unit)).transpose(2, 0, 1), smooth.numpy())


def test_transparency(tmp_path: Path) -> None:
    alpha = np.zeros((60, 100), np.uint8)
    alpha[:, :50] = 255
    photo = like(alpha=alpha)
    found = np.asarray(Image.open(write_photo(PICTURE, tmp_path, PhotoFile("a.png", photo))))
    assert found.shape == (30, 50, 4)
    np.testing.assert_array_equal(found[..., :3].transpose(2, 0, 1), PICTURE.numpy())
    assert (found[:, :23, 3] == 255).all() and (found[:, 27:, 3] == 0).all()
    flat = np.asarray(Image.open(write_photo(PICTURE, tmp_path, PhotoFile("a.jpg", photo, quality=100))))
    assert (flat[:, 33:] >= 250).all()
    assert (
        np.abs(flat[:, :20].astype(int).mean((0, 1)) - PICTURE[:, :, :20].float().mean((1, 2)).numpy()).max()
        < 5
    )


def test_more_exif_than_a_jpeg_file_holds(tmp_path: Path) -> None:
    long = exif_with(ImageDescription="x" * 70_000)
    with pytest.warns(UserWarning, match=r"photo\.jpg: its EXIF has \d+ bytes, more than a JPEG file holds"):
        path = write_photo(PICTURE, tmp_path, PhotoFile("a.jpg", like(exif=long)))
    assert not Image.open(path).getexif()
    assert Image.open(write_photo(PICTURE, tmp_path, PhotoFile("a.png", like(exif=long)))).getexif()


def test_a_sample_with_a_file_of_its_own(tmp_path: Path) -> None:
    prediction: Prediction = {
        "ids": ["1", "2"],
        "frames": [[PICTURE], [PICTURE, PICTURE]],
        "files": [PhotoFile("a b.png", like()), PhotoFile("a.b c.mp4", like())],
    }
    assert write_sample(prediction, 0, tmp_path, fps=25) == [tmp_path / "a b.png"]
    assert write_sample(prediction, 1, tmp_path, fps=25) == [tmp_path / "a.b c.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b.png", "a.b c.mp4"]


def test_frames_are_made_one_at_a_time_when_they_are_written(tmp_path: Path) -> None:
    made = []

    def frames() -> object:
        for number in range(3):
            made.append(number)
            yield PICTURE

    sequence = MadeFrames(3, frames)  # type: ignore[arg-type]
    prediction: Prediction = {"ids": ["video"], "frames": [sequence]}
    assert checked(prediction, "Method") is prediction
    assert made == [] and len(sequence) == 3
    assert torch.equal(sequence[1], PICTURE) and made == [0, 1]
    assert write_sample(prediction, 0, tmp_path, fps=25) == [tmp_path / "video.mp4"]
    assert made == [0, 1, 0, 1, 2]
