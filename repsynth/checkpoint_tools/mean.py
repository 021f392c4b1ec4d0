"""The mean of the weights of several checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

import repsynth
from repsynth.checkpoint_tools.weights import Weights, content_of, weights_of
from repsynth.checkpoints import State, seen, verify, write
from repsynth.errors import UserError


def average(paths: Sequence[Path], out: Path, kind: Weights = "raw") -> None:
    """Write a checkpoint with the mean weights of others, and nothing to resume from.

    Parameters are summed in float64 and keep their type; buffers, and parameters that are no floating point numbers,
    are those of the last file. The new file names the others and their samples under `averaged`.

    Args:
        paths: two files or more, of one method with the same networks.
        out: where to; must not exist.
        kind: the weights themselves, or their running averages.

    Raises:
        UserError: fewer than two files, or the same one twice; a file is damaged, of another method or with other
            networks, does not tell its buffers, or holds weights that are not finite; `out` exists.
    """
    _check_files(paths, out)
    outlines = [content_of(verify(path), path) for path in paths]
    for path, outline in zip(paths[1:], outlines[1:], strict=True):
        _check_alike(paths[0], outlines[0], path, outline)
    sums: dict[str, Tensor] = {}
    last: State = {}
    for path in paths:
        last = _load(path)
        _add(sums, weights_of(last, kind, path), set(last["buffers"]), path)
    means = {name: (total / len(paths)) for name, total in sums.items()}
    weights = weights_of(last, kind, paths[-1])
    state: State = {
        **{key: last[key] for key in ("method", "buffers") if key in last},
        "state_dict": {name: means[name].to(w.dtype) if name in means else w for name, w in weights.items()},
        "version": repsynth.__version__,
        "pytorch-lightning_version": pl.__version__,
        "averaged": {str(path): seen(outline) for path, outline in zip(paths, outlines, strict=True)},
    }
    write(state, out)


def _check_files(paths: Sequence[Path], out: Path) -> None:
    if len(paths) < 2:
        raise UserError("a mean needs at least two checkpoints: name more of them")
    resolved = [path.resolve() for path in paths]
    twice = next((path for path in paths if resolved.count(path.resolve()) > 1), None)
    if twice is not None:
        raise UserError(f"{twice} is named twice and would count twice: name each checkpoint once")
    if out.exists():
        raise UserError(f"{out} is there already; remove it or name another file with --out")


def _check_alike(first: Path, one: State, path: Path, other: State) -> None:
    """UserError if two checkpoints are not of the same method with the same networks."""
    if one.get("method") != other.get("method"):
        raise UserError(
            f"{path} belongs to {other.get('method')}, {first} to {one.get('method')}: a mean is of checkpoints of one "
            "method"
        )
    mine, theirs = (_shapes(state) for state in (one, other))
    odd = next((name for name in mine | theirs if mine.get(name) != theirs.get(name)), None)
    if odd is not None:
        raise UserError(
            f"{first} and {path} have different networks, first {odd} with {_words(mine.get(odd))} and "
            f"{_words(theirs.get(odd))}: a mean is of checkpoints of one configuration"
        )


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(value.shape) for name, value in state["state_dict"].items() if isinstance(value, Tensor)
    }


def _words(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(list(shape))


def _load(path: Path) -> State:
    state: State = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(state.get("buffers"), list):
        raise UserError(
            f"{path} does not tell which of its weights are buffers, which a mean must not mix: it was imported, or "
            "written by a version of repsynth before that; resume it, and average what is saved then"
        )
    return state


def _add(sums: dict[str, Tensor], weights: dict[str, Any], buffers: set[str], path: Path) -> None:
    for name, value in weights.items():
        if name in buffers or not isinstance(value, Tensor):
            continue
        if not (value.is_floating_point() or value.is_complex()):
            continue
        exact = value.to(torch.promote_types(value.dtype, torch.float64))
        if not exact.isfinite().all():
            raise UserError(
                f"{path} holds values in {name} that are not finite, and so would the mean: leave it out"
            )
        sums[name] = sums[name].add_(exact) if name in sums else exact.clone()
