"""The light of procedural landscapes: from the sun's elevation to the colours of sky, clouds, sun and shade.

Colours between key elevations are interpolated, so that every one of them changes steadily with the sun: night, blue
hour, sunset and day are places on one line. Linear RGB; `landscape_rendering` takes the root at the end.
"""

from typing import NamedTuple

import numpy as np

ELEVATIONS = (-15.0, 60.0)
"""Lowest and highest sun in degrees."""

_KEYS = (-15.0, -8.0, -3.0, 1.0, 6.0, 15.0, 35.0, 60.0)
"""The elevations in degrees to which the rows below belong."""

# As displayed, RGB in [0, 1].
_ZENITH = (
    (0.03, 0.04, 0.10),
    (0.06, 0.09, 0.22),
    (0.16, 0.22, 0.45),
    (0.30, 0.34, 0.55),
    (0.36, 0.46, 0.68),
    (0.32, 0.52, 0.80),
    (0.27, 0.52, 0.88),
    (0.24, 0.50, 0.92),
)
_HORIZON = (
    (0.07, 0.09, 0.16),
    (0.16, 0.18, 0.32),
    (0.55, 0.36, 0.42),
    (0.95, 0.52, 0.28),
    (0.98, 0.72, 0.48),
    (0.90, 0.82, 0.72),
    (0.80, 0.88, 0.95),
    (0.82, 0.91, 0.98),
)
_CLOUD_LIT = (
    (0.07, 0.08, 0.14),
    (0.14, 0.16, 0.27),
    (0.55, 0.38, 0.45),
    (1.00, 0.60, 0.42),
    (1.00, 0.78, 0.60),
    (1.00, 0.93, 0.85),
    (1.00, 1.00, 1.00),
    (1.00, 1.00, 1.00),
)
_CLOUD_SHADE = (
    (0.03, 0.04, 0.08),
    (0.08, 0.10, 0.19),
    (0.25, 0.24, 0.36),
    (0.45, 0.36, 0.42),
    (0.55, 0.50, 0.55),
    (0.65, 0.65, 0.70),
    (0.72, 0.75, 0.80),
    (0.76, 0.79, 0.84),
)
# Linear: what a white surface sends back.
_DIRECT = (
    (0.014, 0.018, 0.030),
    (0.016, 0.021, 0.036),
    (0.05, 0.035, 0.04),
    (0.45, 0.19, 0.08),
    (0.72, 0.42, 0.22),
    (0.88, 0.70, 0.50),
    (0.98, 0.89, 0.77),
    (1.22, 1.15, 1.04),
)
_AMBIENT = (
    (0.022, 0.028, 0.048),
    (0.038, 0.049, 0.090),
    (0.085, 0.095, 0.150),
    (0.16, 0.15, 0.18),
    (0.22, 0.22, 0.25),
    (0.27, 0.30, 0.34),
    (0.31, 0.35, 0.40),
    (0.38, 0.43, 0.48),
)
_LAMP_COLOUR = np.array([1.0, 0.62, 0.22])
_LAMPS = (1.0, 1.0, 0.8, 0.4, 0.06, 0.0, 0.0, 0.0)
_GLOW = (0.0, 0.05, 0.5, 1.0, 0.8, 0.45, 0.25, 0.2)
_GLOW_COLOUR = np.array([1.0, 0.55, 0.22])
_STARS = (1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

_TABLE = np.stack(
    [
        *(np.square(rows) for rows in (_ZENITH, _HORIZON, _CLOUD_LIT, _CLOUD_SHADE)),
        np.array(_DIRECT),
        np.array(_AMBIENT),
        np.outer(_LAMPS, _LAMP_COLOUR),
        np.outer(_GLOW, _GLOW_COLOUR),
        np.outer(_STARS, np.ones(3)),
    ],
    axis=1,
)
"""[keys, colours, 3] linear, the colours in the order of `Colours`."""
_WARM = np.array([0.16, 0.02, -0.16])
"""What the warmest white adds to a channel, as a share."""


class Light(NamedTuple):
    """In what light a landscape lies."""

    elevation: float
    """Of the sun above the horizon in degrees, within `ELEVATIONS`. Decides most of what is seen."""
    warmth: float
    """Of the camera's white, from -1 for bluish to 1 for yellowish."""
    haze: float
    """From 0 for clear air to 1."""

    @property
    def night(self) -> float:
        """How much it is night: 0 from sunrise on, 1 from 8 degrees below the horizon."""
        return float(np.clip(-self.elevation / 8, 0, 1))


class Colours(NamedTuple):
    """Of a light, [3] float32 linear RGB each."""

    zenith: np.ndarray
    horizon: np.ndarray
    cloud_lit: np.ndarray
    cloud_shade: np.ndarray
    direct: np.ndarray
    """What a white surface that faces the sun sends back of it."""
    ambient: np.ndarray
    """What a white surface sends back of the sky."""
    lamp: np.ndarray
    glow: np.ndarray
    """Added around the sun."""
    stars: np.ndarray
    """Stars and moon."""


def draw_light(rng: np.random.Generator) -> Light:
    """A light: low suns are likelier, because more changes while the sun is low; the rest is uniform."""
    share, warmth, haze = rng.random(3)
    low, high = ELEVATIONS
    return Light(float(low + (high - low) * share**1.3), float(2 * warmth - 1), float(haze))


def colours(light: Light) -> Colours:
    """The colours of a light."""
    place = float(np.interp(light.elevation, _KEYS, range(len(_KEYS))))
    low = min(int(place), len(_KEYS) - 2)
    shades = Colours(*(_TABLE[low] + (place - low) * (_TABLE[low + 1] - _TABLE[low])))
    # Haze pales the sky and takes from the sun what it gives to the shade.
    clear = 1 - 0.35 * light.haze
    hazy = shades._replace(
        zenith=shades.zenith * clear + shades.horizon * (1 - clear) * 0.8,
        cloud_lit=shades.cloud_lit * (1 - 0.15 * light.haze),
        direct=shades.direct * clear,
        ambient=shades.ambient * (1 + 0.3 * light.haze),
        stars=shades.stars * clear,
    )
    # Warm white is a multiplication, before the root that is taken for display.
    return Colours(*(np.array(hazy) * (1 + light.warmth * _WARM)).astype(np.float32))
