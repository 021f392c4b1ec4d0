"""StereoLayers with a discriminator: its terms, what it learns from, its options."""

import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from distributed.harness import make_trainer
from torch import Tensor

from repsynth.batches import PosedViews
from repsynth.cli import signatures
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes
from repsynth.errors import UserError
from repsynth.geometry.rendering import Rendering
from repsynth.losses import adversarial
from repsynth.modules.manual_steps import StepOptions
from repsynth.modules.stereolayers.adversarial_module import (
    AdversarialStereoLayers,
    AdversarialWeights,
    DiscriminatorOptions,
    judged_images,
)

from .tiny import tiny_adversarial

SIDE = 32
GENERATOR_TERMS = ("l1", "perceptual_random", "tv", "order", "adversarial", "feature_matching")


@pytest.fixture(scope="module")
def batch() -> PosedViews:
    data = SyntheticScenes(image_size=(SIDE, SIDE), novel_views=2, train_scenes=8, batch_size=3, seed=0)
    loaded = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    return loaded


class Recorder(pl.Callback):
    """What every batch logged, and the gradients that each optimiser was given, clipped or not."""

    def __init__(self) -> None:
        self.logged: list[dict[str, float]] = []
        self.gradients: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
        named = pl_module.named_parameters()
        self.gradients.append(
            {name: p.grad.clone() for name, p in named if id(p) in mine and p.grad is not None}
        )

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        metrics = trainer.callback_metrics.items()
        self.logged.append({name: float(value) for name, value in metrics if name.startswith("train/")})


def train(
    root: Path, module: AdversarialStereoLayers, scenes: int = 8, batch_size: int = 4, **trainer: object
) -> Recorder:
    data = SyntheticScenes(
        image_size=(SIDE, SIDE), train_scenes=scenes, eval_scenes=1, batch_size=batch_size, seed=5
    )
    recorder = Recorder()
    options: dict[str, Any] = {
        "max_epochs": 1,
        "limit_val_batches": 0,
        "enable_checkpointing": False,
    } | trainer
    make_trainer(root, [recorder], **options).fit(module, datamodule=data)
    return recorder


def test_the_papers_weights_are_the_defaults() -> None:
    assert asdict(AdversarialWeights()) == {
        "l1": 1.0,
        "perceptual": 10.0,
        "tv": 5.0,
        "order": 2.0,
        "adversarial": 5.0,
        "feature_matching": 5.0,
        "r1": 1e-4,
    }
    assert DiscriminatorOptions().r1_every == 16
    assert tiny_adversarial().generator.texturing == "RAW"


def test_the_discriminator_sees_coverage_and_nothing_outside_of_it() -> None:
    opacity = torch.tensor([[[[1.0, 0.3], [-1e-6, 1.0]]]])
    features = torch.full((1, 3, 2, 2), 0.7)
    rendering = Rendering(features, opacity, opacity, opacity[:, 0].long())
    real, fake = judged_images(rendering, torch.full((1, 3, 2, 2), 0.75))
    covered = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    torch.testing.assert_close(real[0], torch.stack([0.5 * covered] * 3 + [covered]))
    torch.testing.assert_close(fake[0], torch.stack([0.7 * covered] * 3 + [covered]))


def test_every_term_is_logged_and_weighted(tmp_path: Path) -> None:
    weights = {
        "l1": 2.0,
        "perceptual": 0.5,
        "tv": 3.0,
        "order": 7.0,
        "adversarial": 4.0,
        "feature_matching": 9.0,
    }
    module = tiny_adversarial(loss_weights=AdversarialWeights(r1=0.3, **weights))
    logged = train(tmp_path, module, scenes=16, log_every_n_steps=2).logged
    named = dict(zip(weights, GENERATOR_TERMS, strict=True))
    for number, row in enumerate(logged):
        total = sum(weights[name] * row[f"train/{term}"] for name, term in named.items())
        assert row["train/loss"] == pytest.approx(total, rel=1e-5)
        assert all(row[f"train/{term}"] > 0 for term in GENERATOR_TERMS if term != "order")
        with_penalty = number % 2 == 0  # r1_every is 2, and the penalty then counts twice
        penalty = 0.3 * 2 * row["train/r1"] if with_penalty else 0.0
        assert row["train/discriminator_loss"] == pytest.approx(
            row["train/discriminator"] + penalty, rel=1e-5
        )
    assert [row["train/r1"] for row in logged[::2]] == [row["train/r1"] for row in logged[1::2]], (
        "the latest one"
    )
    assert logged[0]["train/r1"] != logged[2]["train/r1"]
    assert {name for name in logged[1] if "depth" in name or "score" in name} == {
        "train/depth_of_layer_0",
        "train/depth_of_layer_1",
        "train/score_of_real",
        "train/score_of_fake",
    }


def test_losses_are_what_they_say(batch: PosedViews, monkeypatch: pytest.MonkeyPatch) -> None:
    module, logged = tiny_adversarial(discriminator=DiscriminatorOptions(form="hinge", width=4)), {}
    module.trainer = pl.Trainer(accelerator="cpu", logger=False)
    monkeypatch.setattr(module, "log_dict", lambda values, batch_size: logged.update(values))
    layers = module.build(batch)
    rendering, expected = module.render_views(layers, batch["novel"]), batch["novel"]["images"].flatten(0, 1)
    real, fake = judged_images(rendering, expected)
    total = module.discriminator_loss(real, fake.detach())
    critic = module.discriminator
    of_real, of_fake = critic(real), critic(fake)
    expected_loss = adversarial.discriminator_loss(of_real.scores, of_fake.scores, "hinge")
    penalty = adversarial.r1_penalty(lambda x: critic(x).scores, real)
    torch.testing.assert_close(total, expected_loss + 1e-4 * 16 * penalty)
    module.generator_loss(layers, rendering, expected, real, fake)
    torch.testing.assert_close(
        logged["train/adversarial"], adversarial.generator_loss(of_fake.scores, "hinge").detach()
    )
    torch.testing.assert_close(
        logged["train/feature_matching"],
        adversarial.feature_matching(of_real.features, of_fake.features).detach(),
    )


@pytest.mark.parametrize("texturing", ["RAW", "RSBg", "RBg"])
@pytest.mark.parametrize("depth", ["BI", "SA", "GC"])
def test_every_parameter_of_both_learns_with_every_scheme(tmp_path: Path, texturing: str, depth: str) -> None:
    module = tiny_adversarial(texturing=texturing, depth=depth)
    before = copy.deepcopy(dict(module.named_parameters()))
    recorder = train(tmp_path, module, scenes=4)
    of_discriminator, of_generator = recorder.gradients[1], recorder.gradients[0]
    assert set(of_discriminator) == {name for name in before if name.startswith("discriminator.")}
    assert set(of_generator) == {name for name in before if name.startswith("generator.")}
    assert set(of_generator) | set(of_discriminator) == set(before)
    same = [name for name, p in module.named_parameters() if torch.equal(p, before[name])]
    assert same == []


def test_raw_colours_learn_from_the_discriminator_alone(
    batch: PosedViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tiny_adversarial()
    module.trainer = pl.Trainer(accelerator="cpu", logger=False)
    monkeypatch.setattr(module, "log_dict", lambda values, batch_size: None)
    layers = module.build(batch)
    rendering, expected = module.render_views(layers, batch["novel"]), batch["novel"]["images"].flatten(0, 1)
    _, fake = judged_images(rendering, expected)
    adversarial.generator_loss(module.discriminator(fake).scores).backward()
    for network in (module.generator.coloring_network, module.generator.geometry_network):
        assert max(float(p.grad.abs().max()) for p in network.parameters() if p.grad is not None) > 0


def test_twenty_scenes_make_raw_views_better(tmp_path: Path) -> None:
    """Colours have to be found from nothing, so three looks at each scene bring the mean error down a little only."""
    module = tiny_adversarial(learning_rate=1e-2, loss_weights=AdversarialWeights(perceptual=1.0, tv=0.1))
    logged = train(tmp_path, module, scenes=20, batch_size=2, max_epochs=3).logged
    errors = [sum(row["train/l1"] for row in logged[10 * epoch :][:10]) / 10 for epoch in range(3)]
    assert errors[1] < 0.96 * errors[0] and errors[2] < 0.92 * errors[0]


def test_accumulated_batches_make_the_step_of_a_larger_batch(tmp_path: Path) -> None:
    """Spectral norms iterate once per batch, so they rest here."""
    rows = {}
    for size, accumulate in ((4, 1), (2, 2)):
        module = tiny_adversarial(steps=StepOptions(accumulate=accumulate))
        module.generator.eval()
        recorder = train(tmp_path, module, batch_size=size, scenes=8)
        assert module.iterations == 2
        rows[accumulate] = recorder.gradients[
            :2
        ]  # the second step is one of Adam's quotients of small numbers
    for whole, parts in zip(rows[1], rows[2], strict=True):
        largest = max(float(gradient.abs().max()) for gradient in whole.values())
        assert largest > 1e-3
        for name, gradient in whole.items():
            torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-5 * largest)


def test_bf16_mixed_stays_close_to_float32(tmp_path: Path) -> None:
    full = train(tmp_path, tiny_adversarial(), scenes=16)
    half = train(tmp_path, tiny_adversarial(), scenes=16, precision="bf16-mixed")
    for term in ("loss", "discriminator_loss", "adversarial"):
        exact, rounded = ([row[f"train/{term}"] for row in run.logged] for run in (full, half))
        assert exact != rounded, "the networks ran in float32"
        assert rounded == pytest.approx(exact, rel=0.02)
    assert half.logged[0]["train/r1"] == pytest.approx(full.logged[0]["train/r1"], rel=1e-3), "in float32"
    for exact, rounded in zip(full.gradients[:2], half.gradients[:2], strict=True):
        one, other = (torch.cat([part[name].flatten() for name in exact]) for part in (exact, rounded))
        assert torch.cosine_similarity(one, other, dim=0) > 0.99


def test_without_a_weight_the_penalty_is_not_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> Tensor:
        raise AssertionError

    monkeypatch.setattr("repsynth.modules.stereolayers.adversarial_module.r1_penalty", never)
    logged = train(tmp_path, tiny_adversarial(loss_weights=AdversarialWeights(r1=0.0))).logged
    assert "train/r1" not in logged[0]


def test_terms_without_weight_are_not_there(tmp_path: Path) -> None:
    logged = train(tmp_path, tiny_adversarial(loss_weights=AdversarialWeights(feature_matching=0.0))).logged
    assert "train/feature_matching" not in logged[0] and "train/adversarial" in logged[0]


def test_a_compiled_discriminator_still_has_its_penalty(
    batch: PosedViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiled module is another callable than `forward`; this one cannot be differentiated twice."""
    module = tiny_adversarial()
    module.trainer = pl.Trainer(accelerator="cpu", logger=False)
    monkeypatch.setattr(module, "log_dict", lambda values, batch_size: None)
    images = torch.randn(2, 4, SIDE, SIDE)
    expected = module.discriminator_loss(images, -images)
    with torch.no_grad():
        compiled = module.discriminator(images), module.discriminator(-images)
    answers = iter(compiled)
    module.discriminator._compiled_call_impl = lambda _: next(answers)
    torch.testing.assert_close(module.discriminator_loss(images, -images), expected)


def test_learning_rates_are_their_own_and_fall_together(tmp_path: Path) -> None:
    discriminator = DiscriminatorOptions(width=4, levels=2, learning_rate=1e-3)
    module = tiny_adversarial(learning_rate=2e-3, learning_rate_decay=0.5, discriminator=discriminator)
    train(tmp_path, module, scenes=20, batch_size=4)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in module.own_optimizers()]
    assert rates == pytest.approx([2e-3 * 0.5**0.02, 1e-3 * 0.5**0.02])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"loss_weights": AdversarialWeights(adversarial=0.0, feature_matching=0.0)},
            r"adversarial and feature_matching are 0, so the discriminator teaches nothing; .* or use StereoLayers",
        ),
        (
            {"discriminator": DiscriminatorOptions(r1_every=0)},
            r"model\.discriminator\.r1_every is 0; expected at",
        ),
        (
            {"discriminator": DiscriminatorOptions(scales=0)},
            r"model\.discriminator\.scales is 0; expected at least 1",
        ),
        (
            {"discriminator": DiscriminatorOptions(learning_rate=0.0)},
            r"model\.discriminator\.learning_rate is 0\.0; expected a number above 0",
        ),
        ({"steps": StepOptions(accumulate=0)}, r"model\.steps\.accumulate is 0; expected at least 1"),
        ({"depth": "GC", "layers": 3}, r"planes=4 is not a multiple of model\.layers=3"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        tiny_adversarial(**options)


def test_images_too_small_for_the_discriminator_are_refused_before_training() -> None:
    module = tiny_adversarial(discriminator=DiscriminatorOptions(levels=5, scales=2))
    with pytest.raises(
        UserError, match=r"levels=5 and scales=2 needs image sides of at least 64 pixels, but gets 32x96"
    ):
        module.check(SyntheticScenes(image_size=(32, 96)))
    with pytest.raises(UserError, match=r"multiples of 32, but gets 72x96"):
        module.check(SyntheticScenes(image_size=(72, 96)))


def test_all_options_of_stereolayers_are_its_options_too() -> None:
    known = signatures.options(AdversarialStereoLayers)
    assert {"texturing", "steps", "discriminator", "mesh_size", "learning_rate", "loss_weights"} <= set(known)
    assert known["loss_weights"].default == AdversarialWeights()
    assert known["texturing"].default == "RAW"
    assert [name for name, option in known.items() if not option.description] == []
