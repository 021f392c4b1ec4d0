"""The training procedure, where its pixels are, and what evaluation gets."""

import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from distributed.harness import make_trainer

from modules.cips.tiny_module import Blots, patches, tiny_cips
from repsynth.callbacks.ema import EMA
from repsynth.datamodules.photographs import Photographs
from repsynth.datamodules.synthetic.landscapes import SyntheticLandscapes
from repsynth.errors import UserError
from repsynth.modules.alternating_steps import AlternatingOptions
from repsynth.modules.cips.coordinates import pixel_coordinates
from repsynth.modules.cips.module import CIPS
from repsynth.modules.cips.options import LearningOptions
from repsynth.modules.cips.sampling.canvas import Canvas


def numbered(numbers: list[int], seed: int = 3) -> Any:  # noqa: ANN401
    return {
        "ids": [str(number) for number in numbers],
        "numbers": torch.tensor(numbers),
        "seeds": torch.tensor([seed] * len(numbers)),
    }


class Steps(pl.Callback):
    """Which optimiser stepped in which iteration, and the metrics after it."""

    def __init__(self) -> None:
        self.order: list[tuple[int, str]] = []
        self.metrics: list[dict[str, float]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:  # noqa: ANN401
        first = optimizer.param_groups[0]["params"][0]
        of_generator = any(first is p for p in pl_module.generator.parameters())
        self.order.append((pl_module.iterations, "G" if of_generator else "D"))

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:  # noqa: ANN401
        self.metrics.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def train(module: CIPS, root: Path, data: Blots | None = None, **options: Any) -> Steps:  # noqa: ANN401
    steps = Steps()
    trainer = make_trainer(
        root, [steps], **{"max_epochs": 1, "limit_val_batches": 0, "enable_checkpointing": False, **options}
    )
    trainer.fit(module, datamodule=data or Blots(count=20, batch_size=4, seed=5))
    return steps


def test_an_iteration_is_discriminator_penalty_generator(tmp_path: Path) -> None:
    steps = train(tiny_cips(learning={"r1_every": 3}), tmp_path)
    assert steps.order == [
        (iteration, network)
        for iteration in range(5)
        for network in (("D", "D", "G") if iteration in (0, 3) else ("D", "G"))
    ]
    assert set(steps.metrics[1]) >= {
        *(f"train/{name}" for name in ("discriminator", "generator", "loss", "r1")),
        "train/score_of_real",
        "train/score_of_fake",
    }
    assert steps.metrics[1]["train/r1"] == steps.metrics[0]["train/r1"] != steps.metrics[3]["train/r1"]


@pytest.mark.parametrize("learning", [{"r1_gamma": 0.0}, {"r1_step": "joint", "r1_every": 3}])
def test_without_a_step_of_its_own_the_penalty_steps_nothing(
    tmp_path: Path, learning: dict[str, Any]
) -> None:
    steps = train(tiny_cips(learning=learning), tmp_path)
    assert [network for _, network in steps.order] == ["D", "G"] * 5
    assert ("train/r1" in steps.metrics[0]) == (learning.get("r1_gamma") != 0)


def test_a_joint_step_has_the_gradient_of_both_losses() -> None:
    module = tiny_cips(noise="none")
    batch = patches(torch.rand(4, 3, 8, 8))
    real, points, z = batch["images"] * 2 - 1, module.points(batch), module.draw(4)
    module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    both = module.discriminator_loss(real, z, points, True)
    apart = module.discriminator_loss(real, z, points, False) + module.r1_loss(real, points)
    assert torch.allclose(both, apart)
    assert not torch.allclose(both, module.discriminator_loss(real, z, points, False))


def test_the_optimisers_are_scaled_for_lazy_regularisation() -> None:
    of_generator, of_discriminator = tiny_cips().configure_optimizers()  # type: ignore[misc]
    (g,), (d,) = of_generator.param_groups, of_discriminator.param_groups  # type: ignore[union-attr]
    assert g["lr"] == pytest.approx(0.0016) and d["lr"] == pytest.approx(0.0018824, rel=1e-4)
    assert g["betas"] == pytest.approx((0, 0.99199), rel=1e-5)
    assert d["betas"] == pytest.approx((0, 0.99059), rel=1e-5)
    assert LearningOptions(r1_gamma=0).discriminator_ratio == 1


def test_r1_weighs_half_gamma_times_the_interval_and_sees_coordinates() -> None:
    for coordinates in (False, True):
        module = tiny_cips(discriminator={"coordinates": coordinates})
        batch = patches(torch.rand(4, 3, 8, 8))
        real, points = batch["images"] * 2 - 1, module.points(batch)
        shown = real
        if coordinates:
            grid = pixel_coordinates(8, 8).movedim(-1, 0).expand(4, -1, -1, -1)
            shown = torch.cat((real, grid), dim=1)
        shown = shown.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(module.discriminator(shown).sum(), shown)
        assert gradient.shape[1] == (5 if coordinates else 3)
        expected = 10 / 2 * 16 * gradient.square().sum((1, 2, 3)).mean()
        assert torch.allclose(module.r1_loss(real, points), expected, rtol=1e-5)


# Where pixels are.


def test_only_whole_images_of_the_grids_size_are_the_full_grid() -> None:
    """A patch as large as the grid, of a larger image, is none: the official code, which asks for its shape, fails."""
    module = tiny_cips()
    whole = module.points(patches(torch.rand(2, 3, 8, 8)))
    assert whole.full_grid and torch.equal(whole.given[0], pixel_coordinates(8, 8))
    windows = torch.tensor([[0, 1, 2], [3, 8, 1]])
    patch = module.points(patches(torch.rand(2, 3, 8, 8), (16, 16), windows))
    grid = pixel_coordinates(16, 16)
    assert not patch.full_grid
    assert torch.equal(patch.given[0], grid[0:16:2, 1:16:2])
    assert torch.equal(patch.given[1], grid[3:11, 8:16])
    assert not tiny_cips({"grid_size": 16}).points(patches(torch.rand(2, 3, 8, 8))).full_grid


def test_around_a_cylinder_every_fake_has_its_own_angle() -> None:
    module = tiny_cips({"surface": "cylinder"}, turn=0.25)
    points = module.points(patches(torch.rand(2, 3, 8, 8)))
    cos, sin, y = points.given.double().unbind(-1)
    angles = torch.atan2(sin, cos)
    steps = (angles[:, :, 1:] - angles[:, :, :-1]) % (2 * math.pi)
    assert torch.allclose(steps, torch.full_like(steps, 2 * math.pi * 0.25 / 8), atol=1e-6)
    assert torch.allclose(y[0, :, 0], torch.linspace(-1, 1, 8).double())
    assert abs(float(angles[0, 0, 0] - angles[1, 0, 0])) > 0.01
    assert torch.equal(points.plane[0], pixel_coordinates(8, 8))
    assert not points.full_grid


@pytest.mark.parametrize(
    ("generator", "side", "options"),
    [
        ({}, 16, {}),
        ({"surface": "cylinder"}, 8, {}),
        ({"variant": "residual"}, 8, {"points_at_once": 50}),
        ({}, 8, {"steps": AlternatingOptions(split=2, gradient_clip=0.1)}),
    ],
    ids=["patches", "cylinder", "residual in parts", "split and clipped"],
)
def test_trains_and_evaluates(
    tmp_path: Path, generator: dict[str, Any], side: int, options: dict[str, Any]
) -> None:
    module = tiny_cips(generator, **options)
    before = {name: p.clone() for name, p in module.named_parameters()}
    returned: list[Any] = []

    class Evaluated(pl.Callback):
        def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:  # noqa: ANN401
            returned.append(outputs)

    callbacks = [EMA(["generator"], half_life=8), Evaluated()]
    trainer = make_trainer(tmp_path, callbacks, max_epochs=1, enable_checkpointing=False)
    trainer.fit(module, datamodule=Blots(count=8, side=side, batch_size=4, seed=5))
    assert module.iterations == 2
    still = [name for name, p in module.named_parameters() if torch.equal(p, before[name])]
    assert still == []
    assert [output["ids"] for output in returned] == [[str(number)] for number in range(5)]
    assert all(output["generated"].shape == (1, 3, side, side) for output in returned)
    assert module.generator.mean_w_draws == 10_000


# Evaluation.


@pytest.mark.parametrize("surface", ["plane", "cylinder"])
@pytest.mark.parametrize("noise", ["random", "none"])
def test_a_sample_depends_on_its_number_alone(surface: str, noise: Any) -> None:  # noqa: ANN401
    module = tiny_cips({"surface": surface}, noise=noise).eval()
    module.canvas = lambda: Canvas((8, 8), noise=noise)  # type: ignore[method-assign]
    with torch.no_grad():
        many = module.validation_step(numbered([0, 1, 2, 3, 4]), 0)["generated"]
        alone = module.validation_step(numbered([3]), 0)["generated"]
        other = module.validation_step(numbered([3], seed=4), 0)["generated"]
    assert torch.allclose(many[3:4], alone, atol=1e-6)
    assert (other - alone).abs().max() > 0.01
    assert (many[0] - many[1]).abs().max() > 0.01


def test_the_mean_style_is_that_of_many_latents() -> None:
    module = tiny_cips()
    module.on_validation_start()
    z = torch.randn(20_000, module.generator.style_size)
    expected = module.generator.map(z).mean(0)
    spread = module.generator.map(z).std(0)
    assert ((module.generator.mean_w - expected).abs() < 0.05 * spread).all()


# What is refused.


def test_a_discriminator_for_another_size_is_refused_before_training() -> None:
    with pytest.raises(
        UserError, match=r"built for images of 16x16 pixels, but gets 8x8; change data.image_size"
    ):
        tiny_cips(discriminator={"size": 16}).check(Blots())


def test_data_that_ask_for_photographs_in_another_light_are_refused_before_training() -> None:
    with pytest.raises(UserError) as error:
        tiny_cips().check(SyntheticLandscapes(image_size=16))
    assert str(error.value) == (
        "validation on SyntheticLandscapes asks for relightings, but CIPS makes samples; set data.class_path to "
        "ImageFolder or SyntheticImages"
    )


def test_photographs_of_another_size_can_be_inverted() -> None:
    """No discriminator sees them."""
    tiny_cips().check(Photographs("photographs", image_size=(20, 30)))


def test_a_batch_that_cannot_be_split_is_refused(tmp_path: Path) -> None:
    module = tiny_cips(steps=AlternatingOptions(split=3))
    with pytest.raises(UserError, match=r"model.steps.split is 3, but a rank gets 4 samples at a time"):
        train(module, tmp_path)


@pytest.mark.parametrize(
    ("option", "ours"), [("gradient_clip_val", "gradient_clip"), ("accumulate_grad_batches", "split")]
)
def test_the_trainers_own_options_are_named(tmp_path: Path, option: str, ours: str) -> None:
    with pytest.raises(UserError, match=rf"trainer.{option} is 2, .* set model.steps.{ours}\."):
        train(tiny_cips(), tmp_path, **{option: 2})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"learning": {"r1_every": 0}}, "model.learning.r1_every is 0; expected at least 1"),
        ({"learning": {"r1_gamma": -1.0}}, "model.learning.r1_gamma is -1.0; expected at least 0"),
        (
            {"learning": {"learning_rate": 0.0}},
            "model.learning.learning_rate is 0.0; expected a number above",
        ),
        ({"learning": {"beta2": 1.0}}, "model.learning.beta2 is 1.0; expected a number between 0 and 1"),
        ({"turn": 0.0}, "model.turn is 0.0; expected a part of the whole turn"),
        ({"steps": AlternatingOptions(split=0)}, "model.steps.split is 0; expected at least 1"),
        (
            {"steps": AlternatingOptions(gradient_clip=0.0)},
            "model.steps.gradient_clip is 0.0; expected a norm",
        ),
        ({"discriminator": {"size": 12}}, "images of 12 pixels a side; expected a power of two"),
        (
            {"generator": {"width": 9, "grid_size": 256}},
            "model.generator.width is 9; expected a multiple of 4",
        ),
    ],
)
def test_options_out_of_range(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        tiny_cips(**options)
