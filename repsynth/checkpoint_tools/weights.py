"""The weights in the content of a checkpoint: raw, or with the averages that the EMA callback kept."""

from pathlib import Path
from typing import Literal

from torch import Tensor

from repsynth.checkpoints import State
from repsynth.errors import UserError

Weights = Literal["raw", "ema"]


def content_of(state: State, path: Path) -> State:
    """The content, if it is that of a checkpoint.

    Raises:
        UserError: it has no weights.
    """
    if not isinstance(state, dict) or not isinstance(state.get("state_dict"), dict):
        raise UserError(f"{path} is not a checkpoint of repsynth (it has no 'state_dict'): give another file")
    return state


def averages(state: State) -> dict[str, Tensor]:
    """The averaged parameters by their names in the module; empty if no average was kept."""
    for own in (state.get("callbacks") or {}).values():
        if isinstance(own, dict) and isinstance(own.get("averages"), dict):
            return own["averages"]
    return {}


def weights_of(state: State, kind: Weights, path: Path) -> State:
    """The `state_dict` of a checkpoint, for "ema" with the averages in place of the parameters that have one.

    Raises:
        UserError: there are no averages, or they are of parameters that the module does not have.
    """
    weights = dict(state["state_dict"])
    if kind == "raw":
        return weights
    averaged = averages(state)
    if not averaged:
        raise UserError(f"the checkpoint {path} holds no averaged weights: take its own with --weights raw")
    unknown = [name for name in averaged if name not in weights]
    if unknown:
        raise UserError(
            f"the checkpoint {path} averages {unknown[0]}, which is not among its weights: take --weights raw"
        )
    return weights | {name: value.to(weights[name].dtype) for name, value in averaged.items()}
