"""Cylindrical panoramas: the whole turn, which closes because both of its ends are the same coordinates."""

import math

import torch
from torch import Tensor

from repsynth.batches import Numbered
from repsynth.errors import UserError
from repsynth.exports.prediction import Prediction
from repsynth.modules.cips.coordinates import panorama_coordinates
from repsynth.modules.cips.generator import CIPSGenerator
from repsynth.modules.cips.sampling.draws import SettledNoise, one_noise
from repsynth.modules.cips.sampling.sampler import Sampler, keys_of, to_bytes


def panoramas(sampler: Sampler, batch: Numbered) -> Prediction:
    """Make a panorama of every number.

    Raises:
        UserError: the generator is for the plane.
    """
    require_cylinder(sampler.generator)
    options = sampler.options.panorama
    height, width = sampler.options.size or sampler.canvas.panorama_size()
    start = math.radians(options.start_degrees)
    places = panorama_coordinates(height, width, start=start, device=batch["numbers"].device)
    turn = start + 2 * math.pi * torch.arange(width, dtype=torch.float64) / width
    keys = keys_of(batch["numbers"], options.scenes)
    made = []
    for seed, number, own in zip(batch["seeds"].split(1), batch["numbers"].split(1), keys, strict=True):
        noise = sampler.noise(seed, number)
        w = sampler.styles(seed.expand(len(own)), own)
        if len(own) == 1:
            made.append(sampler.pictures(w, places[None], noise)[0])
        else:
            made.append(_changing(sampler, around(w, turn), places, noise))
    return {"ids": batch["ids"], "frames": torch.stack(made)[:, None]}


def require_cylinder(generator: CIPSGenerator) -> None:
    """Raise UserError unless the generator's images lie on a cylinder."""
    if generator.surface != "cylinder":
        raise UserError(
            f"model.sampling.task is panorama, but this generator was trained with {generator.section}.surface "
            f"{generator.surface}; expected cylinder: train one on landscapes with it"
        )


def around(w: Tensor, angles: Tensor) -> Tensor:
    """Blend K styles [K, style_size], the k-th of which is at the angle 2 pi k / K, linearly around the turn.

    Args:
        w: the styles.
        angles: [N] in radians.

    Returns:
        [N, style_size].
    """
    place = angles.double() / (2 * math.pi) % 1 * len(w)
    first = place.floor()
    share = (place - first).to(w)[:, None]
    index = first.long().to(w.device) % len(w)
    return torch.lerp(w[index], w[(index + 1) % len(w)], share)


@torch.no_grad()
def _changing(sampler: Sampler, w: Tensor, places: Tensor, noise: SettledNoise) -> Tensor:
    points = sampler.options.points_at_once
    return to_bytes(sampler.generator.synthesize_columns(w, places, one_noise(noise), points))
