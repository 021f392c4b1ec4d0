"""What is random about a sample, each a function of its seed and number alone."""

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from repsynth.modules.cips.generator import CIPSGenerator
from repsynth.modules.cips.sampling.options import NoiseOption
from repsynth.nn.latents import latents, sample_rng

ANGLE, NOISE, PIXELS = 1, 2, 3
"""Streams of a sample's random numbers beside its latent: the angle that an image around a cylinder begins at, its
noise, and the pixels that foveated synthesis chooses."""

SettledNoise = Tensor | int | Literal["none"]
"""What the generator takes as noise, with nothing left to draw: integers [B], one for all images, or none."""


def angles(seeds: Tensor, numbers: Tensor) -> Tensor:
    """Return the angles [B] of the first columns of images around a cylinder, in radians, for [B] seeds and numbers."""
    drawn = [2 * math.pi * rng.random() for rng in generators(seeds, numbers, ANGLE)]
    return torch.tensor(drawn, device=numbers.device)


def noises(option: NoiseOption, seeds: Tensor, numbers: Tensor) -> SettledNoise:
    """Return the noise of [B] seeds and numbers: for random one integer each."""
    if option != "random":
        return option
    drawn = [int(rng.integers(2**62)) for rng in generators(seeds, numbers, NOISE)]
    return torch.tensor(drawn, device=numbers.device)


def one_noise(noise: SettledNoise) -> int | Literal["none"]:
    """Return the noise of a single number as one that many images can share."""
    return int(noise) if isinstance(noise, Tensor) else noise


def generators(seeds: Tensor, numbers: Tensor, stream: int) -> Iterator[np.random.Generator]:
    """Yield the generator of each of B samples, of one stream."""
    for seed, number in zip(seeds.tolist(), numbers.tolist(), strict=True):
        yield sample_rng(seed, number, stream)


@torch.no_grad()
def styles_of(generator: CIPSGenerator, seeds: Tensor, numbers: Tensor) -> Tensor:
    """Return the styles [B, style_size] of [B] seeds and numbers, not truncated."""
    return generator.map(latents(seeds, numbers, generator.style_size).to(generator.mean_w.dtype))


@torch.no_grad()
def ensure_mean_w(generator: CIPSGenerator, draws: int) -> None:
    """Compute the mean style, unless the generator has one."""
    if not generator.mean_w_draws:
        renew_mean_w(generator, draws)


def renew_mean_w(generator: CIPSGenerator, draws: int) -> None:
    """Compute the mean style of the present weights, from latents that are always the same."""
    generator.remember_mean_w(_mean_latents(generator, draws))


@torch.no_grad()
def deviation_of_w(generator: CIPSGenerator, draws: int) -> Tensor:
    """Return the standard deviation of styles about the mean one, over all entries, a scalar."""
    styles = generator.map(_mean_latents(generator, draws))
    return (styles - generator.mean_w).square().mean().sqrt()


def _mean_latents(generator: CIPSGenerator, draws: int) -> Tensor:
    numbers = torch.arange(draws, device=generator.mean_w.device)
    drawn = latents(torch.zeros_like(numbers), numbers, generator.style_size)
    return drawn.to(generator.mean_w.dtype)
