"""Improved precision and recall (Kynkäänniemi et al. 2019): which share of one set lies inside the manifold of another.

The manifold of a set is the union of balls around its samples that reach to the k-th nearest other sample. Distances
are in float64, in blocks, so that memory does not grow with the square of the set.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from repsynth.errors import UserError

_ROWS, _COLUMNS = 1024, 8192
_SAME = 1e-13
"""Squared distances below this share of the squared lengths are those of equal features: rounding."""


def ball_radii(features: Tensor, neighbours: int) -> Tensor:
    """Return the squared distance of each sample to its k-th nearest other one, [N] float64.

    Args:
        features: [N, D] of any floating type.
        neighbours: k.

    Raises:
        UserError: When there are not more than k samples.
    """
    if len(features) <= neighbours:
        raise UserError(
            f"precision and recall look at {neighbours} neighbours of each image and got a set of {len(features)} "
            f"images: expected at least {neighbours + 1}; evaluate more images or leave precision and recall out of "
            "metrics"
        )
    radii = []
    for start in range(0, len(features), _ROWS):
        nearest = features.new_empty(min(_ROWS, len(features) - start), 0, dtype=torch.float64)
        for column, distances in _blocks(features[start : start + _ROWS], features):
            _ignore_itself(distances, start - column)
            nearest = torch.cat([nearest, distances], 1)
            nearest = nearest.topk(min(neighbours, nearest.shape[1]), largest=False).values
        radii.append(nearest.amax(1))
    return torch.cat(radii)


def share_inside(features: Tensor, centres: Tensor, radii: Tensor) -> float:
    """Return the share of samples that lie in at least one ball: the precision of samples in the real manifold.

    Args:
        features: [N, D] of any floating type.
        centres: [M, D].
        radii: [M] float64, squared, from `ball_radii`.
    """
    inside = 0
    for start in range(0, len(features), _ROWS):
        block = features[start : start + _ROWS]
        found = torch.zeros(len(block), dtype=torch.bool, device=features.device)
        for column, distances in _blocks(block, centres):
            found |= (distances <= radii[column : column + _COLUMNS]).any(1)
        inside += int(found.sum())
    return inside / len(features)


def _blocks(rows: Tensor, features: Tensor) -> Iterator[tuple[int, Tensor]]:
    """First column and squared distances [R, C] float64 of each block of columns."""
    x = rows.double()
    lengths = x.square().sum(1, keepdim=True)
    for start in range(0, len(features), _COLUMNS):
        y = features[start : start + _COLUMNS].double()
        sums = lengths + y.square().sum(1)
        distances = torch.addmm(sums, x, y.T, alpha=-2)
        yield start, torch.where(distances > _SAME * sums, distances, 0)


def _ignore_itself(distances: Tensor, offset: int) -> None:
    """Put infinity where row r meets column r + offset, as far as that lies in the block."""
    rows = torch.arange(len(distances), device=distances.device)
    columns = rows + offset
    inside = (columns >= 0) & (columns < distances.shape[1])
    distances[rows[inside], columns[inside]] = torch.inf
