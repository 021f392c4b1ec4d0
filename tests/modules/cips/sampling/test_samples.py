import math

import pytest
import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.modules.cips.coordinates import panorama_coordinates, pixel_coordinates
from repsynth.modules.cips.generator import CIPSGenerator
from repsynth.modules.cips.sampling.options import GridOptions
from repsynth.modules.cips.sampling.prediction import predict
from repsynth.modules.cips.sampling.sampler import to_bytes
from repsynth.modules.cips.sampling.samples import numbered_images
from repsynth.nn.latents import latents, sample_rng

from ..tiny import tiny_generator
from .helpers import CANVAS, SEED, assert_same, frames, numbered, predicted, sampler


def drawn(generator: CIPSGenerator, *numbers: int) -> Tensor:
    return latents(torch.full((len(numbers),), SEED), torch.tensor(numbers), generator.style_size)


@torch.no_grad()
def one_image(generator: CIPSGenerator, number: int, coordinates: Tensor) -> Tensor:
    """As evaluation makes it, written out."""
    noise = torch.tensor([int(sample_rng(SEED, number, 2).integers(2**62))])
    return generator(drawn(generator, number), coordinates, noise=noise)


@pytest.mark.parametrize("rule", ["released", "centres", "aligned"])
def test_a_sample_is_the_image_of_its_number(rule: str) -> None:
    generator = tiny_generator(embedding_rule=rule).eval()
    found = frames(predicted(5, 2, generator=generator))
    assert found.shape == (2, 1, 3, 16, 16)
    for picture, number in zip(found, (5, 2), strict=True):
        expected = to_bytes(one_image(generator, number, pixel_coordinates(16, 16)[None]))
        assert_same(picture, expected)
        assert len(expected.unique()) > 20
    assert (found[0] != found[1]).any()


def test_a_sample_around_a_cylinder_is_a_window_at_the_angle_of_its_number() -> None:
    generator = tiny_generator(surface="cylinder").eval()
    found = frames(predicted(5, 2, generator=generator))
    for picture, number in zip(found, (5, 2), strict=True):
        start = float(torch.tensor(2 * math.pi * sample_rng(SEED, number, 1).random()))
        window = panorama_coordinates(16, 16, turn=0.25, start=start)[None]
        assert_same(picture, to_bytes(one_image(generator, number, window)))


def test_a_sample_does_not_depend_on_its_batch() -> None:
    together = frames(predicted(*range(20)))
    for number in (0, 7, 19):
        assert_same(frames(predicted(number))[0], together[number])


def test_evaluation_gets_colours() -> None:
    made, batch = sampler(), numbered(4, 9)
    colours = numbered_images(made, batch["seeds"], batch["numbers"])
    assert colours.dtype == torch.float32 and not colours.requires_grad
    assert torch.equal(to_bytes(colours)[:, None], frames(predicted(4, 9)))


def test_points_at_once_change_nothing() -> None:
    assert_same(frames(predicted(1, 2, points_at_once=37)), frames(predicted(1, 2)))


def test_a_size_is_the_same_image_on_another_grid() -> None:
    whole = frames(predicted(1, noise=4, size=(31, 31)))
    generator = tiny_generator().eval()
    with torch.no_grad():
        expected = generator(drawn(generator, 1), pixel_coordinates(31, 31)[None], noise=4)
    assert_same(whole[0], to_bytes(expected))
    assert frames(predicted(1, size=(5, 24))).shape == (1, 1, 3, 5, 24)


def test_noise_is_random_of_a_number_or_none() -> None:
    generator = tiny_generator().eval()
    batch, places = numbered(1, 2), pixel_coordinates(16, 16)[None]
    with torch.no_grad():
        for option in ("none", 7):
            expected = generator(drawn(generator, 1, 2), places, noise=option)
            assert_same(frames(predicted(1, 2, noise=option))[:, 0], to_bytes(expected))
    default, fixed, without = (frames(predicted(1, 2, noise=option)) for option in (None, 7, "none"))
    assert torch.equal(default, frames(predicted(1, 2, noise="random")))
    assert (default != fixed).any() and (fixed != without).any()
    made = sampler(generator)
    seeds, numbers = batch["seeds"], batch["numbers"]
    assert len(set(made.noise(seeds, numbers).tolist())) == 2  # type: ignore[union-attr]


def test_truncation_draws_styles_to_the_mean_of_many() -> None:
    generator = tiny_generator().eval()
    assert int(generator.mean_w_draws) == 0
    collapsed = frames(predicted(1, 2, generator=generator, truncation=0, noise="none", mean_w_draws=500))
    assert int(generator.mean_w_draws) == 500
    assert torch.equal(collapsed[0], collapsed[1])
    with torch.no_grad():
        mean = generator.map(latents(torch.zeros(500, dtype=torch.int64), torch.arange(500), 8)).mean(0)
        torch.testing.assert_close(generator.mean_w, mean)
        w = mean + 0.7 * (generator.map(drawn(generator, 1)) - mean)
        expected = generator.synthesize(w, pixel_coordinates(16, 16)[None], noise="none")
    found = frames(predicted(1, generator=generator, truncation=0.7, noise="none", mean_w_draws=20))
    assert_same(found[0], to_bytes(expected))
    assert int(generator.mean_w_draws) == 500, "what the weights bring stays"


def test_without_truncation_no_mean_is_computed() -> None:
    generator = tiny_generator().eval()
    predicted(1, generator=generator)
    assert int(generator.mean_w_draws) == 0


def test_the_cells_of_a_grid_are_samples() -> None:
    found = frames(predicted(0, 2, task="grid", grid=GridOptions(rows=2, columns=3), size=(8, 10)))
    assert found.shape == (2, 1, 3, 16, 30)
    samples = frames(predicted(*range(18), size=(8, 10)))[:, 0]
    for picture, number in zip(found[:, 0], (0, 2), strict=True):
        for cell in range(6):
            row, column = divmod(cell, 3)
            part = picture[:, 8 * row : 8 * row + 8, 10 * column : 10 * column + 10]
            assert_same(part, samples[6 * number + cell])


def test_photographs_are_for_the_inversion_alone() -> None:
    made = sampler()
    photographs = {"ids": ["a"], "images": torch.zeros(1, 3, 4, 4), "known": torch.ones(1, 1, 4, 4) > 0}
    with pytest.raises(UserError) as raised:
        predict(made.generator, made.options, photographs, CANVAS)  # type: ignore[arg-type]
    assert str(raised.value) == (
        "model.sampling.task is samples, which takes numbers, but the data are photographs; take the task inversion, "
        "or the data of the training"
    )
    with pytest.raises(UserError) as raised:
        predicted(1, task="inversion")
    assert str(raised.value) == (
        "model.sampling.task is inversion, which takes photographs, but the data give numbers; expected data: "
        "repsynth.datamodules.photographs.Photographs"
    )
