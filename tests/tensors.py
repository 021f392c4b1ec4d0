"""Tensors wherever they lie in dicts, lists and tuples."""

from collections.abc import Iterator

from torch import Tensor


def tensors_of(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor, with the keys and places that lead to it."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from tensors_of(item, f"{name}/{key}")
