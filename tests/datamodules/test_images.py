from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from repsynth.datamodules.images import (
    fit_image,
    fit_intrinsics,
    image_files,
    read_image,
    read_size,
    require_size,
)
from repsynth.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def save(path: Path, picture: Image.Image, orientation: int | None = None) -> Path:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    picture.save(path, exif=exif)
    return path


def test_rgb_is_read_as_it_is(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB), orientation=1)
    np.testing.assert_array_equal(read_image(path), RGB.transpose(2, 0, 1))
    assert read_size(path) == (6, 9)


def test_grey_palette_and_deep_grey_become_rgb(tmp_path: Path) -> None:
    grey = RGB[..., 0]
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    palette = Image.fromarray(RGB).quantize(256, dither=Image.Dither.NONE)
    assert (deep.mode, palette.mode) == ("I;16", "P")
    expected = np.repeat(grey[None], 3, axis=0)
    np.testing.assert_array_equal(read_image(save(tmp_path / "grey.png", Image.fromarray(grey))), expected)
    np.testing.assert_array_equal(read_image(save(tmp_path / "deep.png", deep)), expected)
    as_rgb = np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_image(save(tmp_path / "palette.png", palette)), as_rgb)


@pytest.mark.parametrize(("mode", "name"), [("RGBA", "a.png"), ("LA", "a.png"), ("CMYK", "a.jpg")])
def test_transparency_and_cmyk_only_on_request(tmp_path: Path, mode: str, name: str) -> None:
    path = save(tmp_path / name, Image.fromarray(RGB).convert(mode))
    with pytest.raises(
        UserError, match=rf"{name}: has the colour mode {mode}, expected RGB, .*convert_colours"
    ):
        read_image(path)
    assert read_image(path, convert=True).shape == (3, 6, 9)


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_is_transparency(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(RGB).convert(mode)
    picture.save(tmp_path / "a.png", transparency=(1, 2, 3) if mode == "RGB" else 0)
    with pytest.raises(
        UserError, match=rf"a.png: has the colour mode {mode} with transparency, expected RGB"
    ):
        read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png", convert=True), np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    )


@pytest.mark.parametrize("name", ["turned.png", "turned.jpg"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientation_is_an_error_where_cameras_belong_to_pixels(
    tmp_path: Path, orientation: int, name: str
) -> None:
    path = save(tmp_path / name, Image.fromarray(RGB), orientation)
    for read in (read_image, read_size):
        with pytest.raises(
            UserError, match=rf"{name}: has the EXIF orientation {orientation}, .* expected 1"
        ):
            read(path)
    # Where it is applied, Pillow's own function is the judge.
    from PIL import ImageOps

    upright = np.asarray(ImageOps.exif_transpose(Image.open(path))).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_image(path, posed=False), upright)
    assert read_size(path, posed=False) == upright.shape[1:]


def truncated(folder: Path, name: str) -> Path:
    path = save(
        folder / name, Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    )
    path.write_bytes(path.read_bytes()[:-400])
    return path


def text(folder: Path) -> Path:
    (folder / "text.jpg").write_text("not a picture")
    return folder / "text.jpg"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: truncated(folder, "a.jpg"), r"a.jpg: cannot be decoded \(.*truncated.*\); replace"),
        (lambda folder: truncated(folder, "a.png"), r"a.png: cannot be decoded \(.*truncated.*\); replace"),
        (text, r"text.jpg: cannot be decoded \(cannot identify image file"),
        (lambda folder: folder / "gone.png", r"gone.png: no such file; an image was expected here"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, make: Callable[[Path], Path], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read_image(make(tmp_path))
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_picture_that_is_too_small_is_named() -> None:
    require_size(Path("a.png"), (8, 8), (8, 8))
    with pytest.raises(
        UserError, match=r"a.png is 8x7 \(width x height\), smaller than data.image_size 8x8; lower"
    ):
        require_size(Path("a.png"), (7, 8), (8, 8))


def test_files_are_sorted_and_others_left_out(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.txt", ".hidden.png", "B.jpeg"):
        (tmp_path / name).touch()
    assert [path.name for path in image_files(tmp_path)] == ["B.jpeg", "a.png", "b.JPG"]


@pytest.mark.parametrize("size", [(16, 20), (13, 31), (48, 40)])
def test_resizing_is_antialiased_bilinear(size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (3, 48, 64), dtype=np.uint8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None].float(), size, mode="bilinear", antialias=True
    )[0]
    assert np.abs(fit_image(image, size, "stretch") - expected.numpy()).max() <= 1.01


@pytest.mark.parametrize("fit", ["stretch", "crop"])
@pytest.mark.parametrize("size", [(32, 32), (24, 48), (40, 20), (33, 31)])
def test_intrinsics_follow_the_pixels(fit: str, size: tuple[int, int]) -> None:
    # A picture whose colours name the direction of each pixel.
    height, width = 96, 128
    intrinsics = np.array([[0.9, 0, 0.47], [0, 1.2, 0.55], [0, 0, 1]])
    u, v = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    x, y = (u - 0.47) / 0.9, (v - 0.55) / 1.2
    picture = np.stack([x + 1, y + 1, np.ones_like(x)]) * 100
    fitted = fit_image(picture.round().astype(np.uint8), size, fit).astype(float)  # type: ignore[arg-type]
    changed = fit_intrinsics(intrinsics, (height, width), size, fit)  # type: ignore[arg-type]
    u, v = np.meshgrid((np.arange(size[1]) + 0.5) / size[1], (np.arange(size[0]) + 0.5) / size[0])
    inner = (slice(3, -3), slice(3, -3))  # resizing blurs the border
    x, y = (u - changed[0, 2]) / changed[0, 0], (v - changed[1, 2]) / changed[1, 1]
    assert np.abs(fitted[0] / 100 - 1 - x)[inner].max() < 0.02
    assert np.abs(fitted[1] / 100 - 1 - y)[inner].max() < 0.02
