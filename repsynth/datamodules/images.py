"""Reading pictures from files, with the conditions that every data set shares, and fitting them to a size."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import ExifTags, Image

from repsynth.datamodules.plain_jpeg import read_plain_jpeg, separated
from repsynth.errors import UserError
from repsynth.geometry.cameras import crop_intrinsics

Fit = Literal["stretch", "crop"]
"""How a picture becomes an image of another shape: change its aspect ratio, or cut its middle out."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})

_ORIENTATION = ExifTags.Base.Orientation


def image_files(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names, which is the same on every file system."""
    files = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return sorted((path for path in files if not path.name.startswith(".")), key=lambda path: path.name)


def read_image(
    path: Path, *, convert: bool = False, posed: bool = True, out: np.ndarray | None = None
) -> np.ndarray:
    """Decode a picture to RGB.

    Grey, palette and 16 bit grey pictures are converted. Pictures with transparency or in CMYK are refused
    unless `convert` is true: then transparency is dropped.

    Args:
        path: of the file.
        convert: accept transparency and CMYK.
        posed: cameras belong to the pixels as they are stored; an orientation tag is an error then, and is
            applied otherwise.
        out: [3, H, W] uint8, contiguous: where the pixels may go if there are so many.

    Returns:
        [3, H, W] uint8; `out` itself where they went there.

    Raises:
        UserError: for a file that is missing, cannot be decoded to its end, has a mode that is not accepted,
            or (`posed`) an orientation tag other than 1.
    """
    plain = read_plain_jpeg(path, out)
    if plain is not None:
        return plain
    with opened(path) as picture:
        turn = _orientation(path, picture.getexif(), posed)
        picture.load()
        planes = _planes(_rgb(path, picture, convert))
    return planes if turn == 1 else np.ascontiguousarray(_turned(planes, turn))


def read_size(path: Path, *, posed: bool = True) -> tuple[int, int]:
    """(height, width) of a picture from the file's head, without decoding it.

    Raises:
        UserError: for a file that is missing or no picture, or (`posed`) an orientation tag other than 1.
    """
    with opened(path) as picture:
        tags = Image.Exif()
        tags.load(picture.info.get("exif", b""))  # `getexif` would decode a whole PNG
        turn = _orientation(path, tags, posed)
        return picture.size if turn >= 5 else picture.size[::-1]


def require_mode(path: Path, convert: bool) -> None:
    """Raise UserError when `read_image` would refuse the colours of a picture; its head tells."""
    with opened(path) as picture:
        _check_mode(path, picture, convert)


def require_size(
    path: Path | str, size: tuple[int, int], wanted: tuple[int, int], remedy: str = "or use larger pictures"
) -> None:
    """Raise UserError when a picture of `size` is smaller than the `wanted` (height, width)."""
    if size[0] < wanted[0] or size[1] < wanted[1]:
        raise UserError(
            f"{path} is {size[1]}x{size[0]} (width x height), smaller than data.image_size "
            f"{wanted[1]}x{wanted[0]}; lower data.image_size {remedy}"
        )


def fit_image(image: np.ndarray, size: tuple[int, int], fit: Fit) -> np.ndarray:
    """Resize with antialiased bilinear interpolation.

    Args:
        image: [3, H, W] uint8.
        size: (height, width) of the result.
        fit: `stretch` changes the aspect ratio; `crop` keeps it and cuts the middle out.

    Returns:
        [3, height, width] uint8; `image` itself where nothing has to be done.
    """
    height, width = between = _resized(image.shape[1:], size, fit)
    if image.shape[1:] != between:
        image = _scaled(image, between)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return np.ascontiguousarray(image[:, top : top + size[0], left : left + size[1]])


def fit_intrinsics(
    intrinsics: np.ndarray, image: tuple[int, int], size: tuple[int, int], fit: Fit
) -> np.ndarray:
    """The normalised intrinsics [..., 3, 3] after `fit_image` of an image of (height, width) `image`.

    Stretching leaves them as they are, because they are fractions of width and height.
    """
    between = _resized(image, size, fit)
    if between == size:
        return intrinsics.copy()
    return crop_intrinsics(torch.from_numpy(intrinsics), between, size).numpy()


def _resized(image: tuple[int, ...], size: tuple[int, int], fit: Fit) -> tuple[int, int]:
    """The size that an image is scaled to before its middle is cut out."""
    if fit == "stretch":
        return size
    scale = max(size[0] / image[0], size[1] / image[1])
    return max(round(image[0] * scale), size[0]), max(round(image[1] * scale), size[1])


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture; what Pillow raises for damaged files becomes one sentence."""
    try:
        with Image.open(path) as picture:
            yield picture
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; an image was expected here") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path}: cannot be decoded ({error}); replace the damaged file or remove it"
        ) from error


def _orientation(path: Path, tags: Image.Exif, posed: bool) -> int:
    turn = tags.get(_ORIENTATION, 1)
    if posed and turn != 1:
        raise UserError(
            f"{path}: has the EXIF orientation {turn}, but its camera belongs to the pixels as stored, "
            "expected 1; remove the tag if the cameras were made from the stored pixels, else turn the "
            "pixels and make them anew"
        )
    return turn if turn in range(1, 9) else 1


def _rgb(path: Path, picture: Image.Image, convert: bool) -> Image.Image:
    _check_mode(path, picture, convert)
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture).astype(np.uint32) // 257).astype(np.uint8)).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _planes(picture: Image.Image) -> np.ndarray:
    """The pixels [3, H, W] of an RGB picture."""
    packed = picture.tobytes("raw", "RGBX")  # as Pillow keeps them
    return separated(np.frombuffer(packed, dtype=np.uint8), picture.size)


def _scaled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize [3, H, W] to (height, width)."""
    # Faster than a transposition and `fromarray`.
    picture = Image.merge("RGB", [Image.fromarray(plane) for plane in image])
    return _planes(picture.resize(size[::-1], Image.Resampling.BILINEAR))


def _check_mode(path: Path, picture: Image.Image, convert: bool) -> None:
    # A palette, grey or RGB file may name one colour that is transparent.
    keyed = "transparency" in picture.info
    if picture.mode.startswith("I;16") or (picture.mode in ("RGB", "L", "P", "1") and (convert or not keyed)):
        return
    if picture.mode in ("RGBA", "LA", "PA", "CMYK") and convert:
        return
    raise UserError(
        f"{path}: has the colour mode {picture.mode}{' with transparency' if keyed else ''}, expected RGB, grey "
        "or palette; convert the file" + ("" if convert else " or set data.convert_colours: true")
    )


def _turned(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Undo an EXIF orientation, pixels [3, H, W]."""
    if turn >= 5:
        pixels = pixels.swapaxes(1, 2)
    mirror_rows, mirror_columns = turn in (3, 4, 7, 8), turn in (2, 3, 6, 7)
    return pixels[:, :: -1 if mirror_rows else 1, :: -1 if mirror_columns else 1]
