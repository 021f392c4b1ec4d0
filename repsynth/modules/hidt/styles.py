"""Styles that come from no photo: by name, drawn at random, and between others."""

import math
import re
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from repsynth.errors import UserError, require_at_least
from repsynth.nn.latents import latents

Curve = Literal["linear", "spherical"]
"""Between two styles on the straight line, or by direction on the circle and by length on the line."""

Timing = Literal["even", "eased"]
"""From one style to the next at constant speed, or slowing down at every style."""

RELEASED = {
    "hard_day": (-0.02282, -0.39486, 0.89802),
    "semihard_day": (-0.13158, 0.05006, 0.56219),
    "day": (-0.24035, 0.49497, 0.22636),
    "day2": (-0.1528, -1.3118, 1.5012),
    "presunset": (-0.29656, 0.54215, -0.63572),
    "sunset_hard_harder": (-0.59312, 1.08430, -1.27144),
    "sunsetred": (-0.1542, 0.1676, -1.7730),
    "2minute": (-0.38232, 0.57015, -0.95338),
    "5minute": (0.03928, -0.45815, -0.31725),
    "5minutes2": (-0.1544, -0.5920, -0.3295),
    "bluehour_hard": (0.40884, -1.66983, 0.24425),
    "bluehour_bit_dark": (-0.29561, -1.56985, -0.53503),
    "night": (-0.49511, -1.00655, -1.04132),
    "night2": (-0.1531, -1.5918, 0.0850),
    "darknight": (-0.4466, -1.3072, -0.3449),
    "another_night": (0.00708, -1.37504, -0.32711),
    "onemorenight": (0.20796, -1.52243, -0.04143),
    "nightmore": (0.10752, -1.44873, -0.18427),
}
"""Styles of the released daytime model; they mean nothing to any other."""

_LINE = re.compile(r"^\s*([^,\[\]]+?)\s*,\s*\[([^\[\]]*)\]\s*$")


def read_styles(path: Path, style_size: int) -> dict[str, Tensor]:
    """Read named styles, in the format of the official release: one `name,[a b c]` per line.

    Raises:
        UserError: the file is missing, or a line is no style of `style_size` numbers, or names one again.
    """
    styles: dict[str, Tensor] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.strip():
            name, style = _read_line(line, style_size, f"{path}, line {number}")
            if name in styles:
                raise UserError(f"{path}, line {number}: names {name} again; rename or remove one of them")
            styles[name] = style
    if not styles:
        raise UserError(f"{path}: names no style; expected one `name,[a b c]` per line")
    return styles


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UserError(
            f"{path}: cannot be read ({reason}); expected named styles, one `name,[a b c]` per line"
        ) from error


def _read_line(line: str, style_size: int, place: str) -> tuple[str, Tensor]:
    found = _LINE.match(line)
    try:
        numbers = [float(word) for word in re.split(r"[\s,]+", found[2].strip())] if found else []
    except ValueError:
        numbers = []
    if found is None or len(numbers) != style_size or not all(map(math.isfinite, numbers)):
        raise UserError(
            f"{place}: is '{line.strip()}'; expected a name, a comma and {style_size} numbers in brackets, such as "
            f"`night,[{' '.join(['0.5'] * style_size)}]`"
        )
    return found[1], torch.tensor(numbers)


def random_styles(seed: int, numbers: Tensor, style_size: int, temperature: float = 1.0) -> Tensor:
    """Draw styles from N(0, temperature^2 I), [B, style_size] float32; row i depends on the seed and its number only.

    Args:
        seed: at least 0.
        numbers: [B] int64, at least 0.
        style_size: numbers of a style.
        temperature: standard deviation; below 1 styles are nearer to the mean one.
    """
    return latents(torch.full_like(numbers, seed), numbers, style_size).mul_(temperature)


def style_path(
    styles: Tensor, frames: int, curve: Curve = "linear", timing: Timing = "even", closed: bool = False
) -> Tensor:
    """Return the styles of the frames of a timelapse, [frames, style_size].

    The first frame has the first style and the last frame the last one, which is the first again for a closed path;
    all styles divide the time between them evenly.

    Args:
        styles: [K, style_size], at least two to pass through.
        frames: at least 2.
        curve: see `Curve`.
        timing: see `Timing`.
        closed: return to the first style.

    Raises:
        UserError: fewer styles or frames.
    """
    require_at_least("prediction", 2, styles=len(styles), frames=frames)
    stops = torch.cat((styles, styles[:1])) if closed else styles
    time = torch.linspace(0, len(stops) - 1, frames, dtype=torch.float64)
    index = time.floor().long().clamp(max=len(stops) - 2)
    share = time - index
    if timing == "eased":
        share = share * share * (3 - 2 * share)
    before, after = stops.double()[index], stops.double()[index + 1]
    between = _turned if curve == "spherical" else torch.lerp
    return between(before, after, share.to(stops.device)[:, None]).to(styles.dtype)


def _turned(before: Tensor, after: Tensor, share: Tensor) -> Tensor:
    """Spherical interpolation of directions, linear of lengths; on the line where a direction or the way is unknown."""
    lengths = [part.norm(dim=1, keepdim=True) for part in (before, after)]
    first, second = (
        part / length.clamp_min(1e-12) for part, length in zip((before, after), lengths, strict=True)
    )
    cosine = (first * second).sum(1, keepdim=True)
    angle = cosine.clamp(-1, 1).acos()
    direction = (((1 - share) * angle).sin() * first + (share * angle).sin() * second) / angle.sin()
    turned = direction * torch.lerp(lengths[0], lengths[1], share)
    known = (cosine.abs() < 1 - 1e-9) & (torch.minimum(*lengths) > 0)
    return torch.where(known, turned, torch.lerp(before, after, share))
