"""Reading a photograph of which a file shall be made: upright, with transparency, EXIF and colour profile."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from repsynth.batches import Photo
from repsynth.datamodules.images import opened, read_size
from repsynth.errors import UserError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})

_COLOURS = frozenset({"RGB", "L", "1", "P", "RGBA", "LA", "PA", "CMYK"})
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
"""Last bytes of whole files."""


def read_photo(path: Path) -> Photo:
    """Decode a photograph.

    Grey pictures, palettes and 16 bits become 8-bit RGB. CMYK becomes sRGB by the file's profile, or by
    (255 - C)(255 - K) / 255 without one.

    Raises:
        UserError: a file that is missing, cannot be decoded to its end, or has a colour mode that is no photograph's.
    """
    with opened(path) as picture:
        _require_mode(path, picture)
        upright = ImageOps.exif_transpose(picture)
        exif = _exif(path, upright)
        colours, alpha, profile = _separated(path, upright, picture.info.get("icc_profile", b""))
    pixels = np.ascontiguousarray(np.asarray(colours).transpose(2, 0, 1))
    return Photo(path, pixels, alpha, exif, profile)


def look_at(path: Path) -> tuple[int, int]:
    """(height, width) of a photograph, upright, from its head; a file whose end is not there is decoded to be sure.

    Raises:
        UserError: what `read_photo` would refuse of it, but for damage in the middle.
    """
    with opened(path) as picture:
        _require_mode(path, picture)
        end = _ENDS.get(picture.format or "")
    if end is None or not _tail(path, len(end)).endswith(end):
        read_photo(path)
    return read_size(path, posed=False)


def _tail(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(-min(count, path.stat().st_size), io.SEEK_END)
        return file.read()


def _require_mode(path: Path, picture: Image.Image) -> None:
    if picture.mode not in _COLOURS and not picture.mode.startswith("I;16"):
        raise UserError(
            f"{path}: has the colour mode {picture.mode}, expected RGB, grey, palette or CMYK, with or without "
            "transparency; convert the file"
        )


def _separated(
    path: Path, picture: Image.Image, profile: bytes
) -> tuple[Image.Image, np.ndarray | None, bytes]:
    """RGB colours, transparency [H, W] uint8 if there is any, and the profile that the colours are in."""
    if picture.mode.startswith("I;16"):
        levels = (np.asarray(picture).astype(np.uint32) + 128) // 257
        picture = Image.fromarray(levels.astype(np.uint8))
    alpha = None
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        whole = picture.convert("RGBA")
        alpha = np.asarray(whole.getchannel("A"))
        # Grey stays grey, so that a profile of greys still fits.
        picture = picture.convert("L") if picture.mode in ("L", "LA") else whole.convert("RGB")
    space = profile[16:20]
    if profile and space != b"RGB ":
        picture, profile = _in_srgb(path, picture, profile), b""
    return picture.convert("RGB"), alpha, profile


def _in_srgb(path: Path, picture: Image.Image, profile: bytes) -> Image.Image:
    """A grey or CMYK picture by its profile; as it is, with a warning, where that is of no use."""
    try:
        source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        warnings.warn(f"{path}: its colour profile is not used ({error})", stacklevel=2)
        return picture
    return picture if converted is None else converted


def _exif(path: Path, upright: Image.Image) -> bytes:
    """The EXIF block of an upright picture; Pillow does not keep the thumbnail, which would show the old light."""
    try:
        exif = upright.getexif()
        exif.pop(ExifTags.Base.Orientation, None)
        return exif.tobytes() if exif else b""
    except Exception as error:  # whatever a damaged block does to its reader, the photograph is worth having
        warnings.warn(f"{path}: its EXIF is damaged and left out ({error})", stacklevel=2)
        return b""
