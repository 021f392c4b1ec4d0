"""Surfaces for procedural scenes: crops of the photographs that ship inside scikit-image, and coloured noise.

Training and held-out textures come from disjoint parts of each photograph.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from repsynth.errors import UserError

Split = Literal["train", "held out"]

PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "chelsea.png",
    "coffee.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
"""Files of skimage/data, all in the wheel; grey ones get a random tint."""

_TRAIN_SHARE = 0.65
"""Training textures are cut left of this fraction of a photograph's width, held-out ones right of it."""


def random_texture(rng: np.random.Generator, width: int, height: int, split: Split) -> np.ndarray:
    """A texture [height, width, 3] float32 in [0, 1]: a photograph's crop or noise, recoloured at random."""
    picture = (
        _noise(rng, width, height) if rng.random() < 0.2 else _photograph_crop(rng, width, height, split)
    )
    return _recolour(rng, picture)


@cache
def photograph(name: str, split: Split) -> Image.Image:
    """The split's part of one of `PHOTOGRAPHS`, RGB, decoded once per process.

    Raises:
        UserError: scikit-image is not installed.
    """
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise UserError(
            "synthetic data: scikit-image, whose photographs are the textures, is not installed; "
            "pip install scikit-image"
        )
    return _part_of_split(Image.open(Path(spec.origin).parent / "data" / name).convert("RGB"), split)


def _part_of_split(photograph: Image.Image, split: Split) -> Image.Image:
    cut = round(_TRAIN_SHARE * photograph.width)
    left, right = (0, cut) if split == "train" else (cut, photograph.width)
    return photograph.crop((left, 0, right, photograph.height))


def _photograph_crop(rng: np.random.Generator, width: int, height: int, split: Split) -> np.ndarray:
    source = photograph(PHOTOGRAPHS[rng.integers(len(PHOTOGRAPHS))], split)
    # 1 to 3 source pixels per texel as far as the photograph allows.
    scale = min(rng.uniform(1.0, 3.0), source.width / width, source.height / height)
    w, h = scale * width, scale * height
    left, top = rng.uniform(0, source.width - w + 1e-9), rng.uniform(0, source.height - h + 1e-9)
    box = (left, top, min(left + w, source.width), min(top + h, source.height))
    resized = source.resize((width, height), Image.Resampling.BILINEAR, box=box)
    picture = np.asarray(resized, dtype=np.float32) / 255
    return picture[:, ::-1] if rng.random() < 0.5 else picture


def _noise(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Sum of four octaves of smooth value noise in each channel, in [0, 1]."""
    total = np.zeros((height, width, 3), dtype=np.float32)
    for octave, cells in enumerate((3, 6, 12, 24)):
        values = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        layer = Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(layer, dtype=np.float32) * 0.7**octave
    low, high = total.min(), total.max()
    return (total - low) / max(high - low, 1e-6)


def _recolour(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Stretch the contrast and tint: neighbouring surfaces differ, and flat crops show some structure."""
    some = picture[::3, ::3]
    mean, spread = float(some.mean()), float(some.std())
    contrast = min(max(rng.uniform(0.15, 0.25) / max(spread, 1e-3), 0.7), 3.0)
    tint = rng.uniform(0.7, 1.3, 3).astype(np.float32)
    brightness = rng.uniform(0.3, 0.65)
    recoloured = picture * (contrast * tint) + (brightness - mean * contrast) * tint
    return np.clip(recoloured, 0, 1, out=recoloured)
