from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.image.kid import poly_mmd

from repsynth.errors import UserError
from repsynth.metrics.kernel_distance import kernel_distances, squared_discrepancy


def features(count: int, seed: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=generator) + shift


def brute_force(first: Tensor, second: Tensor) -> float:
    """Every pair by itself, in Python's own float64."""
    x, y = first.double().tolist(), second.double().tolist()

    def mean(one: list[list[float]], other: list[list[float]], same: bool) -> float:
        values = [
            (sum(a * b for a, b in zip(one[i], other[j], strict=True)) / len(one[0]) + 1) ** 3
            for i, j in product(range(len(one)), range(len(other)))
            if not (same and i == j)
        ]
        return sum(values) / len(values)

    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


@pytest.mark.parametrize(("first", "second"), [(2, 2), (20, 31), (31, 20)])
def test_the_estimate_is_that_of_all_pairs(first: int, second: int) -> None:
    x, y = features(first, 1), features(second, 2, 0.5)
    assert squared_discrepancy(x, y).item() == pytest.approx(brute_force(x, y), rel=1e-12)


def test_torchmetrics_says_the_same() -> None:
    x, y = features(40, 1), features(40, 2, 0.5)
    assert squared_discrepancy(x, y).item() == pytest.approx(poly_mmd(x, y).item(), rel=1e-5)


def test_the_estimate_has_no_bias() -> None:
    """Small subsets of one distribution: the mean lies around zero, single values on both sides."""
    x, y = features(4000, 1), features(4000, 2)
    distances = kernel_distances(x, y, subsets=400, size=10)
    assert (distances < 0).any() and (distances > 0).any()
    assert abs(distances.mean()) < 3 * distances.std() / 20
    moved = kernel_distances(x, y + 0.5, subsets=400, size=10)
    assert moved.mean() > 10 * moved.std() / 20


def test_subsets_are_drawn_from_their_own_numbers() -> None:
    x, y = features(50, 1), features(40, 2, 0.5)
    distances = kernel_distances(x, y, subsets=3, size=15)
    torch.manual_seed(7)
    assert torch.equal(kernel_distances(x, y, subsets=5, size=15)[:3], distances)
    rng = np.random.default_rng(2)
    rows = rng.choice(50, 15, replace=False), rng.choice(40, 15, replace=False)
    assert len(set(rows[0].tolist())) == 15
    assert distances[2].item() == pytest.approx(brute_force(x[rows[0]], y[rows[1]]), rel=1e-12)


def test_sets_that_fit_into_a_subset_are_taken_whole() -> None:
    x, y = features(12, 1), features(9, 2, 0.5)
    distances = kernel_distances(x, y, subsets=100, size=12)
    assert distances.tolist() == pytest.approx([brute_force(x, y)], rel=1e-12)
    assert len(kernel_distances(x, y, subsets=4, size=11)) == 4


def test_a_set_against_itself_misses_zero_by_its_diagonal_alone() -> None:
    """Each image meets its copy among the cross pairs only: 2 / N of what it exceeds other pairs by."""
    for count in (30, 3000):
        x = features(count, 1)
        kernel = (x.double() @ x.double().T / 6 + 1) ** 3
        others = (kernel.sum() - kernel.trace()) / (count * (count - 1))
        expected = 2 / count * (others - kernel.trace() / count).item()
        assert squared_discrepancy(x, x).item() == pytest.approx(expected, rel=1e-9)
    assert -0.01 < expected < 0


def test_fewer_than_two_images_are_refused() -> None:
    with pytest.raises(UserError) as raised:
        kernel_distances(features(5, 1), features(1, 2), 10, 10)
    assert str(raised.value) == (
        "kid compares pairs inside two sets and got 5 and 1 images: expected at least 2 of each; evaluate more images "
        "or leave kid out of metrics"
    )
