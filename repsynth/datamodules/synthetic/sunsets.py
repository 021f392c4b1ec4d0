"""A family of small pictures whose statistics are known: a sky over ground, and a sun that the ground may hide.

Positions are fractions of the side: x to the right, y down, from the outer top-left corner. Image i is a function of i
alone. Every attribute is uniform and independent of the others, so that the mean image, colours of rows and the
distribution of the horizon follow in closed form or by quadrature, and a generator can be measured against them.
"""

from typing import NamedTuple

import numpy as np

VERSION = 1
"""Changes whenever a pixel of the family does."""

SMALLEST_SIDE = 16
"""From this side on the sun never touches the top row."""

HORIZON = (0.5, 0.8)
SUN_X = (0.2, 0.8)
SUN_Y = (0.3, 0.6)
SUN_RADIUS = (0.1, 0.18)
"""Lowest and highest values of the uniform attributes in fractions of the side."""
SUN_EDGE = 0.08
"""Width of the ramp from sun to sky."""
TINT = 0.04
"""The sky's red, green and blue are each shifted by up to so much either way."""

# At the first end and at the other end of an attribute between 0 and 1, RGB.
_SKY_TOP = np.array([[0.20, 0.45, 0.90], [0.40, 0.25, 0.70]])
_SKY_BOTTOM = np.array([[0.75, 0.85, 0.95], [0.95, 0.60, 0.50]])
_SUN = np.array([[1.00, 0.95, 0.65], [1.00, 0.65, 0.25]])
_GROUND = np.array([[0.10, 0.34, 0.12], [0.36, 0.28, 0.14]])

_BRIGHT = 0.47
"""Between the brightest channel of any ground (0.36) and of any sky or sun (at least 0.58)."""
_SEED = 0x5C1E5
_QUADRATURE = 64


class Attributes(NamedTuple):
    """What N images show."""

    evening: np.ndarray
    """[N] 0 for the sky of noon to 1 for that of the evening."""
    tint: np.ndarray
    """[N, 3] added to the sky, within `TINT` of 0."""
    horizon: np.ndarray
    """[N] y of the upper end of the ground."""
    sun: np.ndarray
    """[N, 3] x, y and radius."""
    warmth: np.ndarray
    """[N] 0 for a pale sun to 1 for an orange one."""
    dryness: np.ndarray
    """[N] 0 for green ground to 1 for brown."""


def attributes(numbers: np.ndarray) -> Attributes:
    """The attributes of the images with these numbers, [N] int64 from 0."""
    uniform = _uniform(numbers, 10)
    sun = np.stack(
        [_between(uniform[:, 5 + k], ends) for k, ends in enumerate((SUN_X, SUN_Y, SUN_RADIUS))], 1
    )
    return Attributes(
        evening=uniform[:, 0],
        tint=_between(uniform[:, 1:4], (-TINT, TINT)),
        horizon=_between(uniform[:, 4], HORIZON),
        sun=sun,
        warmth=uniform[:, 8],
        dryness=uniform[:, 9],
    )


def images(numbers: np.ndarray, side: int) -> np.ndarray:
    """The images with these numbers.

    The horizon is antialiased, a row being ground in part; the sun is seen at the centres of pixels. Takes about 80
    microseconds for one image of 32 x 32 pixels.

    Args:
        numbers: [N] int64 from 0.
        side: of the images in pixels.

    Returns:
        [N, 3, side, side] uint8 RGB.
    """
    shown = attributes(numbers)
    sun, ground = _sun_share(shown.sun, side)[:, None], _ground_share(shown.horizon, side)[:, None, :, None]
    picture = _sky(shown, side)[..., None]
    picture = picture + sun * (_mix(_SUN, shown.warmth)[..., None, None] - picture)
    picture += ground * (_mix(_GROUND, shown.dryness)[..., None, None] - picture)
    return (picture * 255 + 0.5).astype(np.uint8)


def mean_image(side: int) -> np.ndarray:
    """The expected image of the family before rounding to bytes: [3, side, side] float64 in [0, 1].

    Exact but for the quadrature over the sun's centre (below 1e-4).
    """
    sun, ground = _mean_sun_share(side), _mean_ground_share(side)[:, None]
    down = _centres(side)
    top, bottom = _SKY_TOP.mean(0)[:, None], _SKY_BOTTOM.mean(0)[:, None]
    sky = (top + down * (bottom - top))[..., None]
    above = sky + sun * (_SUN.mean(0)[:, None, None] - sky)
    return above + ground * (_GROUND.mean(0)[:, None, None] - above)


def top_row(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Expected colour [3] and covariance [3, 3] of the top row before rounding to bytes, float64; exact.

    All pixels of the top row of an image have one colour: neither sun nor ground reaches it.
    """
    down = 0.5 / side
    ends = _SKY_TOP + down * (_SKY_BOTTOM - _SKY_TOP)
    change = ends[1] - ends[0]
    return ends.mean(0), np.outer(change, change) / 12 + np.eye(3) * TINT**2 / 3


def horizon(pictures: np.ndarray) -> np.ndarray:
    """Where the ground begins in images of the family, or in ones that resemble them.

    The share of pixels that are bright as sky or sun; within a pixel of the truth for images of the family, where it
    is uniform on `HORIZON`.

    Args:
        pictures: [N, 3, H, W] uint8.

    Returns:
        [N] float64 in [0, 1].
    """
    return (pictures.max(1) > 255 * _BRIGHT).mean((1, 2), dtype=np.float64)


def _uniform(numbers: np.ndarray, count: int) -> np.ndarray:
    """Independent uniform numbers [N, count] float64 in [0, 1): a hash (SplitMix64) of number and column."""
    words: np.ndarray = np.asarray(numbers, np.uint64)[:, None] * np.uint64(count) + np.uint64(_SEED)
    words = (words + np.arange(count, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((words ^ (words >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


def _between(uniform: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    return ends[0] + uniform * (ends[1] - ends[0])


def _mix(ends: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Colours [N, 3] at shares [N] of the way between two colours [2, 3]."""
    return ends[0] + share[:, None] * (ends[1] - ends[0])


def _centres(side: int) -> np.ndarray:
    return (np.arange(side) + 0.5) / side


def _sky(shown: Attributes, side: int) -> np.ndarray:
    """The sky's colours down the rows, [N, 3, side]."""
    top, bottom = (_mix(ends, shown.evening)[..., None] for ends in (_SKY_TOP, _SKY_BOTTOM))
    return top + _centres(side) * (bottom - top) + shown.tint[..., None]


def _sun_share(sun: np.ndarray, side: int) -> np.ndarray:
    """How much of each pixel is sun, [N, side, side], for x, y and radius [N, 3]."""
    x, y, radius = sun.T[..., None]
    across, down = (_centres(side) - x) ** 2, (_centres(side) - y) ** 2
    distance = np.sqrt(down[:, :, None] + across[:, None, :])
    return np.clip((radius[..., None] - distance) / SUN_EDGE + 0.5, 0, 1)


def _ground_share(horizons: np.ndarray, side: int) -> np.ndarray:
    """How much of each row is ground, [N, side]."""
    return np.clip(np.arange(1, side + 1) - side * horizons[:, None], 0, 1)


def _mean_ground_share(side: int) -> np.ndarray:
    """The expectation of `_ground_share` over the horizon, [side]."""
    below = np.arange(1, side + 1)
    low, high = (_ramp_integral(below - side * end) for end in HORIZON)
    return (low - high) / (side * (HORIZON[1] - HORIZON[0]))


def _mean_sun_share(side: int) -> np.ndarray:
    """The expectation of `_sun_share`, [side, side]: over the radius in closed form, over the centre by midpoints."""
    steps = (np.arange(_QUADRATURE) + 0.5) / _QUADRATURE
    across = (_centres(side)[:, None] - _between(steps, SUN_X)) ** 2
    total = np.zeros((side, side))
    for y in _between(steps, SUN_Y):
        distance = np.sqrt(across + ((_centres(side) - y) ** 2)[:, None, None])
        low, high = (_ramp_integral((end - distance) / SUN_EDGE + 0.5) for end in SUN_RADIUS)
        total += (high - low).mean(-1)
    return total / _QUADRATURE * SUN_EDGE / (SUN_RADIUS[1] - SUN_RADIUS[0])


def _ramp_integral(end: np.ndarray) -> np.ndarray:
    """The integral of clip(t, 0, 1) over t up to `end`."""
    ramp = np.clip(end, 0, 1)
    return ramp**2 / 2 + np.maximum(end - 1, 0)
