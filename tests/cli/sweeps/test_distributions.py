"""Draws have the quantiles of their distribution, and the ends that a configuration must take."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from repsynth.cli.sweeps.distributions import Distribution
from repsynth.cli.sweeps.parameter import distribution

SHARES = [0.1, 0.25, 0.5, 0.75, 0.9]
Quantile = Callable[[float], float]
CONTINUOUS: dict[str, tuple[dict[str, Any], Quantile]] = {
    "uniform": ({"min": 0.5, "max": 2.5}, stats.uniform(0.5, 2.0).ppf),
    "log_uniform": ({"min": -3, "max": 2.0}, stats.loguniform(math.exp(-3), math.exp(2)).ppf),
    "log_uniform_values": ({"min": 1e-4, "max": 1e-1}, stats.loguniform(1e-4, 1e-1).ppf),
    "inv_log_uniform": ({"min": -1.0, "max": 3.0}, stats.loguniform(math.exp(-3), math.exp(1)).ppf),
    "inv_log_uniform_values": ({"min": 0.01, "max": 10.0}, stats.loguniform(0.01, 10.0).ppf),
    "normal": ({"mu": 1.0, "sigma": 2.0}, stats.norm(1.0, 2.0).ppf),
    "log_normal": ({"mu": 0.1, "sigma": 0.5}, stats.lognorm(0.5, scale=math.exp(0.1)).ppf),
    "beta": ({"a": 2.0, "b": 5.0}, stats.beta(2.0, 5.0).ppf),
}


def of(**description: Any) -> Distribution:  # noqa: ANN401
    return distribution(description, "x")


def draws(found: Distribution, count: int = 4000) -> list[Any]:
    rng = np.random.default_rng(0)
    return [found.draw(rng) for _ in range(count)]


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_draws_have_the_quantiles_of_scipy(kind: str) -> None:
    """W&B's own package `sweeps` 0.3.0 gave the same quantiles for these and the rounded ones, when it was compared."""
    description, quantile = CONTINUOUS[kind]
    found = of(distribution=kind, **description)
    below = [np.mean(np.asarray(draws(found)) <= quantile(share)) for share in SHARES]
    assert below == pytest.approx(SHARES, abs=0.03)
    ends = (0.0, 1.0) if "min" in description or kind == "beta" else (1e-3, 1 - 1e-3)
    assert found.corners == pytest.approx([quantile(end) for end in ends])
    assert found.values == () and found.varies


@pytest.mark.parametrize(
    "kind", ["uniform", "log_uniform", "log_uniform_values", "normal", "log_normal", "beta"]
)
def test_rounded_draws_are_multiples(kind: str) -> None:
    description, quantile = CONTINUOUS[kind]
    found = of(distribution=f"q_{kind}", q=0.1, **description)
    values = draws(found)
    assert all(value == round(round(value / 0.1) * 0.1, 12) for value in values)
    median = float(np.median(values))
    assert abs(median - quantile(0.5)) <= 0.05 + 0.06 * abs(quantile(0.5))


def test_whole_quanta_give_whole_numbers() -> None:
    found = of(distribution="q_log_uniform_values", min=2, max=100, q=5)
    assert all(isinstance(value, int) and value % 5 == 0 for value in draws(found, 100))
    assert of(distribution="q_log_normal").draw(np.random.default_rng(0)) == round(
        of(distribution="log_normal").draw(np.random.default_rng(0))
    )


def test_bounds_alone_say_what_they_mean() -> None:
    assert of(min=1, max=3).kind == "int_uniform"
    assert of(min=1, max=3.0).kind == "uniform"
    assert of(value=7).kind == "constant" and not of(value=7).varies
    assert of(values=[1, 2]).kind == "categorical"
    assert of(values=[1, 2], probabilities=[0.3, 0.7]).kind == "categorical_w_probabilities"


def test_whole_numbers_and_steps_can_be_counted() -> None:
    assert of(min=3, max=6).values == (3, 4, 5, 6)
    assert set(draws(of(min=3, max=6))) == {3, 4, 5, 6}
    assert of(distribution="q_uniform", min=4, max=17, q=4).values == (4, 8, 12, 16)
    assert of(distribution="q_uniform", min=0.1, max=0.5, q=0.1).values == (0.1, 0.2, 0.3, 0.4, 0.5)


def test_probabilities_are_those_given() -> None:
    found = draws(of(values=["a", "b"], probabilities=[0.2, 0.8]))
    assert found.count("a") / len(found) == pytest.approx(0.2, abs=0.03)
    equal = draws(of(values=["a", "b"]))
    assert equal.count("a") / len(equal) == pytest.approx(0.5, abs=0.03)


def test_no_deviation_gives_the_mean() -> None:
    found = of(distribution="log_normal", mu=0.5, sigma=0)
    assert found.corners == (math.exp(0.5),) and found.draw(np.random.default_rng(0)) == math.exp(0.5)
