"""Noise that belongs to a place, not to a draw: a hash of seed, layer and coordinates.

So the same pixel gets the same noise in every chunk, subset, order and zoom it is asked for in, and the backward pass
can compute it again.
"""

import math
from typing import Literal

import torch
from torch import Tensor

Noise = Literal["random", "none"] | int | Tensor
"""random: another noise for every image and call, as in the released models. none: no noise. A number: the same noise
in every image, for example in all frames of a video. A tensor of integers [B]: one number per image."""

_PLACES = 2**20  # per unit: far below the pitch of any image, far above float32's rounding of a coordinate
_BITS = 23  # of the uniform number: with a half added, exact in float32
_GOLDEN, _FIRST, _SECOND = (
    -0x61C8864680B583EB,
    -0x40A7B892E31B1A47,
    -0x6B2FB644ECCEEE15,
)  # SplitMix64's constants


def noise_seeds(noise: Noise, images: int, device: torch.device) -> Tensor | None:
    """Return the integers [images] that `pixel_noise` starts from, or None for no noise.

    Raises:
        ValueError: another number of seeds than images.
    """
    if isinstance(noise, Tensor):
        if noise.shape != (images,):
            raise ValueError(
                f"noise has the shape {list(noise.shape)}; expected one seed for each of {images} images"
            )
        return noise.to(device)
    if noise == "none":
        return None
    if noise == "random":
        return torch.randint(2**62, (images,), device=device)
    return torch.full((images,), int(noise), device=device)


@torch.compiler.disable  # torch 2.13 on CPU compiles it into wrong numbers once seeds or layers are constants
def pixel_noise(seeds: Tensor, coordinates: Tensor, layers: int) -> Tensor:
    """Return standard normal numbers [layers, B, N], independent between layers, seeds and places.

    Args:
        seeds: [B] integers.
        coordinates: [1 or B, K, N]. Places closer than about 1e-6 share their noise.
        layers: how many numbers each place gets.
    """
    place = torch.zeros_like(coordinates[:, 0], dtype=torch.int64)
    for axis in (coordinates.detach() * _PLACES).round().long().unbind(1):
        place = _mixed(place * _GOLDEN + axis)
    layer = torch.arange(1, layers + 1, device=seeds.device)
    stream = _mixed(_mixed(seeds.long())[None] + layer[:, None] * _GOLDEN)
    return _normal(_mixed(place[None] ^ stream[..., None]), coordinates.dtype)


def _normal(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn evenly distributed integers into standard normal numbers, by the inverse of the distribution function."""
    uniform = (_shifted(bits, 64 - _BITS).to(dtype) + 0.5) * 2.0**-_BITS
    return torch.erfinv(2 * uniform - 1) * math.sqrt(2)


def _mixed(x: Tensor) -> Tensor:
    """The last steps of SplitMix64 (Steele et al. 2014); int64 wraps around like the unsigned numbers it stands for."""
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, by: int) -> Tensor:
    """Shift right and fill with zeros."""
    return (x >> by) & (2 ** (64 - by) - 1)
