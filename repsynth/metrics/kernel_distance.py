"""KID, the squared maximum mean discrepancy of two sets of features (Binkowski et al. 2018).

Kernel (x y / D + 1)^3, unbiased estimate, mean over subsets, all in float64. The sum over all pairs of samples cannot
be streamed (the cube would need D^3 numbers), so that it takes features that were kept, see `pool.Pool`.
"""

import numpy as np
import torch
from torch import Tensor

from repsynth.errors import UserError


def kernel_distances(first: Tensor, second: Tensor, subsets: int, size: int) -> Tensor:
    """Return the squared discrepancy of each pair of subsets, [subsets] float64.

    Subset s holds `size` samples of either set, drawn without repetition by a generator seeded with s alone: the same
    rows every time. When both sets have at most `size` samples there is one subset, of all.

    Args:
        first: [N, D] of any floating type, N at least 2.
        second: [M, D].
        subsets: How many.
        size: Samples of each subset; at most as many as the smaller set has.

    Raises:
        UserError: For fewer than 2 samples.
    """
    counts = len(first), len(second)
    if min(counts) < 2:
        raise UserError(
            f"kid compares pairs inside two sets and got {counts[0]} and {counts[1]} images: expected at least 2 of "
            "each; evaluate more images or leave kid out of metrics"
        )
    if max(counts) <= size:
        return squared_discrepancy(first, second)[None]
    size = min(size, *counts)
    distances = []
    for subset in range(subsets):
        rng = np.random.default_rng(subset)
        rows = [torch.from_numpy(rng.choice(count, size, replace=False)) for count in counts]
        distances.append(squared_discrepancy(first[rows[0]], second[rows[1]]))
    return torch.stack(distances)


def squared_discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """Return the unbiased estimate from all pairs, a float64 scalar that may be below 0.

    Args:
        first: [N, D] of any floating type, N at least 2.
        second: [M, D], M at least 2.
    """
    x, y = first.double(), second.double()
    return _mean_of_others(_kernel(x, x)) + _mean_of_others(_kernel(y, y)) - 2 * _kernel(x, y).mean()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)


def _mean_of_others(kernel: Tensor) -> Tensor:
    """The mean of [N, N] without its diagonal."""
    count = len(kernel)
    return (kernel.sum() - kernel.trace()) / (count * (count - 1))
