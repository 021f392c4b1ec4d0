"""Noise for procedural landscapes: windows of a field that is made once, the same at every size of the image."""

from functools import cache

import numpy as np
from PIL import Image

FINEST = 512
"""Cells along a side of the finest noise; larger images enlarge it."""

_SIDES = 3
"""Of an image along each side of the field."""
_STEPS = 32
"""Places along a side of an image where a window may begin."""


def fractal(rng: np.random.Generator, seed: int, samples: int, coarsest: int, roughness: float) -> np.ndarray:
    """A window of a sum of noises of `coarsest`, 2 `coarsest`, ... cells along its side, each so much weaker.

    The mean over a pixel of a small image is about the mean over its pixels in a large one.

    Args:
        rng: chooses the window, and whether it is mirrored.
        seed: of the field, which is kept.
        samples: side of the result.
        coarsest: cells, a power of two.
        roughness: the strength of each noise as a share of that of the coarser one.

    Returns:
        [samples, samples] float32 of about mean 0 and deviation 1; not to be written to.
    """
    row, column = rng.integers((_SIDES - 1) * _STEPS + 1, size=2)
    down, across = (1 if forward else -1 for forward in rng.random(2) < 0.5)
    side = min(samples, FINEST)
    field = _field(seed, side, coarsest, roughness)
    top, left = int(row * side / _STEPS), int(column * side / _STEPS)
    return _enlarged(field[top : top + side, left : left + side][::down, ::across], samples)


def profile(
    rng: np.random.Generator, x: np.ndarray, coarsest: int, octaves: int, roughness: float
) -> np.ndarray:
    """The same along a line, with straight pieces between random heights: a ridge.

    Args:
        rng: gives as many numbers whatever `x` is.
        x: [N] places in [0, 1].
        coarsest: pieces of the coarsest noise.
        octaves: how many noises.
        roughness: the strength of each noise as a share of that of the coarser one.

    Returns:
        [N] float32 in [-1, 1].
    """
    total = np.zeros(len(x))
    strengths = roughness ** np.arange(octaves)
    for octave, strength in enumerate(strengths / strengths.sum()):
        pieces = coarsest * 2**octave
        total += strength * np.interp(x * pieces, np.arange(pieces + 1), rng.uniform(-1, 1, pieces + 1))
    return total.astype(np.float32)


@cache
def _field(seed: int, side: int, coarsest: int, roughness: float) -> np.ndarray:
    """[`_SIDES` side, `_SIDES` side] float32, from which windows of `side` samples are cut."""
    rng = np.random.default_rng([0x1A0D, seed])
    total = np.zeros((1, 1), dtype=np.float32)
    cells, strength = _SIDES * coarsest, 1.0
    while cells <= _SIDES * side:
        total = _enlarged(total, cells)
        total += strength * (rng.random((cells, cells), dtype=np.float32) - 0.5)
        cells, strength = 2 * cells, strength * roughness
    # By what the noises add up to at the finest side, so that all sides are scaled alike.
    return _enlarged(total, _SIDES * side) / np.float32(_deviation(coarsest, roughness))


def _deviation(coarsest: int, roughness: float) -> float:
    """About that of the sum: between the middles of cells 4 / 9 of the variance are left."""
    octaves = (FINEST // coarsest).bit_length()
    variances = roughness ** (2 * np.arange(octaves)) / 12
    return float(np.sqrt(4 / 9 * variances.sum()))


def _enlarged(values: np.ndarray, samples: int) -> np.ndarray:
    """[h, w] float32 to [samples, samples], bilinear between the middles of cells."""
    if values.shape == (samples, samples):
        return values
    picture = Image.fromarray(values).resize((samples, samples), Image.Resampling.BILINEAR)
    return np.array(picture, dtype=np.float32)
