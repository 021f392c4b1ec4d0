"""The distributions that W&B knows: their values, their ends, and draws from them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

_TAIL = 1e-3
"""Share of draws beyond each corner of a distribution without bounds."""


@dataclass(frozen=True)
class Distribution:
    """The values that a parameter may take.

    Attributes:
        kind: W&B's name.
        values: all of them, where there is an end of them; else empty.
        corners: values that a configuration has to take if it takes all: the values, or the ends of the range (for
            ranges without ends what a thousandth of the draws lies beyond).
        draw: one at random.
    """

    kind: str
    values: tuple[Any, ...]
    corners: tuple[Any, ...]
    draw: Callable[[np.random.Generator], Any]

    @property
    def varies(self) -> bool:
        """Whether it has more than one value."""
        return len(self.values) != 1


def choice(kind: str, values: Sequence[Any], weights: Sequence[float] | None) -> Distribution:
    """One of some values, with these probabilities or equal ones."""
    listed = tuple(values)
    return Distribution(kind, listed, listed, lambda rng: listed[int(rng.choice(len(listed), p=weights))])


def numbers(kind: str, described: Mapping[str, Any]) -> Distribution:
    """A distribution of numbers.

    Args:
        kind: W&B's name.
        described: what describes it, all of it, checked.
    """
    at, closed = _quantile(kind, described)
    rounded = _rounding(kind, described)
    ends = (0.0, 1.0) if closed else (_TAIL, 1 - _TAIL)
    return Distribution(
        kind,
        _steps(kind, described),
        tuple(dict.fromkeys(rounded(at(end)) for end in ends)),
        lambda rng: rounded(_drawn(kind, described, at, rng)),
    )


def _quantile(kind: str, described: Mapping[str, Any]) -> tuple[Callable[[float], float], bool]:
    """From a share of the draws to the value that they lie below; and whether the shares 0 and 1 have one."""
    plain = kind.removeprefix("q_")
    if plain.endswith("normal"):
        if described["sigma"] == 0:
            return lambda share: _exp_if(plain == "log_normal", described["mu"]), True
        normal = NormalDist(described["mu"], described["sigma"])
        return lambda share: _exp_if(plain == "log_normal", normal.inv_cdf(share)), False
    if plain == "beta":
        return lambda share: share, True  # only the ends are asked for
    low, high = described["min"], described["max"]
    if plain == "inv_log_uniform":  # the logarithm of 1 / x lies between the bounds
        low, high = -high, -low
    if plain.endswith("_values"):
        return lambda share: low * (high / low) ** share, True
    logarithmic = "log" in plain
    return lambda share: _exp_if(logarithmic, low + (high - low) * share), True


def _exp_if(condition: bool, value: float) -> float:
    return math.exp(value) if condition else value


def _drawn(
    kind: str, described: Mapping[str, Any], at: Callable[[float], float], rng: np.random.Generator
) -> float:
    if kind.endswith("beta"):
        return float(rng.beta(described["a"], described["b"]))
    if kind == "int_uniform":
        return int(rng.integers(described["min"], described["max"] + 1))
    return at(max(float(rng.random()), 1e-12))  # the smallest normal number of all is none


def _rounding(kind: str, described: Mapping[str, Any]) -> Callable[[float], int | float]:
    if kind == "int_uniform":
        return int
    if "q" not in described:
        return float
    step = described["q"]
    # Twelve digits: 3 * 0.1 is 0.30000000000000004.
    return lambda value: (
        round(value / step) * step if isinstance(step, int) else round(round(value / step) * step, 12)
    )


def _steps(kind: str, described: Mapping[str, Any]) -> tuple[int | float, ...]:
    """All values of a distribution that has an end of them, for a grid."""
    if kind not in ("int_uniform", "q_uniform"):
        return ()
    step = described.get("q", 1)
    first, last = math.ceil(described["min"] / step - 1e-9), math.floor(described["max"] / step + 1e-9)
    return tuple(_rounding(kind, {"q": step})(number * step) for number in range(first, last + 1))
