"""Places that an image is asked for at: coordinates are data, any set of points is one.

x runs to the right and y down, both from -1 to 1 with the centres of the outermost pixels on -1 and 1, at every
resolution. On a cylinder x is replaced by the angle t around it, given as (cos t, sin t), so that a whole turn closes.
"""

import math
from typing import Literal

import torch
from torch import Tensor

Surface = Literal["plane", "cylinder"]
"""What coordinates lie on: (x, y) on the plane, (cos t, sin t, y) on the cylinder."""

WHOLE = (-1.0, -1.0, 1.0, 1.0)
"""The window of a whole image."""


def dimensions(surface: Surface) -> int:
    """How many numbers give a point."""
    return 2 if surface == "plane" else 3


def pixel_coordinates(
    height: int,
    width: int,
    window: tuple[float, float, float, float] = WHOLE,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return the coordinates (x, y) of every pixel of an image or of a window of it, [height, width, 2], float32.

    Args:
        height, width: pixels to place on the window, its first and last on the window's edges; a single one goes to
            the middle.
        window: (left, top, right, bottom). Outside of [-1, 1] the image is extrapolated, see `extrapolated`.
        device: of the result.
    """
    left, top, right, bottom = window
    y, x = torch.meshgrid(_line(top, bottom, height), _line(left, right, width), indexing="ij")
    return torch.stack((x, y), dim=-1).float().to(device)


def window_coordinates(windows: Tensor, side: int, image_size: tuple[int, int]) -> Tensor:
    """Return the coordinates (x, y) of the pixels of patches, [B, side, side, 2], float32.

    Args:
        windows: [B, 3], row and column of the first pixel in the whole image, and the step to the next.
        side: pixels of a side of the patches.
        image_size: (height, width) of the whole image.
    """
    rows, columns = _pixels_of(windows, side)
    height, width = image_size
    y, x = (_line(-1, 1, count).to(windows.device) for count in (height, width))
    y, x = y[rows][:, :, None], x[columns][:, None]
    return torch.stack(torch.broadcast_tensors(x, y), dim=-1).float()


def panorama_window_coordinates(
    windows: Tensor, side: int, image_size: tuple[int, int], starts: Tensor, turn: float
) -> Tensor:
    """Return the cylinder's coordinates of the pixels of patches, [B, side, side, 3], float32.

    Args:
        windows, side, image_size: as of `window_coordinates`.
        starts: [B], the angles of the first columns of the whole images, in radians.
        turn: part of the whole turn that a whole image shows.
    """
    rows, columns = _pixels_of(windows, side)
    height, width = image_size
    y = _line(-1, 1, height).to(windows.device)[rows][:, :, None]
    angles = (starts.double()[:, None] + 2 * math.pi * turn * columns / width)[:, None]
    angles, y = torch.broadcast_tensors(angles, y)
    return on_cylinder(torch.stack((angles, y), dim=-1)).float()


def on_cylinder(points: Tensor) -> Tensor:
    """Return (cos t, sin t, y) [..., 3] of points (t, y) [..., 2] with t in radians."""
    angle, y = points.double().unbind(-1)
    return torch.stack((angle.cos(), angle.sin(), y), dim=-1).to(points.dtype)


def panorama_coordinates(
    height: int, width: int, turn: float = 1.0, start: float = 0.0, device: torch.device | str | None = None
) -> Tensor:
    """Return the cylinder's coordinates of the pixels of a panorama, [height, width, 3].

    The columns divide `turn` evenly and the last one stops a step short of its end, so that a whole turn can be tiled.

    Args:
        height, width: pixels.
        turn: part of the whole turn to show.
        start: angle of the first column in radians.
        device: of the result.
    """
    angles = start + 2 * math.pi * turn * torch.arange(width, dtype=torch.float64) / width
    y, angle = torch.meshgrid(_line(-1, 1, height), angles, indexing="ij")
    return on_cylinder(torch.stack((angle, y), dim=-1)).float().to(device)


def extrapolated(coordinates: Tensor) -> Tensor:
    """Tell which points [..., 2 or 3] lie where no training image had a pixel, [...] of bool; on a cylinder by y."""
    flat = coordinates[..., 2:] if coordinates.shape[-1] == 3 else coordinates
    return (flat.abs() > 1).any(dim=-1)


def _pixels_of(windows: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Rows and columns [B, side] of a patch's pixels in the whole image."""
    places = torch.arange(side, device=windows.device)
    rows, columns, step = windows.unbind(1)
    return rows[:, None] + step[:, None] * places, columns[:, None] + step[:, None] * places


def _line(first: float, last: float, count: int) -> Tensor:
    """Evenly spaced float64 numbers from first to last [count]."""
    if count == 1:
        return torch.tensor([(first + last) / 2], dtype=torch.float64)
    return torch.linspace(first, last, count, dtype=torch.float64)
