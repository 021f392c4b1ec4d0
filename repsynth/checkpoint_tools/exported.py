"""Weights as safetensors files: for other programs, and back with `--init_from`."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

import repsynth
from repsynth.checkpoint_tools.weights import Weights, averages, content_of, weights_of
from repsynth.checkpoints import State, seen, verify
from repsynth.errors import UserError

SUFFIX = ".safetensors"


def export(path: Path, out: Path, kind: Weights | None = None) -> Weights:
    """Write the weights of a checkpoint, under the names of its `state_dict`, as a safetensors file.

    The metadata, all text: `method` (path of the class), `version` of repsynth, `weights` ("raw" or "ema"), `samples`,
    `buffers` (names as JSON) and `sha256` of the tensors. The file takes its name when it is whole and reads back.

    Args:
        path: the checkpoint.
        out: where to; must not exist, and end in .safetensors.
        kind: the weights themselves, or their running averages; None takes the averages where there are some.

    Returns:
        Which were written.

    Raises:
        UserError: the checkpoint is damaged or has no such weights, or `out` exists or cannot be written.
    """
    if out.suffix != SUFFIX:
        raise UserError(
            f"{out} does not end in {SUFFIX} (option --out), by which `--init_from` knows such files"
        )
    if out.exists():
        raise UserError(f"{out} is there already; remove it or name another file with --out")
    content_of(verify(path), path)
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    kind = kind or ("ema" if averages(state) else "raw")
    weights = weights_of(state, kind, path)
    odd = next((name for name, value in weights.items() if not isinstance(value, Tensor)), None)
    if odd is not None:
        raise UserError(f"{path} holds {odd}, which is no tensor, and a {SUFFIX} file holds nothing else")
    # Two names of one tensor are refused by the format: each gets its own copy.
    tensors = {name: value.detach().clone().contiguous() for name, value in weights.items()}
    _write(tensors, _metadata(state, kind, tensors), out)
    return kind


def read(path: Path) -> State:
    """The content of an exported file, as that of a checkpoint: `state_dict`, and what its metadata tell.

    Raises:
        UserError: it is damaged, or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read as a safetensors file ({error}): export it again") from error
    if "sha256" in metadata and metadata["sha256"] != _digest(tensors):
        raise UserError(f"{path} is damaged (its tensors do not match their checksum): export it again")
    told: State = {key: metadata[key] for key in ("method", "version", "weights") if key in metadata}
    numbers: State = {key: json.loads(metadata[key]) for key in ("samples", "buffers") if key in metadata}
    return {"state_dict": tensors, **told, **numbers}


def _metadata(state: State, kind: Weights, tensors: dict[str, Tensor]) -> dict[str, str]:
    method = {"method": str(state["method"])} if "method" in state else {}
    return {
        "format": "pt",
        **method,
        "version": repsynth.__version__,
        "weights": kind,
        "samples": str(seen(state)),
        "buffers": json.dumps(state.get("buffers", [])),
        "sha256": _digest(tensors),
    }


def _digest(tensors: dict[str, Tensor]) -> str:
    """Hexadecimal SHA-256 of names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _write(tensors: dict[str, Tensor], metadata: dict[str, str], out: Path) -> None:
    from safetensors.torch import save_file

    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial, metadata)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        read(partial)
        partial.replace(out)
    # The library reports a failed write as an error of its own.
    except Exception as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise UserError(f"{out} could not be written ({error}): check free space and permissions") from error
