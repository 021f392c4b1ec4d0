"""Samples one by one, as evaluation sees them, and many in one picture."""

import torch
from torch import Tensor

from repsynth.batches import Numbered
from repsynth.exports.prediction import Prediction
from repsynth.modules.cips.sampling.sampler import Sampler, keys_of


def numbered_images(sampler: Sampler, seeds: Tensor, numbers: Tensor) -> Tensor:
    """Return whole images [B, 3, H, W], about [-1, 1], of [B] seeds and numbers.

    With options left at their defaults, these are the images of evaluation.
    """
    places = sampler.places(seeds, numbers)
    w, noise = sampler.styles(seeds, numbers), sampler.noise(seeds, numbers)
    return sampler.colours(w, places, noise, sampler.is_full_grid(places))


def numbered_pictures(sampler: Sampler, seeds: Tensor, numbers: Tensor) -> Tensor:
    """Return `numbered_images` as bytes on the CPU."""
    places = sampler.places(seeds, numbers)
    w, noise = sampler.styles(seeds, numbers), sampler.noise(seeds, numbers)
    return sampler.pictures(w, places, noise, sampler.is_full_grid(places))


def samples(sampler: Sampler, batch: Numbered) -> Prediction:
    """Make a picture of every number."""
    return {
        "ids": batch["ids"],
        "frames": numbered_pictures(sampler, batch["seeds"], batch["numbers"])[:, None],
    }


def grids(sampler: Sampler, batch: Numbered) -> Prediction:
    """Make a picture of rows x columns samples, edge to edge, of every number: rows first."""
    rows, columns = sampler.options.grid.rows, sampler.options.grid.columns
    made = []
    for seed, numbers in zip(batch["seeds"], keys_of(batch["numbers"], rows * columns), strict=True):
        cells = numbered_pictures(sampler, seed.expand(len(numbers)), numbers)
        tiles = cells.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4)  # [3, rows, H, columns, W]
        made.append(tiles.flatten(3, 4).flatten(1, 2))
    return {"ids": batch["ids"], "frames": torch.stack(made)[:, None]}
