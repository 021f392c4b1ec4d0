"""Do cameras and pictures of a capture belong together? Its sparse points tell, where it has them.

Poses with wrong axes train without an error. The sign of the determinant sees a mirror, the place of the points
in the picture sees exchanged axes, their depth sees a camera that looks backwards, and only their colour sees one
that is turned by 180 degrees or belongs to another picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from repsynth.datamodules.captures import Capture, PictureRules, SparsePoints, is_scaled_copy
from repsynth.datamodules.images import read_size, require_mode
from repsynth.errors import UserError

_SHARE = 0.9
"""Least share of points that must fit; all do in sound captures, distorted photographs lose some in corners."""

_PICTURES = 3
"""Pictures whose colours are compared."""

_CHANCE = 0.75
"""Greatest colour difference relative to that of points at random: 0.4 on fern, 0.9 with any wrong axis."""

_FEWEST, _FLAT = 10, 4.0
"""Colours decide nothing for fewer points, or where points at random differ by fewer levels."""


@dataclass(frozen=True)
class Suspects:
    """Words of the complaints: what to blame when points are seen elsewhere."""

    head: str
    """Data set and scene: "LLFF: fern"."""
    view: Callable[[int], str]
    """Names a view by its place."""
    sizes: str
    """What says how large the full pictures are: "in poses_bounds.npy"."""
    places: str
    """What does not fit when points lie outside of pictures, and the remedy."""
    bounds: str
    """The same for points outside of the bounds."""
    pictures: str
    """Which pictures do not show the points where what puts them."""
    turned: str
    """What may be wrong with them, and the remedy."""


def check_pictures(capture: Capture, suspects: Suspects, rules: PictureRules) -> list[tuple[int, int]]:
    """Look at the heads of the pictures.

    Args:
        capture: pictures and the sizes that their cameras are of.
        suspects: words.
        rules: what is accepted.

    Returns:
        (height, width) of each that can be read.

    Raises:
        UserError: a picture is damaged, turned by a tag, of a colour mode that is not accepted, or not of the shape
            that its camera says.
    """
    found = []
    for file, full in zip(capture.files, capture.sizes, strict=True):
        try:
            size = read_size(file)
            require_mode(file, rules.convert)
        except UserError:
            if rules.tolerant:
                continue
            raise
        if not is_scaled_copy(size, full):
            raise UserError(
                f"{suspects.head}: {file} is {size[1]}x{size[0]}, which is no reduced copy of the "
                f"{full[1]:g}x{full[0]:g} {suspects.sizes} (the aspect ratios differ by more than a pixel); use "
                "pictures that were scaled, not cropped or turned"
            )
        found.append(size)
    return found


def check_fit(capture: Capture, suspects: Suspects, rules: PictureRules) -> None:
    """Compare the cameras with the sparse points that their views see; nothing without points.

    Args:
        capture: cameras, pictures, points.
        suspects: words.
        rules: what is accepted.

    Raises:
        UserError: points lie outside of pictures or behind cameras, outside of the bounds, or have colours that
            the pictures do not show.
    """
    points = capture.points
    if points is None:
        return
    projected = [_project(capture, points, view) for view in range(len(points.seen))]
    inside = [((pixels > 0) & (pixels < 1)).all(axis=1) & (depth > 0) for pixels, depth in projected]
    _require(suspects, inside, "outside of its picture or behind its camera", suspects.places)
    near, far = capture.scene.depth_range
    within = [(depth >= near) & (depth <= far) for _, depth in projected]
    _require(suspects, within, "outside of the bounds near and far", suspects.bounds)
    views = np.unique(np.linspace(0, len(points.seen) - 1, _PICTURES).astype(int)).tolist()
    shown = [_shown(capture, view, projected[view][0][inside[view]], rules) for view in views]
    kept = [(view, image) for view, image in zip(views, shown, strict=True) if image is not None]
    if kept:
        wanted = [points.colours[points.seen[view][inside[view]]] for view, _ in kept]
        _compare_colours(suspects, np.concatenate([image for _, image in kept]), np.concatenate(wanted))


def _project(capture: Capture, points: SparsePoints, view: int) -> tuple[np.ndarray, np.ndarray]:
    """Relative pixels [S, 2] and depths [S] of the points that a view sees."""
    pose, intrinsics = capture.scene.extrinsics[view], capture.scene.intrinsics[view]
    seen = points.positions[points.seen[view]] @ pose[:3, :3].T + pose[:3, 3]
    depth = seen[:, 2]
    pixels = seen @ intrinsics.T
    return pixels[:, :2] / np.where(depth == 0, 1e-9, depth)[:, None], depth


def _require(suspects: Suspects, fits: list[np.ndarray], where: str, suspect: str) -> None:
    every = np.concatenate(fits)
    if not len(every) or every.mean() >= _SHARE:
        return
    shares = [one.mean() if len(one) else 1.0 for one in fits]
    worst = int(np.argmin(shares))
    raise UserError(
        f"{suspects.head}: {1 - shares[worst]:.0%} of the sparse points that {suspects.view(worst)} sees lie {where}, "
        f"expected nearly none; {suspect}"
    )


def _shown(capture: Capture, view: int, pixels: np.ndarray, rules: PictureRules) -> np.ndarray | None:
    """Colours [S, 3] of a picture at relative pixels [S, 2]; None for one that may be and is unreadable."""
    try:
        image = capture.scene.pictures[view].read(rules.convert)
    except UserError:
        if rules.tolerant:
            return None
        raise
    columns, rows = (pixels * image.shape[:0:-1]).astype(int).T
    return image[:, rows, columns].T


def _compare_colours(suspects: Suspects, shown: np.ndarray, wanted: np.ndarray) -> None:
    shuffled = np.random.default_rng(0).permutation(wanted)
    difference, chance = (
        np.abs(shown.astype(float) - colours.astype(float)).mean() for colours in (wanted, shuffled)
    )
    if len(shown) >= _FEWEST and chance >= _FLAT and difference > _CHANCE * chance:
        raise UserError(
            f"{suspects.head}: the pictures {suspects.pictures} (colours differ by {difference:.0f} levels, by "
            f"{chance:.0f} at random); {suspects.turned}"
        )
