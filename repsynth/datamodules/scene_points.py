"""Depths of a scene from its sparse points."""

from dataclasses import dataclass

import numpy as np

QUANTILES = (0.001, 0.999)
"""Of the depths that a view sees: its near and far bound, as LLFF takes them."""


@dataclass(frozen=True)
class Depths:
    """What points tell of N views, in the units of the points."""

    near: float
    """Least bound of all views."""
    far: float
    """Greatest bound of all views."""
    median: np.ndarray
    """[N] median depth of each view; of a view that sees no point the median of all views."""


def depths_of_points(positions: np.ndarray, extrinsics: np.ndarray, intrinsics: np.ndarray) -> Depths | None:
    """Depth bounds and medians of the points in front of each view and inside of its picture.

    Args:
        positions: [P, 3] in the world.
        extrinsics: [N, 4, 4] world to camera.
        intrinsics: [N, 3, 3] normalised.

    Returns:
        None when no view sees a point.
    """
    bounds, median = [], np.full(len(extrinsics), np.nan)
    for view, (pose, camera) in enumerate(zip(extrinsics, intrinsics, strict=True)):
        points = positions @ pose[:3, :3].T + pose[:3, 3]
        points = points[points[:, 2] > 0]
        pixels = points @ camera.T
        inside = ((pixels[:, :2] >= 0) & (pixels[:, :2] <= pixels[:, 2:])).all(axis=1)
        depths = points[inside, 2]
        if len(depths):
            bounds.append(np.quantile(depths, QUANTILES))
            median[view] = np.median(depths)
    if not bounds:
        return None
    near, far = np.array(bounds).T
    median[np.isnan(median)] = np.nanmedian(median)
    return Depths(float(near.min()), float(far.max()), median)
