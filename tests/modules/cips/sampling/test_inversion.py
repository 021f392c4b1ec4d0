from typing import Any

import pytest
import torch
from torch import Tensor

from repsynth.batches import Photographs
from repsynth.errors import UserError
from repsynth.exports.prediction import Prediction
from repsynth.losses.perceptual import PerceptualLoss
from repsynth.metrics.psnr import psnr
from repsynth.modules.cips.generator import CIPSGenerator
from repsynth.modules.cips.products import Inputs
from repsynth.modules.cips.sampling.inversion import NAMES, perceptual_loss, schedule
from repsynth.modules.cips.sampling.options import InversionOptions
from repsynth.modules.cips.sampling.prediction import predict
from repsynth.modules.cips.sampling.sampler import to_unit
from repsynth.modules.cips.trunks import SkipTrunk

from ..tiny import tiny_generator
from .helpers import CANVAS, frames, numbered, sampler

LEFT = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
LEFT[..., :10] = True
EVERYWHERE = torch.ones(1, 1, 16, 16, dtype=torch.bool)


def generator(**options: Any) -> CIPSGenerator:  # noqa: ANN401
    """The tiny one with colours that stay in their range, as a trained one's do."""
    made = tiny_generator(**options).eval()
    with torch.no_grad():
        for layer in made.trunk.to_rgb:  # type: ignore[union-attr]
            layer.linear.weight.mul_(0.15)
            layer.bias.mul_(0.15)
    return made


def photographs(made: CIPSGenerator, known: Tensor = EVERYWHERE, number: int = 1) -> Photographs:
    """An image of the generator itself; around a cylinder another one, because its angle is not sought."""
    batch, own = numbered(number), sampler(made, noise="none")
    seeds, numbers = batch["seeds"], batch["numbers"]
    image = own.colours(own.styles(seeds, numbers), own.places(seeds, numbers), "none")
    return {"ids": ["own"], "images": to_unit(image), "known": known}


def inverted(
    made: CIPSGenerator,
    batch: Photographs,
    network: PerceptualLoss | None = None,
    points_at_once: int | None = None,
    **options: Any,  # noqa: ANN401
) -> Prediction:
    inversion = InversionOptions(**{"steps": 60, "learning_rate": 0.1, **options})
    own = sampler(
        made, task="inversion", mean_w_draws=200, inversion=inversion, points_at_once=points_at_once
    )
    return predict(made, own.options, batch, CANVAS, perceptual=network)


def at_mean(made: CIPSGenerator) -> Tensor:
    own = sampler(made)
    places = own.places(numbered(1)["seeds"], numbered(1)["numbers"])
    return to_unit(own.colours(made.mean_w[None], places, "none"))


def error(found: Tensor, expected: Tensor, where: Tensor) -> float:
    return float((found - expected).square().mean(1, keepdim=True)[where].mean())


@pytest.mark.parametrize(("w_space", "shape"), [("w", [8]), ("w_plus", [10, 8])])
def test_an_own_image_is_found_again(w_space: str, shape: list[int]) -> None:
    made = generator()
    batch = photographs(made)
    prediction = inverted(made, batch, w_space=w_space)
    assert prediction["names"] == NAMES and frames(prediction).shape == (1, 3, 3, 16, 16)
    photograph, reconstruction, composite = frames(prediction)[0]
    found, start = (psnr(image, batch["images"]) for image in ((reconstruction / 255)[None], at_mean(made)))
    assert found > 35 and found > start + 12
    assert torch.equal(photograph, batch["images"][0].mul(255).round().byte())
    assert torch.equal(composite, photograph)
    (figures,) = prediction["figures"]
    assert figures["psnr_of_known_pixels"] == pytest.approx(float(found), abs=0.1)
    assert list(torch.tensor(figures["w"]).shape) == shape
    own = sampler(made)
    places = own.places(numbered(1)["seeds"], numbered(1)["numbers"])
    again = to_unit(own.colours(torch.tensor(figures["w"])[None], places, "none"))
    assert torch.equal(again.mul(255).round().byte()[0], reconstruction)


def test_holes_are_filled_and_known_pixels_stay() -> None:
    made = generator()
    batch = photographs(made, LEFT)
    spoilt: Photographs = {**batch, "images": torch.where(LEFT, batch["images"], 0.9)}
    prediction = inverted(made, spoilt, steps=150)
    photograph, reconstruction, composite = frames(prediction)[0]
    known = LEFT[0].expand(3, -1, -1)
    levels = batch["images"][0].mul(255).round().byte()
    assert torch.equal(photograph[known], levels[known]) and (photograph[~known] == 128).all()
    assert torch.equal(composite[known], levels[known])
    assert torch.equal(composite[~known], reconstruction[~known])
    hole = error(composite[None] / 255, batch["images"], ~LEFT)
    assert hole < 0.05 * error(at_mean(made), batch["images"], ~LEFT)
    assert frames(inverted(made, batch, steps=150)).equal(frames(prediction)), (
        "what is unknown does not matter"
    )
    assert prediction["figures"][0]["known_pixels"] == 160 and prediction["figures"][0]["pixels"] == 256


@pytest.mark.parametrize(("options", "points"), [({}, 160), ({"pixels_per_step": 30}, 30)])
def test_only_known_pixels_are_computed(
    options: dict[str, int], points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    original = SkipTrunk.colours

    def counting(trunk: SkipTrunk, folded: list, inputs: Inputs, noise: list) -> Tensor:
        counts.append(inputs.points.shape[-1])
        return original(trunk, folded, inputs, noise)

    made = generator()
    batch = photographs(made, LEFT)
    monkeypatch.setattr(SkipTrunk, "colours", counting)
    inverted(made, batch, steps=5, **options)
    assert counts == [points] * 5 + [256]


def test_few_pixels_in_every_step_do_too_and_are_the_same_every_time() -> None:
    made = generator()
    first, second = (inverted(made, photographs(made), pixels_per_step=64, steps=100) for _ in range(2))
    assert first["figures"][0]["psnr_of_known_pixels"] > 33  # type: ignore[operator]
    assert torch.equal(frames(first), frames(second))


def test_points_at_once_change_nothing() -> None:
    made = generator()
    whole, parts = (
        inverted(made, photographs(made, LEFT), points_at_once=points, steps=20)["figures"][0]["w"]
        for points in (None, 33)
    )
    torch.testing.assert_close(torch.tensor(parts), torch.tensor(whole), atol=1e-3, rtol=0)


@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad])
def test_it_works_where_gradients_are_off_and_leaves_parameters_alone(context: Any) -> None:  # noqa: ANN401
    made = generator()
    made.inputs.embedding.requires_grad_(False)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    with context():
        own = photographs(made)
        batch: Photographs = {**own, "images": own["images"].clone()}
        prediction = inverted(made, batch, steps=40)
    assert prediction["figures"][0]["psnr_of_known_pixels"] > 30  # type: ignore[operator]
    assert all(parameter.grad is None for parameter in made.parameters())
    learning = {name for name, parameter in made.named_parameters() if not parameter.requires_grad}
    assert learning == {"inputs.embedding"}
    assert all(
        torch.equal(made.state_dict()[name], value) for name, value in before.items() if "mean" not in name
    )


def test_more_weight_stays_nearer_to_the_mean_style() -> None:
    made = generator()
    far, near = (
        torch.tensor(inverted(made, photographs(made), mean_w_weight=weight, steps=40)["figures"][0]["w"])
        for weight in (0.0, 1.0)
    )
    assert (near - made.mean_w).norm() < 0.1 * (far - made.mean_w).norm()


def test_several_photographs_are_sought_by_themselves() -> None:
    made = generator()
    one, other = photographs(made, LEFT), photographs(made, EVERYWHERE, number=3)
    both: Photographs = {
        "ids": ["a", "b"],
        "images": torch.cat((one["images"], other["images"])),
        "known": torch.cat((one["known"], other["known"])),
    }
    together = frames(inverted(made, both, steps=10))
    for index, alone in enumerate((one, other)):
        assert torch.equal(together[index], frames(inverted(made, alone, steps=10))[0])


def test_a_cylinder_begins_at_angle_0() -> None:
    made = generator(surface="cylinder")
    own = sampler(made, mean_w_draws=200)
    places = CANVAS.coordinates("cylinder", (16, 16), starts=torch.zeros(1))
    w = own.styles(numbered(1)["seeds"], numbered(1)["numbers"])
    image = to_unit(own.colours(w, places, "none"))
    found = inverted(made, {"ids": ["a"], "images": image, "known": EVERYWHERE})
    assert found["figures"][0]["psnr_of_known_pixels"] > 30  # type: ignore[operator]


def test_the_learning_rate_rises_and_falls() -> None:
    factors = [schedule(step, 100) for step in range(100)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[5:76] == pytest.approx([1.0] * 71)
    assert 0 < factors[99] < 0.01 and factors[75:] == sorted(factors[75:], reverse=True)
    assert schedule(0, 1) > 0.1, "a single step moves"


# The perceptual term.


def test_the_perceptual_distance_is_part_of_the_loss() -> None:
    made = generator()
    options = InversionOptions(perceptual_weight=0.05, perceptual="random", perceptual_levels=2)
    perceptual = perceptual_loss(options)
    assert perceptual is not None and perceptual.name == "perceptual_random"
    chosen = {"perceptual_weight": 0.05, "perceptual": "random", "perceptual_levels": 2, "steps": 25}
    batch = photographs(made)
    found, without = (inverted(made, batch, each, **chosen) for each in (perceptual, None))
    images = [(frames(each)[:, 1] / 255) for each in (found, without)]
    assert perceptual(images[0], batch["images"]) < perceptual(at_mean(made), batch["images"]) / 2
    assert not torch.equal(images[0], images[1])
    assert found["figures"][0]["terms"] == {
        "squared_error": 1.0,
        "mean_w": 1e-3,
        "perceptual_random": 0.05,
    }
    assert without["figures"][0]["terms"] == {"squared_error": 1.0, "mean_w": 1e-3}


def test_with_holes_the_perceptual_distance_is_left_out_with_a_warning() -> None:
    made = generator()
    perceptual = PerceptualLoss("random", 1)
    with pytest.warns(
        UserWarning, match="^own has unknown pixels: the perceptual distance is left out for it$"
    ):
        found = inverted(made, photographs(made, LEFT), perceptual, perceptual_weight=1.0, steps=3)
    assert torch.equal(frames(found), frames(inverted(made, photographs(made, LEFT), steps=3)))


def test_without_its_weight_there_is_no_perceptual_distance() -> None:
    assert perceptual_loss(InversionOptions()) is None


def test_missing_perceptual_weights_are_told_with_the_option() -> None:
    with pytest.raises(UserError, match=r"model\.sampling\.inversion\.perceptual"):
        perceptual_loss(InversionOptions(perceptual_weight=1.0, perceptual="no/such/file.pth"))


# What is refused.


def test_a_photograph_too_small_to_compare_is_named() -> None:
    made = generator()
    small: Photographs = {
        "ids": ["a"],
        "images": torch.zeros(1, 3, 9, 3),
        "known": torch.ones(1, 1, 9, 3, dtype=torch.bool),
    }
    with pytest.raises(UserError) as raised:
        inverted(made, small, PerceptualLoss("random", 3), perceptual_weight=1.0)
    assert str(raised.value) == (
        "the photograph a has 9x3 pixels, and model.sampling.inversion.perceptual_levels 3 needs sides of at least 4; "
        "lower it or raise data.image_size"
    )


def test_a_photograph_of_nothing_is_named() -> None:
    made = generator()
    with pytest.raises(UserError) as raised:
        inverted(made, photographs(made, ~EVERYWHERE))
    assert str(raised.value) == ("no pixel of the photograph own is known; its mask must be white somewhere")


def test_a_search_that_fails_is_told_and_leaves_the_generator_as_it_was() -> None:
    made = generator()
    with pytest.raises(UserError) as raised:
        inverted(made, photographs(made), learning_rate=1e30)
    assert str(raised.value) == (
        "the inversion of own has no finite error at step 1 of 60; lower "
        "model.sampling.inversion.learning_rate (now 1e+30)"
    )
    assert all(parameter.requires_grad for parameter in made.parameters())
