"""The trials of a sweep: the points of its grid, or points drawn at random."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from repsynth.cli.sweeps.file import Sweep
from repsynth.errors import UserError
from repsynth.exports.files import file_name

_LONGEST = 60
"""Characters of a trial's name."""
_ATTEMPTS = 1000
"""Draws for one trial that has not been drawn before."""


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        number: from 0 on, the same for every call.
        name: of its directory: the number and what varies.
        parameters: name -> value, constant ones too.
    """

    number: int
    name: str
    parameters: dict[str, Any]


def plan(sweep: Sweep, most: int | None, seed: int) -> list[Trial]:
    """The trials of a sweep; more trials or another limit change none of those that come first.

    Args:
        sweep: the sweep; `bayes` is drawn at random like `random`.
        most: at most so many, beside the sweep's own limit; for a grid None is all.
        seed: of the draw.

    Raises:
        UserError: nothing says where a random draw ends.
    """
    limits = [limit for limit in (most, sweep.run_cap) if limit is not None]
    if sweep.method == "grid":
        points = _grid(sweep)
    elif limits:
        points = _draws(sweep, np.random.default_rng(seed))
    else:
        raise UserError(
            f"{sweep.path}: method {sweep.method} has no end of its own; give --max-trials N, or run_cap in the file"
        )
    chosen = itertools.islice(points, min(limits)) if limits else points
    return [Trial(number, _name(sweep, number, point), point) for number, point in enumerate(chosen)]


def varying(sweep: Sweep) -> list[str]:
    """The parameters with more than one value."""
    return [name for name, each in sweep.parameters.items() if each.varies]


def short_names(names: list[str]) -> dict[str, str]:
    """The shortest ends of dotted names that are all different."""
    found = {}
    for name in names:
        parts = name.split(".")
        ends = (".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1))
        found[name] = next(
            end
            for end in ends
            if sum(other == end or other.endswith(f".{end}") for other in names) == 1 or end == name
        )
    return found


def shown(value: object) -> str:
    """A value in few characters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _grid(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """All points, the last parameter changing fastest."""
    names = list(sweep.parameters)
    for values in itertools.product(*(each.values for each in sweep.parameters.values())):
        yield dict(zip(names, values, strict=True))


def _draws(sweep: Sweep, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Points at random, none twice; ends where no new one is found."""
    known: list[dict[str, Any]] = []
    while True:
        for _ in range(_ATTEMPTS):
            point = {name: each.draw(rng) for name, each in sweep.parameters.items()}
            if point not in known:
                break
        else:
            return
        known.append(point)
        yield point


def _name(sweep: Sweep, number: int, point: Mapping[str, Any]) -> str:
    short = short_names(varying(sweep))
    words = "_".join(f"{end}-{shown(point[name])}" for name, end in short.items())
    return f"{number:03d}-{file_name(words)[:_LONGEST].rstrip('._-') or 'trial'}"
