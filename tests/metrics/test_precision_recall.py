import numpy as np
import pytest
import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.metrics import precision_recall
from repsynth.metrics.precision_recall import ball_radii, share_inside


def features(count: int, seed: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, generator=generator) * scale


def brute_force(real: Tensor, generated: Tensor, neighbours: int) -> tuple[float, float]:
    """Every distance by itself, in float64."""

    def distance(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.sqrt(np.square(one - other).sum()))

    def inside(points: np.ndarray, centres: np.ndarray) -> float:
        radii = [
            sorted(distance(a, b) for j, b in enumerate(centres) if j != i)[neighbours - 1]
            for i, a in enumerate(centres)
        ]
        found = [any(distance(p, c) <= r for c, r in zip(centres, radii, strict=True)) for p in points]
        return sum(found) / len(points)

    r, g = real.double().numpy(), generated.double().numpy()
    return inside(g, r), inside(r, g)


def both(real: Tensor, generated: Tensor, neighbours: int = 3) -> tuple[float, float]:
    return (
        share_inside(generated, real, ball_radii(real, neighbours)),
        share_inside(real, generated, ball_radii(generated, neighbours)),
    )


@pytest.mark.parametrize("neighbours", [1, 3, 5])
@pytest.mark.parametrize("blocks", [(1024, 8192), (7, 10), (16, 1), (1, 3)])
def test_shares_are_those_of_all_distances(
    neighbours: int, blocks: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision_recall, "_ROWS", blocks[0])
    monkeypatch.setattr(precision_recall, "_COLUMNS", blocks[1])
    real, generated = features(40, 1), features(33, 2, 1.5)
    found = both(real, generated, neighbours)
    assert found == brute_force(real, generated, neighbours)
    assert 0.1 < found[0] < 0.9 and found[0] != found[1]


def test_radii_are_squared_distances_to_the_kth_other() -> None:
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0], [15.0]])
    assert ball_radii(line, 1).tolist() == [1, 1, 4, 16, 64]
    assert ball_radii(line, 3).tolist() == [49, 36, 16, 49, 196]


def test_identical_sets_lie_in_each_other_and_distant_ones_do_not() -> None:
    real = features(30, 1)
    assert both(real, real) == (1, 1)
    assert both(real, real + 100) == (0, 0)


def test_a_set_in_few_places_is_precise_and_covers_little() -> None:
    real = features(60, 1)
    generated = real[:1].repeat(40, 1)
    precision, recall = both(real, generated)
    assert (precision, recall) == (1, 1 / 60)


def test_equal_features_have_no_distance_also_far_from_zero() -> None:
    """Rounding of |a|^2 + |b|^2 - 2 a b must not put copies outside of balls without extent."""
    generator = torch.Generator().manual_seed(0)
    one = torch.rand(1, 4096, generator=generator) * 30
    same = one.repeat(10, 1)
    for neighbours in (3, 9):
        assert ball_radii(same, neighbours).tolist() == [0] * 10
    assert both(same, same) == (1, 1)
    assert both(same, same * 1.00001) == (0, 0)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(UserError) as raised:
        ball_radii(features(3, 1), 3)
    assert str(raised.value) == (
        "precision and recall look at 3 neighbours of each image and got a set of 3 images: expected at least 4; "
        "evaluate more images or leave precision and recall out of metrics"
    )
