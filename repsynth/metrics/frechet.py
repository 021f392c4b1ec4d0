"""The Fréchet distance of FID (Heusel et al. 2017): between Gaussians with the moments of two sets of features.

Everything is in float64. Moments are sums, so that they need memory for one matrix however many samples there are.
"""

import warnings
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from repsynth.errors import UserError

_BLOCK = 256
"""Columns that are multiplied at once."""


@dataclass
class Moments:
    """Sums over N features.

    Attributes:
        count: N.
        total: [D] float64, the sum of the features.
        products: [D, D] float64, the sum of their outer products.
    """

    count: int
    total: Tensor
    products: Tensor

    @classmethod
    def none(cls, dimensions: int, device: torch.device | str = "cpu") -> Self:
        """Return the moments of no feature at all."""
        zeros = torch.zeros(dimensions + 1, dimensions, dtype=torch.float64, device=device)
        return cls(0, zeros[0], zeros[1:])

    def add(self, features: Tensor) -> None:
        """Count features [N, D] of any floating type."""
        features = features.to(self.total.device).double()
        self.count += len(features)
        self.total += features.sum(0)
        self.products.addmm_(features.T, features)

    def add_all(self, other: "Moments") -> None:
        """Count what another object has counted."""
        self.count += other.count
        self.total += other.total.to(self.total.device)
        self.products += other.products.to(self.total.device)

    def cpu(self) -> "Moments":
        """Return the same sums on the CPU."""
        return Moments(self.count, self.total.cpu(), self.products.cpu())

    @property
    def mean(self) -> Tensor:
        """[D] float64."""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """[D, D] float64, unbiased: divided by N - 1."""
        scatter = self.products - torch.outer(self.total, self.mean)
        return (scatter + scatter.T) / (2 * (self.count - 1))

    @property
    def rank(self) -> int:
        """The largest rank that the covariance can have."""
        return min(len(self.total), self.count - 1)


def frechet_distance(first: Moments, second: Moments) -> float:
    """Return |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)), at least 0.

    Warns when one set has no more samples than features have dimensions: its covariance is singular.

    Raises:
        UserError: For fewer than 2 samples.
    """
    _require_two(first, second)
    dimensions = len(first.total)
    if min(first.count, second.count) <= dimensions:
        warnings.warn(
            f"fid of {first.count} and {second.count} images in {dimensions} dimensions: so few images leave the "
            f"covariance singular and the figure too large; evaluate more than {dimensions} images",
            stacklevel=2,
        )
    few, many = sorted((first, second), key=lambda moments: moments.rank)
    covariances = few.covariance, many.covariance
    gap = (first.mean - second.mean).square().sum()
    spread = covariances[0].trace() + covariances[1].trace()
    return max(0.0, (gap + spread - 2 * _trace_of_root(*covariances, few.rank)).item())


def _trace_of_root(few: Tensor, many: Tensor, rank: int) -> Tensor:
    """The trace of (C1 C2)^(1/2), without the root: with C2 = L L^T the sum of the roots of L^T C1 L's eigenvalues.

    A symmetric matrix, so that its eigenvalues take a fifth of the time of those of the product.

    Args:
        few: [D, D], the covariance of the smaller rank.
        many: [D, D].
        rank: The largest that `few` can have.
    """
    factor, failed = torch.linalg.cholesky_ex(many)
    if failed:
        # Both are singular, or features are constant: the smaller one by its axes.
        eigenvalues, axes = torch.linalg.eigh(few)
        factor = axes[:, -rank:] * eigenvalues[-rank:].clamp_min(0).sqrt()
        product = factor.T @ many @ factor
    else:
        product = _lower_triangle(factor, few)
    # Below the rank of the product there is only rounding, whose root would be far larger than itself.
    return torch.linalg.eigvalsh(product)[-rank:].clamp_min(0).sqrt().sum()


def _lower_triangle(factor: Tensor, covariance: Tensor) -> Tensor:
    """L^T C L of a lower triangular L, [D, D], zero above its blocks on the diagonal: a third of the arithmetic."""
    product = torch.zeros_like(covariance)
    for start in range(0, len(factor), _BLOCK):
        rows, columns = slice(start, None), slice(start, start + _BLOCK)
        product[rows, columns] = factor[rows, rows].T @ (covariance[rows, rows] @ factor[rows, columns])
    return product


def _require_two(first: Moments, second: Moments) -> None:
    counts = first.count, second.count
    if min(counts) < 2:
        raise UserError(
            f"fid compares the spread of two sets and got {counts[0]} and {counts[1]} images: expected at least 2 of "
            "each; evaluate more images or leave fid out of metrics"
        )
