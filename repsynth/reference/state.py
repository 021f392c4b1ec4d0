"""Renaming of official state dictionaries into ours."""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from repsynth.errors import UserError

Renames = Sequence[tuple[str, str]]
"""Pairs of a regular expression and its replacement, all applied in turn to every key."""


def rename_keys(state: Mapping[str, Tensor], renames: Renames) -> dict[str, Tensor]:
    """Return the state with every key rewritten."""
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in renames:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    return renamed


def load_renamed(network: nn.Module, state: Mapping[str, Tensor], renames: Renames) -> None:
    """Load an official state into one of our networks.

    Raises:
        UserError: a key is missing or left over, or a shape differs; names the first of each.
    """
    ours, theirs = network.state_dict(), rename_keys(state, renames)
    missing, unknown = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
    name = type(network).__name__
    if missing or unknown:
        raise UserError(
            f"The official file does not fit {name}: {len(missing)} tensors missing "
            f"(first: {(missing or ['-'])[0]}), {len(unknown)} left over "
            f"(first: {(unknown or ['-'])[0]}); check the model's configuration."
        )
    for key, value in theirs.items():
        if value.shape != ours[key].shape:
            raise UserError(
                f"The official file does not fit {name}: {key} is {list(value.shape)}, "
                f"expected {list(ours[key].shape)}; check layers, planes and widths."
            )
    network.load_state_dict(theirs)
