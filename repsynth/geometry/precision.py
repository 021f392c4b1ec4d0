"""Geometry computes in float32 (or float64 when given that), also where networks run in half precision."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def widened(value: Any) -> Any:  # noqa: ANN401 (any argument of a decorated function)
    """Return a half-precision tensor as float32, anything else as it is."""
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function outside autocast, with its half-precision tensor arguments widened to float32."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            positional = [widened(value) for value in args]
            return function(*positional, **{key: widened(value) for key, value in kwargs.items()})

    return wrapper
