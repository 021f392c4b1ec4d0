import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance

from repsynth.errors import UserError
from repsynth.metrics.frechet import Moments, frechet_distance

pytestmark = pytest.mark.filterwarnings("ignore:fid of")


def moments(features: Tensor, *sizes: int) -> Moments:
    found = Moments.none(features.shape[1])
    for part in features.split(list(sizes) or len(features)):
        found.add(part)
    return found


def normal(count: int, dimensions: int, seed: int) -> Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whitened(count: int, dimensions: int, seed: int) -> Tensor:
    """Samples whose mean is exactly zero and whose covariance is exactly the identity."""
    x = normal(count, dimensions, seed)
    x = x - x.mean(0)
    return torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(x.T)), x.T, upper=False).T


def by_scipy(first: Tensor, second: Tensor) -> float:
    x, y = first.double().numpy(), second.double().numpy()
    cx, cy = np.cov(x.T), np.cov(y.T)
    root = scipy.linalg.sqrtm(cx @ cy)
    return float(np.square(x.mean(0) - y.mean(0)).sum() + np.trace(cx + cy - 2 * root.real))


def by_singular_values(first: Tensor, second: Tensor) -> float:
    """The same distance without any covariance: exact also where covariances are singular."""
    x, y = first.double().numpy(), second.double().numpy()
    gap = np.square(x.mean(0) - y.mean(0)).sum()
    x, y = ((z - z.mean(0)) / np.sqrt(len(z) - 1) for z in (x, y))
    return float(gap + np.square(x).sum() + np.square(y).sum() - 2 * scipy.linalg.svdvals(x @ y.T).sum())


def skewed(count: int, dimensions: int, seed: int) -> Tensor:
    """Rectified features whose variances differ by many orders, as those of networks do."""
    scale = torch.linspace(-8, 1, dimensions, dtype=torch.float64).exp()
    mixing = torch.eye(dimensions, dtype=torch.float64) + 0.1 * normal(dimensions, dimensions, 99)
    return (normal(count, dimensions, seed) * scale @ mixing + 0.2 * seed).relu()


def test_two_gaussians_have_the_distance_of_the_closed_form() -> None:
    """Covariances with common axes: |m1 - m2|^2 + sum of (s1 - s2)^2 over the axes."""
    axes = torch.linalg.qr(normal(12, 12, 5)).Q
    s1, s2 = torch.linspace(0.1, 2, 12, dtype=torch.float64), torch.linspace(3, 0, 12, dtype=torch.float64)
    m1, m2 = normal(2, 12, 6)
    first = whitened(40, 12, 1) * s1 @ axes.T + m1
    second = whitened(70, 12, 2) * s2 @ axes.T + m2
    expected = ((m1 - m2).square().sum() + (s1 - s2).square().sum()).item()
    assert frechet_distance(moments(first), moments(second)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("dimensions", "first", "second"), [(5, 6, 9), (64, 300, 200), (300, 900, 500)])
def test_distances_agree_with_scipy(dimensions: int, first: int, second: int) -> None:
    x, y = skewed(first, dimensions, 1), skewed(second, dimensions, 2)
    found = frechet_distance(moments(x), moments(y))
    assert found == pytest.approx(by_scipy(x, y), rel=1e-6)
    assert found == pytest.approx(by_singular_values(x, y), rel=1e-7)
    assert frechet_distance(moments(y), moments(x)) == pytest.approx(found, rel=1e-7)


@pytest.mark.parametrize(("first", "second"), [(2, 2), (20, 31), (500, 20), (20, 500)])
def test_singular_covariances_are_exact(first: int, second: int) -> None:
    x, y = skewed(first, 64, 1), skewed(second, 64, 2)
    found = frechet_distance(moments(x), moments(y))
    assert found == pytest.approx(by_singular_values(x, y), rel=1e-8)


def test_features_that_never_change_are_no_obstacle() -> None:
    x, y = skewed(300, 32, 1), skewed(300, 32, 2)
    x[:, 3], y[:, 3], x[:, 7], y[:, 9] = 0, 0.5, 0.3, 0
    found = frechet_distance(moments(x), moments(y))
    assert found == pytest.approx(by_singular_values(x, y), rel=1e-7)


@pytest.mark.parametrize("count", [2, 20, 500])
def test_identical_sets_have_the_distance_zero(count: int) -> None:
    x = skewed(count, 64, 1)
    spread = moments(x).covariance.trace().item()
    assert frechet_distance(moments(x), moments(x)) < 1e-7 * spread
    assert frechet_distance(moments(x), moments(x.flip(0), 1, count - 1)) < 1e-7 * spread


class Identity(torch.nn.Module):
    num_features = 48

    def forward(self, features: Tensor) -> Tensor:
        return features


def test_torchmetrics_says_the_same() -> None:
    x, y = skewed(400, 48, 1).float(), skewed(300, 48, 2).float()
    other = FrechetInceptionDistance(Identity()).set_dtype(torch.float64)
    other.update(x, real=True)
    other.update(y, real=False)
    found = frechet_distance(moments(x), moments(y))
    assert found == pytest.approx(other.compute().item(), rel=1e-5)


def test_moments_are_those_of_numpy_however_they_come_in() -> None:
    x = skewed(50, 8, 1).float()
    found = moments(x, 7, 16, 26, 1)
    rest = moments(x[20:], 30)
    part = moments(x[:20], 19, 1)
    part.add_all(rest)
    for each in (found, part):
        assert each.count == 50
        np.testing.assert_allclose(each.mean, x.double().numpy().mean(0), rtol=1e-12)
        np.testing.assert_allclose(each.covariance, np.cov(x.double().numpy().T), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("first", "second", "counts"), [(1, 9, "1 and 9"), (9, 0, "9 and 0")])
def test_fewer_than_two_images_are_refused(first: int, second: int, counts: str) -> None:
    with pytest.raises(UserError) as raised:
        frechet_distance(moments(normal(first, 4, 1)), moments(normal(second, 4, 2)))
    assert str(raised.value) == (
        f"fid compares the spread of two sets and got {counts} images: expected at least 2 of each; evaluate more "
        "images or leave fid out of metrics"
    )


def test_fewer_images_than_dimensions_are_warned_of_with_the_counts() -> None:
    x, y = normal(20, 20, 1), normal(21, 20, 2)
    with pytest.warns(
        UserWarning, match=r"fid of 21 and 20 images in 20 dimensions: .* evaluate more than 20 images"
    ):
        frechet_distance(moments(y), moments(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frechet_distance(moments(y), moments(y))
