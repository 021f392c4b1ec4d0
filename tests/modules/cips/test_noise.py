import math

import pytest
import torch

from repsynth.modules.cips.coordinates import panorama_coordinates, pixel_coordinates
from repsynth.modules.cips.noise import noise_seeds, pixel_noise

POINTS = pixel_coordinates(128, 128).flatten(0, 1).T[None]


def test_noise_is_standard_normal() -> None:
    noise = pixel_noise(torch.tensor([1, 2]), POINTS, 4).flatten().double()
    count = noise.numel()
    assert abs(noise.mean()) < 4 / count**0.5
    assert abs(noise.var() - 1) < 6 / count**0.5
    assert abs((noise**4).mean() - 3) < 0.1
    below = torch.arange(1, count + 1) / count
    distribution = (1 + torch.erf(noise.sort().values / math.sqrt(2))) / 2
    assert (distribution - below).abs().max() < 2 / count**0.5  # Kolmogorov and Smirnov
    assert noise.isfinite().all() and noise.abs().max() < 6


def test_layers_images_and_neighbours_are_independent() -> None:
    noise = pixel_noise(torch.tensor([1, 2]), POINTS, 3)
    fields = torch.stack(
        [
            *noise.flatten(0, 1),  # 3 layers of 2 images
            *(noise[0, 0].unflatten(0, (128, 128)).roll(1, dims=axis).flatten() for axis in (0, 1)),
        ]
    )
    correlation = torch.corrcoef(fields) - torch.eye(len(fields))
    assert correlation.abs().max() < 4 / POINTS.shape[-1] ** 0.5


def test_noise_belongs_to_the_place() -> None:
    seeds = torch.tensor([5])
    whole = pixel_noise(seeds, POINTS, 2)
    order = torch.randperm(POINTS.shape[-1])[:500]
    torch.testing.assert_close(pixel_noise(seeds, POINTS[..., order], 2), whole[..., order], atol=0, rtol=0)
    nudged = POINTS * (1 + 2e-8)  # what float32's rounding may do
    torch.testing.assert_close(pixel_noise(seeds, nudged, 2), whole, atol=0, rtol=0)


def test_noise_closes_around_a_cylinder() -> None:
    first, again = (
        panorama_coordinates(9, 7, start=start).flatten(0, 1).T[None] for start in (0.0, 2 * math.pi)
    )
    seeds = torch.tensor([5])
    torch.testing.assert_close(pixel_noise(seeds, first, 1), pixel_noise(seeds, again, 1), atol=0, rtol=0)


def test_points_of_their_own() -> None:
    points = torch.cat((POINTS, POINTS.flip(-1)))
    noise = pixel_noise(torch.tensor([3, 3]), points, 2)
    torch.testing.assert_close(noise[:, 1], noise[:, 0].flip(-1), atol=0, rtol=0)


def test_seeds() -> None:
    device = torch.device("cpu")
    assert noise_seeds("none", 3, device) is None
    fixed = noise_seeds(9, 3, device)
    assert fixed is not None and fixed.tolist() == [9, 9, 9]
    torch.manual_seed(0)
    first = noise_seeds("random", 3, device)
    torch.manual_seed(0)
    again = noise_seeds("random", 3, device)
    assert first is not None and again is not None
    assert len(set(first.tolist())) == 3 and first.tolist() == again.tolist()
    with pytest.raises(
        ValueError, match=r"noise has the shape \[2\]; expected one seed for each of 3 images"
    ):
        noise_seeds(torch.tensor([1, 2]), 3, device)
