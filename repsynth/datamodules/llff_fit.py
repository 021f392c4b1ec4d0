"""Do poses, bounds and pictures of an LLFF capture belong together? Its sparse points tell, where it has them.

Poses with wrong axes train without an error. The sign of the determinant sees a mirror, the place of the points
in the picture sees exchanged axes, their depth sees a camera that looks backwards, and only their colour sees one
that is turned by 180 degrees or belongs to another picture.
"""

import numpy as np

from repsynth.datamodules.images import read_image
from repsynth.datamodules.llff_scene import LLFFScene, seen_points
from repsynth.errors import UserError

_SHARE = 0.9
"""Least share of points that must fit; all do in sound captures, distorted photographs lose some in corners."""

_PICTURES = 3
"""Pictures whose colours are compared."""

_CHANCE = 0.75
"""Greatest colour difference relative to that of points at random: 0.4 on fern, 0.9 with any wrong axis."""

_FEWEST, _FLAT = 10, 4.0
"""Colours decide nothing for fewer points, or where points at random differ by fewer levels."""

_REMEDY = "make the poses anew, or remove the folder sparse if it is of another capture"


def check_fit(scene: LLFFScene) -> None:
    """Compare the cameras with the sparse points that their views see; nothing without points3D.bin.

    Raises:
        UserError: points lie outside of pictures or behind cameras, outside of the bounds, or have colours that
            the pictures do not show.
    """
    seen = seen_points(scene.folder, len(scene.files))
    if seen is None:
        return
    projected = [_project(scene, view, positions) for view, (positions, _) in enumerate(seen)]
    inside = [((pixels > 0) & (pixels < 1)).all(axis=1) & (depth > 0) for pixels, depth in projected]
    _require(
        scene, inside, "outside of its picture or behind its camera", "its columns down, right, backwards"
    )
    near, far = scene.depth_range
    within = [(depth >= near) & (depth <= far) for _, depth in projected]
    _require(scene, within, "outside of the bounds near and far", "its bounds")
    numbers = np.unique(np.linspace(0, len(seen) - 1, _PICTURES).astype(int))
    _compare_colours(
        scene, [(int(view), projected[view][0], seen[view][1], inside[view]) for view in numbers]
    )


def _project(scene: LLFFScene, view: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Relative pixels [S, 2] and depths [S] in scene units of world points [S, 3] in COLMAP's units."""
    points = scene.scale * positions @ scene.extrinsics[view, :3, :3].T + scene.extrinsics[view, :3, 3]
    depth = points[:, 2]
    pixels = points @ scene.intrinsics.T
    return pixels[:, :2] / np.where(depth == 0, 1e-9, depth)[:, None], depth


def _require(scene: LLFFScene, fits: list[np.ndarray], where: str, suspect: str) -> None:
    every = np.concatenate(fits)
    if not len(every) or every.mean() >= _SHARE:
        return
    shares = [one.mean() if len(one) else 1.0 for one in fits]
    worst = int(np.argmin(shares))
    raise UserError(
        f"LLFF: {scene.name}: {1 - shares[worst]:.0%} of the sparse points that the view of row {worst} sees lie "
        f"{where}, expected nearly none; poses_bounds.npy ({suspect}, or the order of its rows) does not fit "
        f"sparse/0: {_REMEDY}"
    )


def _compare_colours(scene: LLFFScene, views: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Views as (number, pixels [S, 2], colours [S, 3], inside [S])."""
    found, wanted = [], []
    for view, pixels, colours, inside in views:
        image = read_image(scene.files[view], convert=True)
        columns, rows = (pixels[inside] * image.shape[:0:-1]).astype(int).T
        found.append(image[:, rows, columns].T.astype(float))
        wanted.append(colours[inside].astype(float))
    shown, expected = np.concatenate(found), np.concatenate(wanted)
    shuffled = np.random.default_rng(0).permutation(expected)
    difference, chance = (np.abs(shown - colours).mean() for colours in (expected, shuffled))
    if len(shown) >= _FEWEST and chance >= _FLAT and difference > _CHANCE * chance:
        raise UserError(
            f"LLFF: {scene.name}: the pictures in {scene.files[0].parent} do not show the sparse points where "
            f"poses_bounds.npy puts them (colours differ by {difference:.0f} levels, by {chance:.0f} at random); "
            f"its axes are turned, or files and rows are in different orders: {_REMEDY}"
        )
