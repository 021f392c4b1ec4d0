"""Random numbers of generated samples: a function of seed and number, whatever batch or rank a sample falls into."""

import numpy as np
import torch
from torch import Tensor


def sample_rng(seed: int, number: int, stream: int = 0) -> np.random.Generator:
    """Return the generator of one sample.

    Args:
        seed: of the set, at least 0.
        number: of the sample, at least 0.
        stream: which of several independent generators of the sample, at least 0.
    """
    # The last word keeps these streams apart from those of data and training steps.
    return np.random.default_rng(np.random.SeedSequence([seed, number, stream, 0x1A7E]))


def latents(seeds: Tensor, numbers: Tensor, *shape: int, stream: int = 0) -> Tensor:
    """Return standard normal latents of samples, [B, *shape] float32 on the device of `numbers`.

    Row i depends on its seed and its number only. Costs 20 microseconds a sample (512 values, one core).

    Args:
        seeds: [B] int64, at least 0.
        numbers: [B] int64, at least 0.
        shape: of one sample's latent.
        stream: as in `sample_rng`; give noise inputs of a network another than its latent.
    """
    drawn = np.empty((len(numbers), *shape), np.float32)
    for row, seed, number in zip(drawn, seeds.tolist(), numbers.tolist(), strict=True):
        sample_rng(seed, number, stream).standard_normal(dtype=np.float32, out=row)
    return torch.from_numpy(drawn).to(numbers.device)
