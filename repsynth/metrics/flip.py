"""LDR-FLIP: the difference seen when two images alternate at one place (Andersson et al., HPG 2020).

Symbols follow the paper: CSF contrast sensitivity functions of the achromatic, red-green and blue-yellow
channels of YCxCz; HyAB colour distance in Hunt-adjusted L*a*b*; edges and points found in the achromatic
channel.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from repsynth.metrics.filters import separable

_LINEAR_TO_XYZ = torch.tensor(
    [
        [10135552 / 24577794, 8788810 / 24577794, 4435075 / 24577794],
        [2613072 / 12288897, 8788810 / 12288897, 887015 / 12288897],
        [1425312 / 73733382, 8788810 / 73733382, 70074185 / 73733382],
    ],
    dtype=torch.float64,
)
"""Linear sRGB to XYZ under D65, in exact fractions."""

_CSF = (
    ((1.0, 0.0047),),
    ((1.0, 0.0053),),
    ((34.1, 0.04), (13.5, 0.025)),
)
"""Table 1 of the paper: (a, b) of each Gaussian, for the achromatic, red-green and blue-yellow channel."""

_WIDEST = 0.04
_COLOUR_POWER = 0.7
_KNEE_IN, _KNEE_OUT = 0.4, 0.95
_FEATURE_WIDTH = 0.082
_FEATURE_POWER = 0.5


def pixels_per_degree(distance: float = 0.7, screen_width: float = 0.7, screen_pixels: int = 3840) -> float:
    """Return how many pixels one degree of the visual field covers: 67.02 for the paper's desk.

    Args:
        distance: From eye to screen, metres.
        screen_width: Metres.
        screen_pixels: Pixels across the screen.
    """
    return distance * screen_pixels / screen_width * math.pi / 180


def flip(predicted: Tensor, expected: Tensor, density: float | None = None) -> Tensor:
    """Return the mean LDR-FLIP of each image, [N] float32: 0 equal, 1 as different as can be.

    Computed in float32 also inside autocast regions.

    Args:
        predicted: [N, 3, H, W] sRGB, clamped to [0, 1].
        expected: [N, 3, H, W] sRGB, clamped to [0, 1].
        density: Pixels per degree; None takes `pixels_per_degree()`.
    """
    return flip_map(predicted, expected, density).mean((1, 2))


def flip_map(predicted: Tensor, expected: Tensor, density: float | None = None) -> Tensor:
    """Return LDR-FLIP of each pixel, [N, H, W] float32 in [0, 1]; arguments as in `flip`."""
    density = pixels_per_degree() if density is None else density
    with torch.autocast(predicted.device.type, enabled=False):
        pair = torch.cat([predicted.float(), expected.float()]).clamp(0, 1)
        opponent = _opponent(_to_linear(pair))
        colour = _colour_difference(opponent, density)
        feature = _feature_difference(opponent[:, :1], density)
        return colour ** (1 - feature)


# --- colour ---------------------------------------------------------------------------------------


def _to_linear(srgb: Tensor) -> Tensor:
    return torch.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)


def _mix(matrix: Tensor, images: Tensor) -> Tensor:
    # Written out, because a matrix product follows torch.set_float32_matmul_precision.
    return (matrix.to(images)[..., None, None] * images[:, None]).sum(2)


def _relative_xyz(linear: Tensor) -> Tensor:
    """XYZ divided by that of white."""
    return _mix(_LINEAR_TO_XYZ / _LINEAR_TO_XYZ.sum(1, keepdim=True), linear)


def _opponent(linear: Tensor) -> Tensor:
    """Linear RGB to YCxCz."""
    x, y, z = _relative_xyz(linear).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def _from_opponent(opponent: Tensor) -> Tensor:
    """YCxCz to linear RGB."""
    y = (opponent[:, 0] + 16) / 116
    relative = torch.stack([y + opponent[:, 1] / 500, y, y - opponent[:, 2] / 200], 1)
    white = _LINEAR_TO_XYZ.sum(1)
    return _mix(torch.linalg.inv(_LINEAR_TO_XYZ) * white, relative)


def _hunt_lab(linear: Tensor) -> Tensor:
    """Linear RGB to L*a*b*, its chroma scaled by lightness (Hunt effect)."""
    delta = 6 / 29
    t = _relative_xyz(linear)
    fx, fy, fz = torch.where(t > delta**3, t.clamp_min(1e-12) ** (1 / 3), t / (3 * delta**2) + 4 / 29).unbind(
        1
    )
    lightness = 116 * fy - 16
    scale = 0.01 * lightness
    return torch.stack([lightness, scale * 500 * (fx - fy), scale * 200 * (fy - fz)], 1)


def _hyab(first: Tensor, second: Tensor) -> Tensor:
    lightness, a, b = (first - second).unbind(1)
    return lightness.abs() + torch.hypot(a, b)


def _colour_difference(opponent: Tensor, density: float) -> Tensor:
    """Return [N, H, W] in [0, 1] for [2N, 3, H, W]: the images after the eye's blur, compared in L*a*b*."""
    seen = _from_opponent(_as_seen(opponent, density)).clamp(0, 1)
    first, second = _hunt_lab(seen).chunk(2)
    green, blue = _hunt_lab(torch.tensor([[0.0, 1, 0], [0, 0, 1]]).view(2, 3, 1, 1)).chunk(2)
    largest = _hyab(green, blue).item() ** _COLOUR_POWER
    error = _hyab(first, second) ** _COLOUR_POWER
    knee = _KNEE_IN * largest
    low = error * (_KNEE_OUT / knee)
    high = _KNEE_OUT + (error - knee) / (largest - knee) * (1 - _KNEE_OUT)
    return torch.where(error < knee, low, high)


def _as_seen(opponent: Tensor, density: float) -> Tensor:
    """Blur each channel of YCxCz by its contrast sensitivity."""
    channels = []
    for channel, plane in enumerate(opponent.split(1, dim=1)):
        shares, lines = _sensitivity(channel, density)
        blurred = [
            share * separable(plane, line, line, "repeat") for share, line in zip(shares, lines, strict=True)
        ]
        channels.append(torch.stack(blurred).sum(0))
    return torch.cat(channels, 1)


@lru_cache(maxsize=16)
def _sensitivity(channel: int, density: float) -> tuple[list[float], list[list[float]]]:
    """Return the share of each Gaussian of a channel in its filter, and its normalised line of weights."""
    radius = math.ceil(3 * math.sqrt(_WIDEST / (2 * math.pi**2)) * density)
    lines, masses = [], []
    for a, b in _CSF[channel]:
        line = [math.exp(-(math.pi**2) * (i / density) ** 2 / b) for i in range(-radius, radius + 1)]
        lines.append([weight / sum(line) for weight in line])
        masses.append(a * math.sqrt(math.pi / b) * sum(line) ** 2)
    return [mass / sum(masses) for mass in masses], lines


# --- features -------------------------------------------------------------------------------------


def _feature_difference(achromatic: Tensor, density: float) -> Tensor:
    """Return [N, H, W] in [0, 1] for [2N, 1, H, W]: what has appeared or gone of edges and points."""
    lightness = (achromatic + 16) / 116
    gauss, slope, curve = _detectors(density)
    differences = []
    for detector in (slope, curve):
        across = separable(lightness, gauss, detector, "repeat")
        down = separable(lightness, detector, gauss, "repeat")
        first, second = torch.hypot(across, down).chunk(2)
        differences.append((first - second).abs())
    return (torch.maximum(*differences) / math.sqrt(2)).pow(_FEATURE_POWER).squeeze(1)


@lru_cache(maxsize=16)
def _detectors(density: float) -> tuple[list[float], list[float], list[float]]:
    """Return the lines of a Gaussian and of its first and second derivative, each scaled to (+1, -1)."""
    deviation = 0.5 * _FEATURE_WIDTH * density
    radius = math.ceil(3 * deviation)
    places = range(-radius, radius + 1)
    gauss = [math.exp(-(x**2) / (2 * deviation**2)) for x in places]
    slope = [-x * g for x, g in zip(places, gauss, strict=True)]
    curve = [(x**2 / deviation**2 - 1) * g for x, g in zip(places, gauss, strict=True)]
    return [weight / sum(gauss) for weight in gauss], _balanced(slope), _balanced(curve)


def _balanced(line: list[float]) -> list[float]:
    """Scale positive weights to the sum 1 and negative ones to -1."""
    positive = sum(weight for weight in line if weight > 0)
    negative = -sum(weight for weight in line if weight < 0)
    return [weight / (positive if weight > 0 else negative) for weight in line]
