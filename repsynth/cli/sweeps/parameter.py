"""What a sweep says of one parameter, read and checked: a value, a list, or a distribution, as W&B defines them."""

import math
from collections.abc import Mapping
from typing import Any

from repsynth.cli.sweeps.distributions import Distribution, choice, numbers
from repsynth.cli.wording import suggestion
from repsynth.errors import UserError

_BOUNDS, _NORMAL, _BETA = ("min", "max"), ("mu", "sigma"), ("a", "b")
_KEYS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    "int_uniform": _BOUNDS,
    "uniform": _BOUNDS,
    "q_uniform": (*_BOUNDS, "q"),
    "log_uniform": _BOUNDS,
    "log_uniform_values": _BOUNDS,
    "q_log_uniform": (*_BOUNDS, "q"),
    "q_log_uniform_values": (*_BOUNDS, "q"),
    "inv_log_uniform": _BOUNDS,
    "inv_log_uniform_values": _BOUNDS,
    "normal": _NORMAL,
    "q_normal": (*_NORMAL, "q"),
    "log_normal": _NORMAL,
    "q_log_normal": (*_NORMAL, "q"),
    "beta": _BETA,
    "q_beta": (*_BETA, "q"),
}
"""Distribution -> what may describe it, besides its name."""
_DEFAULTS = {"mu": 0.0, "sigma": 1.0, "a": 1.0, "b": 1.0, "q": 1}
_DESCRIBING = ("distribution", "value", "values", "probabilities", *_BOUNDS, *_NORMAL, *_BETA, "q")


def distribution(given: object, name: str) -> Distribution:
    """Read what a sweep says of a parameter.

    Args:
        given: the mapping below its name.
        name: the parameter's, for the message.

    Raises:
        UserError: it describes no distribution.
    """
    description = _checked_names(given, name)
    kind = _kind(description, name)
    unfit = [key for key in description if key not in ("distribution", *_KEYS[kind])]
    if unfit:
        raise UserError(f"parameter '{name}' is {kind}, which has no '{unfit[0]}'; {_takes(kind)}")
    missing = [key for key in _KEYS[kind] if key not in description and key not in _DEFAULTS]
    if missing:
        raise UserError(f"parameter '{name}' is {kind} without '{missing[0]}'; {_takes(kind)}")
    described = {**{key: _DEFAULTS[key] for key in _KEYS[kind] if key in _DEFAULTS}, **description}
    if kind == "constant":
        return _listed(kind, [described["value"]], None, name)
    if kind.startswith("categorical"):
        return _listed(kind, described["values"], described.get("probabilities"), name)
    return _ranged(kind, described, name)


def _checked_names(given: object, name: str) -> dict[str, Any]:
    if isinstance(given, Mapping) and "parameters" in given:
        raise UserError(
            f"parameter '{name}' has parameters of its own, which W&B passes on as one mapping; give each its full "
            f"name, such as '{name}.{next(iter(given['parameters'] or ['NAME']))}'"
        )
    if not isinstance(given, Mapping) or not given:
        raise UserError(
            f"parameter '{name}' is {given!r}; expected a mapping with value, values, or min and max"
        )
    for key in given:
        if key not in _DESCRIBING:
            raise UserError(
                f"parameter '{name}' has an unknown key '{key}': {suggestion(str(key), _DESCRIBING)}"
            )
    return dict(given)


def _kind(description: Mapping[str, Any], name: str) -> str:
    """The distribution, named or implied."""
    kind = description.get("distribution")
    if kind is None:
        return _implied(description, name)
    if kind not in _KEYS:
        raise UserError(
            f"parameter '{name}' has the unknown distribution '{kind}': {suggestion(str(kind), _KEYS)}"
        )
    return str(kind)


def _implied(description: Mapping[str, Any], name: str) -> str:
    if "value" in description:
        return "constant"
    if "values" in description:
        return "categorical_w_probabilities" if "probabilities" in description else "categorical"
    if "min" in description and "max" in description:
        whole = all(isinstance(description[key], int) for key in _BOUNDS)
        return "int_uniform" if whole else "uniform"
    raise UserError(
        f"parameter '{name}' has {', '.join(description)} and no distribution; give value, values, min and max, or "
        "distribution"
    )


def _takes(kind: str) -> str:
    return f"it takes {', '.join(_KEYS[kind])}"


def _listed(kind: str, values: object, probabilities: object, name: str) -> Distribution:
    if not isinstance(values, list) or not values:
        raise UserError(f"parameter '{name}' has values {values!r}; expected a list of at least one")
    for index, value in enumerate(values):
        _check_value(value, name)
        if value in values[:index]:
            raise UserError(f"parameter '{name}' has the value {value!r} twice; name each once")
    weights = None if probabilities is None else _weights(probabilities, len(values), name)
    return choice(kind, values, weights)


def _check_value(value: object, name: str) -> None:
    if value is None:
        raise UserError(
            f"parameter '{name}' has the value null, which W&B passes on as None; write the text \"null\""
        )
    if isinstance(value, str) and _is_number(value):
        raise UserError(
            f"parameter '{name}' has the text '{value}' for a number; YAML takes a number with an exponent only with "
            f"a point, such as 1.0e-3"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _weights(given: object, count: int, name: str) -> list[float]:
    weights = given if isinstance(given, list) else []
    fine = len(weights) == count and all(_is_finite(each) and each >= 0 for each in weights)
    if not fine or not math.isclose(sum(weights), 1.0, abs_tol=1e-6):
        raise UserError(
            f"parameter '{name}' has probabilities {given!r}; expected {count} numbers from 0 on that sum to 1"
        )
    return [each / sum(weights) for each in weights]


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _ranged(kind: str, described: Mapping[str, Any], name: str) -> Distribution:
    """A distribution of numbers."""
    for key in _KEYS[kind]:
        if not _is_finite(described[key]):
            _check_value(described[key], name)
            raise UserError(f"parameter '{name}' has {key} {described[key]!r}; expected a number")
    _check_ranges(kind, described, name)
    return numbers(kind, described)


def _check_ranges(kind: str, described: Mapping[str, Any], name: str) -> None:
    if "min" in described and not described["min"] < described["max"]:
        raise UserError(
            f"parameter '{name}' has min {described['min']} and max {described['max']}; expected min below max"
        )
    if kind.endswith("_values") and described["min"] <= 0:
        raise UserError(
            f"parameter '{name}' is {kind} with min {described['min']}; expected a number above 0"
        )
    if kind == "int_uniform" and not all(isinstance(described[key], int) for key in _BOUNDS):
        raise UserError(f"parameter '{name}' is int_uniform; expected whole numbers for min and max")
    if kind.removeprefix("inv_") == "log_uniform" or kind == "q_log_uniform":
        _check_exponents(described, name)
    for key in ("q", "a", "b"):
        if key in described and described[key] <= 0:
            raise UserError(f"parameter '{name}' has {key} {described[key]}; expected a number above 0")
    if described.get("sigma", 0) < 0:
        raise UserError(f"parameter '{name}' has sigma {described['sigma']}; expected 0 or more")


def _check_exponents(described: Mapping[str, Any], name: str) -> None:
    """W&B's log_uniform takes exponents of e, which many take for the values."""
    if max(abs(described[key]) for key in _BOUNDS) > 100:
        raise UserError(
            f"parameter '{name}' has min {described['min']} and max {described['max']}, exponents of e that give no "
            f"usable numbers; {described['distribution']}_values takes the values themselves"
        )
