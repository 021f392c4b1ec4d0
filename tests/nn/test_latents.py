import numpy as np
import torch

from repsynth.nn.latents import latents, sample_rng


def test_a_latent_depends_on_its_seed_and_number_alone() -> None:
    numbers = torch.arange(20)
    seeds = torch.full((20,), 3)
    whole = latents(seeds, numbers, 8, 2)
    assert (whole.shape, whole.dtype) == ((20, 8, 2), torch.float32)
    order = torch.tensor([7, 19, 0])
    torch.manual_seed(5)
    np.random.seed(5)
    assert torch.equal(latents(seeds[:3], order, 8, 2), whole[order])
    mixed = latents(torch.tensor([3, 4]), torch.tensor([6, 6]), 8, 2)
    assert torch.equal(mixed[0], whole[6]) and not torch.equal(mixed[1], whole[6])


def test_streams_of_a_sample_are_independent_of_one_another() -> None:
    seeds, numbers = torch.zeros(300, dtype=torch.int64), torch.arange(300)
    latent, noise = latents(seeds, numbers, 50), latents(seeds, numbers, 50, stream=1)
    for first, second in ((latent, noise), (latent[1:], latent[:-1])):
        assert abs((first * second).mean().item()) < 4 / first.numel() ** 0.5
    drawn = sample_rng(0, 7, 1).standard_normal(50, dtype=np.float32)
    assert torch.equal(torch.from_numpy(drawn), noise[7])


def test_latents_are_standard_normal() -> None:
    drawn = latents(torch.zeros(400, dtype=torch.int64), torch.arange(400), 250)
    assert abs(drawn.mean().item()) < 4 / 1e5**0.5
    assert abs(drawn.std().item() - 1) < 0.01
    assert abs((drawn**4).mean().item() - 3) < 0.1


def test_no_samples_have_no_latents() -> None:
    empty = torch.zeros(0, dtype=torch.int64)
    assert latents(empty, empty, 4).shape == (0, 4)
