"""Reading officially released files: only tensors, whatever they are wrapped in."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repsynth.errors import UserError

_WRAPPERS = ("state_dict", "model", "gen", "generator", "g_ema")
"""Keys under which released files keep a network's tensors, beside epochs, optimisers and the like."""
_PREFIXES = ("module.", "gen.", "generator.")
"""What distributed wrappers and trainers put before every key."""


def read_official(path: Path) -> dict[str, Tensor]:
    """The tensors of a network in a released file, under their official keys without common prefixes.

    Raises:
        UserError: the file is missing, damaged, holds objects other than tensors, or no network.
    """
    state = unwrapped(read_file(path))
    if not state:
        raise UserError(
            f"{path} holds no state dictionary: expected tensors by name, or a dictionary with one of "
            f"{', '.join(_WRAPPERS)}; give the generator's file of the official release"
        )
    return state


def unwrapped(content: object) -> dict[str, Tensor]:
    """The state dictionary in what `torch.load` gave; empty when there is none."""
    while isinstance(content, Mapping):
        inner = [content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    if not isinstance(content, Mapping):
        return {}
    state = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    for prefix in (*_PREFIXES, *_PREFIXES):  # wrappers in any order
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def read_file(path: Path) -> Any:  # noqa: ANN401  whatever the release put into it
    """Return what a released file holds, tensors and containers of them.

    Raises:
        UserError: the file is missing, damaged, or holds other objects.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a file of the official release")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds objects other than tensors, numbers and text, or is no torch file, and loading it could "
            "run foreign code: save its state dictionary alone in an environment that you trust"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UserError(f"{path} is damaged or no torch file ({reason}): download it again") from error
