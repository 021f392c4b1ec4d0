"""Files of pictures that were made of photographs: what their files held beside the pixels goes along."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from repsynth.batches import Photo
from repsynth.exports.files import write_atomically

_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
_WIDTHS = (ExifTags.Base.ImageWidth, ExifTags.Base.ExifImageWidth)
_HEIGHTS = (ExifTags.Base.ImageLength, ExifTags.Base.ExifImageHeight)
_LONGEST_EXIF = 65533 - len(b"Exif\0\0")
"""Bytes that a segment of a JPEG file can hold."""


class PhotoFile:
    """A file that a picture becomes. No tuple or dataclass, because Lightning walks through those of a step's outputs.

    Args:
        name: with suffix: .jpg, .jpeg, .png, .webp, or .mp4 for a video.
        photo: what the picture was made of; EXIF, colour profile and transparency go along.
        quality: of JPEG and WebP, 1 to 100.
    """

    def __init__(self, name: str, photo: Photo, quality: int = 95) -> None:
        self.name, self.photo, self.quality = name, photo, quality


def write_photo(picture: Tensor, folder: Path, file: PhotoFile) -> Path:
    """Write a picture [3, H, W], uint8 or float in [0, 1].

    EXIF gets the picture's size. Transparency is resized to it; in JPEG, which has none, white takes its place.
    """
    pixels = picture if picture.dtype == torch.uint8 else picture.clamp(0, 1).mul(255).round().byte()
    image = Image.fromarray(np.ascontiguousarray(pixels.cpu().numpy().transpose(1, 2, 0)))
    path = folder / file.name
    kind = _FORMATS[path.suffix.lower()]
    if file.photo.alpha is not None:
        image = _with_alpha(image, file.photo.alpha, kind)
    options: dict[str, Any] = {"JPEG": {"subsampling": 0}}.get(kind, {})
    if kind != "PNG":
        options["quality"] = file.quality
    if file.photo.profile:
        options["icc_profile"] = file.photo.profile
    exif = _sized(file.photo, image.size, kind)
    if exif:
        options["exif"] = exif
    write_atomically(path, lambda target: image.save(target, format=kind, **options))
    return path


def _with_alpha(image: Image.Image, alpha: np.ndarray, kind: str) -> Image.Image:
    mask = Image.fromarray(alpha).resize(image.size, Image.Resampling.BICUBIC)
    if kind == "JPEG":
        return Image.composite(image, Image.new("RGB", image.size, (255, 255, 255)), mask)
    image.putalpha(mask)
    return image


def _sized(photo: Photo, size: tuple[int, int], kind: str) -> bytes:
    """The EXIF block with a size (width, height) wherever it has one."""
    if not photo.exif:
        return b""
    exif = Image.Exif()
    exif.load(photo.exif)
    for block in (exif, exif.get_ifd(ExifTags.IFD.Exif)):
        for tags, side in ((_WIDTHS, size[0]), (_HEIGHTS, size[1])):
            for tag in tags:
                if tag in block:
                    block[tag] = side
    content = exif.tobytes()
    if kind == "JPEG" and len(content) > _LONGEST_EXIF:
        warnings.warn(
            f"{photo.path}: its EXIF has {len(content)} bytes, more than a JPEG file holds, and is left out",
            stacklevel=2,
        )
        return b""
    return content
