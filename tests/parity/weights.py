"""Weights of the parity fixtures: every reference tensor is a pure function of its key.

The first eight bytes of the key's SHA-256, little endian, seed NumPy's default generator; standard normal
noise of the tensor's shape, drawn in float64, is scaled to the mean and standard deviation in `keys.json`.
Keys of a kind other than "filled" are left to the network.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def noise_for(key: str, shape: list[int]) -> np.ndarray:
    """Return the standard normal noise that belongs to a key, float64 of the given shape."""
    digest = hashlib.sha256(key.encode()).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    return np.asarray(generator.standard_normal(shape))


def reference_state(folder: Path) -> dict[str, Tensor]:
    """Return the reference's state_dict (float32) that `keys.json` of a fixture folder describes."""
    table = json.loads((folder / "keys.json").read_text())
    state = {}
    for key, entry in table.items():
        if entry["kind"] == "filled":
            values = entry["mean"] + entry["std"] * noise_for(key, entry["shape"])
            state[key] = torch.from_numpy(np.asarray(values, dtype=np.float32))
    return state
