"""Photographs of every kind become what a computation from their numbers says, or one sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms
from torch.nn import functional as F

from repsynth.datamodules.photo_files import PhotoFiles
from repsynth.errors import UserError
from repsynth.modules.hidt.options import PhotoOptions
from repsynth.modules.hidt.relighting.options import FileOptions, StyleOptions

from ..tiny import photo, tiny_generator
from .helpers import options, pixels_of, run, save, written

DAY = StyleOptions("named", file="released", names=("day",))
STYLE = torch.tensor([[-0.24035, 0.49497, 0.22636]])
COLOURS = photo(37, 53).transpose(1, 2, 0)
ALPHA = np.tile(np.linspace(0, 255, 53).astype(np.uint8), (37, 1))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def expected(colours: np.ndarray) -> np.ndarray:
    """The translation of [H, W, 3] 8-bit colours at a shorter side of 32, at their own size, [H, W, 3]."""
    height, width = colours.shape[:2]
    scale = 32 / min(height, width)
    between = [32 if side == min(height, width) else int(side * scale) for side in (height, width)]
    rounded = [max(round(side / 16), 1) * 16 for side in between]
    seen = Image.fromarray(colours)
    for size in (between, rounded):
        seen = seen.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    images = torch.from_numpy(np.array(seen)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        made = (tiny_generator()(images, STYLE).images + 1) / 2
    large = F.interpolate(made, (height, width), mode="bicubic", antialias=True)
    return (large[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def odd_sized(path: Path) -> np.ndarray:
    save(COLOURS.transpose(2, 0, 1), path)
    return COLOURS


def grey(path: Path) -> np.ndarray:
    Image.fromarray(COLOURS[..., 0]).save(path)
    return COLOURS[..., :1].repeat(3, 2)


def transparent(path: Path) -> np.ndarray:
    Image.fromarray(np.dstack((COLOURS, ALPHA))).save(path)
    return COLOURS


def sixteen_bits(path: Path) -> np.ndarray:
    levels = COLOURS[..., 0].astype(np.uint16) * 250 + 700
    Image.fromarray(levels).save(path)
    return np.round(levels / 257).astype(np.uint8)[..., None].repeat(3, 2)


def cmyk(path: Path) -> np.ndarray:
    inks = np.dstack((255 - COLOURS, COLOURS[..., 0] // 4))
    path = path.with_suffix(".jpg")
    Image.fromarray(inks, "CMYK").save(path, quality=100, subsampling=0)
    wide = np.asarray(Image.open(path)).astype(float)  # what JPEG has made of them
    return np.round((255 - wide[..., :3]) * (255 - wide[..., 3:]) / 255).astype(np.uint8)


def thumbnail(path: Path) -> np.ndarray:
    save(photo(20, 20), path)
    return photo(20, 20).transpose(1, 2, 0)


def upright(path: Path) -> np.ndarray:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "Camera"
    Image.fromarray(COLOURS).save(path, exif=exif, icc_profile=SRGB)
    return np.rot90(COLOURS, -1)


KINDS = (odd_sized, grey, transparent, sixteen_bits, cmyk, thumbnail, upright)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, np.ndarray]]:
    """By kind: the predicted file, and the colours that its photograph means."""
    root = tmp_path_factory.mktemp("kinds")
    (root / "content").mkdir()
    colours = {kind.__name__: kind(root / "content" / f"{kind.__name__}.png") for kind in KINDS}
    run(root, options(styles=DAY), PhotoFiles(str(root / "content")))
    assert written(root) == sorted(f"{name}_to_day.png" for name in colours)
    return {name: (root / "predictions" / f"{name}_to_day.png", found) for name, found in colours.items()}


@pytest.mark.parametrize("kind", [kind.__name__ for kind in KINDS])
def test_the_right_picture(kind: str, made: dict[str, tuple[Path, np.ndarray]]) -> None:
    path, colours = made[kind]
    found, right = pixels_of(path).transpose(1, 2, 0).astype(int), expected(np.ascontiguousarray(colours))
    assert found.shape == right.shape
    difference = np.abs(found - right)
    assert difference.max() <= 2 and difference.mean() < 0.5


def test_transparency_is_kept(made: dict[str, tuple[Path, np.ndarray]]) -> None:
    np.testing.assert_array_equal(np.asarray(Image.open(made["transparent"][0]))[..., 3], ALPHA)


def test_exif_and_profile_are_kept_but_for_the_orientation(made: dict[str, tuple[Path, np.ndarray]]) -> None:
    with Image.open(made["upright"][0]) as found:
        assert found.getexif()[ExifTags.Base.Make] == "Camera"
        assert ExifTags.Base.Orientation not in found.getexif()
        assert found.info["icc_profile"] == SRGB


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:600])


def remove_all(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, remove_all])
def test_a_damaged_file_stops_before_anything_is_written(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    save(photo(40, 40), tmp_path / "content" / "a.png")
    damage(save(photo(40, 40), tmp_path / "content" / "b.png"))
    data = PhotoFiles(str(tmp_path / "content"))
    with pytest.raises(UserError, match=r"1 of 2 photographs cannot be used: .*b\.png: cannot be decoded"):
        run(tmp_path, options(styles=DAY), data)
    assert not (tmp_path / "predictions").exists()


def test_or_is_left_out_and_named_at_the_end(tmp_path: Path) -> None:
    for number in range(3):
        path = save(photo(40, 40, number), tmp_path / "content" / f"{number}.png")
    truncate(path)
    data = PhotoFiles(str(tmp_path / "content"), on_bad_photo="skip")
    with pytest.raises(
        UserError, match=r"1 of 3 photographs cannot be used: .*2\.png: .*; predictions of all others"
    ):
        run(tmp_path, options(styles=DAY), data)
    assert written(tmp_path) == ["0_to_day.png", "1_to_day.png"]


def test_formats_names_and_suffixes_follow_the_photograph(tmp_path: Path) -> None:
    names = ("my photo (1).JPG", "a.b.c.webp", "été.png")
    for name in names:
        save(photo(40, 50), tmp_path / "content" / name)
    run(tmp_path, options(styles=DAY, file=FileOptions()), PhotoFiles(str(tmp_path / "content")))
    assert written(tmp_path) == sorted(["my photo (1)_to_day.JPG", "a.b.c_to_day.webp", "été_to_day.png"])
    formats = {Image.open(path).format for path in (tmp_path / "predictions").iterdir()}
    assert formats == {"JPEG", "WEBP", "PNG"}


@pytest.mark.parametrize("resolution", ["plain", "enhanced", "tiled"])
@pytest.mark.parametrize("size", [(20, 20), (9, 30), (70, 33)])
def test_small_and_odd_photographs_in_every_resolution(
    resolution: Any,  # noqa: ANN401
    size: tuple[int, int],
    tmp_path: Path,
) -> None:
    path = save(photo(*size), tmp_path / "a.png")
    run(tmp_path, options(styles=DAY, resolution=resolution), PhotoFiles(str(path)))
    (found,) = (tmp_path / "predictions").iterdir()
    assert pixels_of(found).shape == (3, *size)


@pytest.mark.parametrize(
    ("size", "changes", "sentence"),
    [
        (
            (10, 300),
            {},
            r"a\.png is 300x10 \(width x height\), too long to be seen as a whole at .*working_size 32; expected at "
            r"most 16 times its shorter side",
        ),
        (
            (3, 3),
            {"resolution": "tiled"},
            r"a\.png is 3x3 \(width x height\), too small for model\.relighting\.resolution tiled; take plain: .*",
        ),
        (
            (40, 40),
            {"photo": PhotoOptions(30, multiple=2)},
            r"a\.png is 40x40 .*, and model\.relighting\.photo gives it 30x30 pixels: .*multiples of 4",
        ),
    ],
)
def test_sizes_that_cannot_be(
    size: tuple[int, int], changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    path = save(photo(*size), tmp_path / "a.png")
    with pytest.raises(UserError, match=sentence):
        run(tmp_path, options(styles=DAY, **changes), PhotoFiles(str(path)))
