"""What a checkpoint file holds, as a table for people and as a dictionary for programs."""

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repsynth.checkpoint_tools import exported
from repsynth.checkpoint_tools.weights import averages, content_of
from repsynth.checkpoints import State, seen, verify

Report = dict[str, Any]

_PARTS = {
    "state_dict": "weights",
    "optimizer_states": "optimisers",
    "lr_schedulers": "learning rate schedules",
    "loops": "position in the loops",
    "MixedPrecision": "gradient scaler",
    "hyper_parameters": "hyper-parameters",
}
"""What the entries of a checkpoint are called."""
_FEW = 4  # a network of more parts than this is shown as one


def report(path: Path) -> Report:
    """What a checkpoint or an exported file holds; sizes are bytes.

    Returns:
        `file`, `bytes`, `method`, `version`, `lightning`, `ranks`, `samples`, `iterations` (optimiser steps, where the
        method counts no others), `epoch`, `weights` ("raw" or "ema") of an exported file, `averaged` files of a mean,
        `holds` (words), `submodules` (name -> tensors, parameters, buffers, bytes), `ema` (the same, of all averages),
        `optimisers` (each with learning rates, parameters, tensors, bytes), `checksums` (records, and those damaged;
        None where the format has none). What a file does not tell is None.

    Raises:
        UserError: the file is missing, is no checkpoint, or is so damaged that its table of contents is lost.
    """
    if path.suffix == exported.SUFFIX and path.is_file():
        state, checksums = exported.read(path), None
    else:
        state, checksums = _read(path)
    content_of(state, path)
    averaged = averages(state)
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "method": state.get("method"),
        "version": state.get("version"),
        "lightning": state.get("pytorch-lightning_version"),
        "ranks": state.get("ranks"),
        "samples": state.get("samples", seen(state)),
        "iterations": state.get("iterations", state.get("global_step")),
        "epoch": state.get("epoch"),
        "weights": state.get("weights"),
        "averaged": state.get("averaged"),
        "holds": _holds(state, averaged),
        "submodules": submodules(state["state_dict"], state.get("buffers")),
        "ema": _count(averaged, []) if averaged else None,
        "optimisers": [_optimiser(own) for own in state.get("optimizer_states", [])],
        "checksums": checksums,
    }


def submodules(weights: Mapping[str, Any], buffers: list[str] | None) -> dict[str, Report]:
    """Counts of each submodule, followed by those of its parts when they are few; parameters without a module as "".

    Args:
        weights: a `state_dict`.
        buffers: the names among them that are buffers; None counts no buffers and no parameters apart.
    """
    found: dict[str, Report] = {}
    for name, tensors in _grouped(weights, 1).items():
        found[name] = _count(tensors, buffers)
        parts = {part: own for part, own in _grouped(tensors, 2).items() if part != name}
        if len(parts) <= _FEW:
            found |= {part: _count(own, buffers) for part, own in parts.items()}
    return found


def damaged_records(path: Path) -> tuple[int, list[str]]:
    """How many records a checkpoint has, and the names of those that do not match their checksums."""
    damaged = []
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        for record in records:
            try:
                with archive.open(record) as file:
                    while file.read(2**20):
                        pass
            except (zipfile.BadZipFile, OSError, EOFError):
                damaged.append(record.filename)
    return len(records), damaged


def _read(path: Path) -> tuple[State, Report]:
    """The content with tensors that have no values, and the state of the checksums; also of a damaged file."""
    if not zipfile.is_zipfile(path):
        verify(path)  # says what it is instead
    records, damaged = damaged_records(path)
    try:
        state: State = torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except Exception:
        verify(path)  # says what is wrong
        raise
    return state, {"records": records, "damaged": damaged}


def _holds(state: State, averaged: Mapping[str, Tensor]) -> list[str]:
    words = [word for key, word in _PARTS.items() if state.get(key)]
    if averaged:
        words.insert(1, "averaged weights")
    if any(isinstance(value, dict) and {"seed", "batch_size"} <= value.keys() for value in state.values()):
        words.append("order of the data")
    names = [name.partition("{")[0] for name in state.get("callbacks") or {}]
    return words + ([f"callbacks {', '.join(names)}"] if names else [])


def _grouped(tensors: Mapping[str, Any], depth: int) -> dict[str, dict[str, Any]]:
    """Tensors by the first parts of their names, of which the last one is the tensor's own."""
    groups: dict[str, dict[str, Any]] = {}
    for name, value in tensors.items():
        groups.setdefault(".".join(name.split(".")[:-1][:depth]), {})[name] = value
    return groups


def _count(tensors: Mapping[str, Any], buffers: list[str] | None) -> Report:
    known = set(buffers or ())
    own = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
    kept = [value for name, value in own.items() if name in known]
    learned = [value for name, value in own.items() if name not in known]
    return {
        "tensors": len(own),
        "parameters": None if buffers is None else _numbers(learned),
        "buffers": None if buffers is None else _numbers(kept),
        "bytes": _bytes(own.values()),
    }


def _optimiser(state: State) -> Report:
    """Lightning does not save the class of an optimiser; its groups and moments tell most of it."""
    moments = [
        value for own in state["state"].values() for value in own.values() if isinstance(value, Tensor)
    ]
    groups = state["param_groups"]
    return {
        "learning_rates": [float(group["lr"]) for group in groups],
        "parameters": sum(len(group["params"]) for group in groups),
        "moments": sorted({name for own in state["state"].values() for name in own}),
        "tensors": len(moments),
        "bytes": _bytes(moments),
    }


def _numbers(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
