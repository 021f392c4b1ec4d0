"""How the translation network is trained, and what evaluation gets."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from distributed.harness import make_trainer

from repsynth.callbacks.ema import EMA
from repsynth.datamodules.synthetic.images import SyntheticImages
from repsynth.errors import UserError
from repsynth.modules.alternating_steps import AlternatingOptions
from repsynth.modules.hidt.learning import LearningOptions, LossWeights, weighted
from repsynth.modules.hidt.losses import discriminators_loss
from repsynth.modules.hidt.module import fakes_of
from repsynth.modules.hidt.passes import run_passes

from .tiny_module import Slopes, only, silent, tiny_hidt, train

TERMS = set(LossWeights.__dataclass_fields__)


# An iteration.


def test_generator_then_discriminators_at_rates_that_are_halved(tmp_path: Path) -> None:
    learning = LearningOptions(1e-3, 4e-4, halve_every=2)
    steps = train(tiny_hidt(learning=learning), tmp_path)
    halvings = [1, 1, 0.5, 0.5, 0.25]
    assert steps.order == [
        (iteration, network, pytest.approx(rate * half))
        for iteration, half in enumerate(halvings)
        for network, rate in (("generator", 1e-3), ("discriminators", 4e-4))
    ]
    assert all({f"train/{term}" for term in TERMS} <= metrics.keys() for metrics in steps.metrics)
    assert {"train/loss", "train/discriminators"} <= steps.metrics[0].keys()


def test_the_loss_is_the_weighted_sum_of_the_logged_terms(tmp_path: Path) -> None:
    metrics = train(tiny_hidt(), tmp_path).metrics[2]
    published = {
        **dict.fromkeys(("adversarial", "random_adversarial"), 5.0),
        **dict.fromkeys(("reconstruction", "random_reconstruction", "cross_cycle"), 2.0),
        **dict.fromkeys(("segmentation", "random_segmentation"), 3.0),
        **dict.fromkeys(("content", "random_content", "style_distribution"), 1.0),
        "style": 0.1,
        "random_style": 4.0,
    }
    total = sum(weight * metrics[f"train/{name}"] for name, weight in published.items())
    assert metrics["train/loss"] == pytest.approx(total, rel=1e-5)


def test_what_the_discriminators_learn_from() -> None:
    """Reals in their own styles; swapped images in their partners' styles; randomised ones in the drawn ones."""
    module = silent(tiny_hidt())
    images, drawn = torch.rand(4, 3, 16, 16) * 2 - 1, torch.randn(4, 3)
    passes = run_passes(module.generator, images, drawn)
    found = module.discriminators_loss(images, fakes_of(passes, drawn))
    judge = module.discriminators
    real = judge(images, module.generator.encode_style(images))
    swapped = judge(passes.swapped.images, passes.partner_styles)
    randomised = judge(passes.randomised.images, drawn)
    expected = discriminators_loss(real, swapped) + discriminators_loss(real, randomised)
    torch.testing.assert_close(found, expected)
    found.backward()
    assert all(p.grad is None for p in module.generator.parameters())
    alone = silent(tiny_hidt(weights={"random_adversarial": 0.0}))
    torch.testing.assert_close(
        alone.discriminators_loss(images, fakes_of(passes, drawn)), discriminators_loss(real, swapped)
    )


def test_terms_without_a_weight_are_neither_computed_nor_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tiny_hidt(weights=only(LossWeights, reconstruction=1.0, content=2.0))
    monkeypatch.setattr(module.discriminators, "forward", None)
    monkeypatch.setattr("repsynth.modules.hidt.module.segmentation_loss", None)
    steps = train(module, tmp_path, Slopes(count=8, batch_size=4, maps=False))
    assert [network for _, network, _ in steps.order] == ["generator"] * 2
    logged = {"reconstruction", "content", "loss"}
    assert {name.removeprefix("train/") for name in steps.metrics[0] if name.startswith("train/")} == logged


@pytest.mark.parametrize(
    ("generator", "options"),
    [
        ({}, {}),
        ({"segmentation": "colours"}, {}),
        ({"segmentation": "none", "style_size": 12}, {}),
        ({}, {"steps": AlternatingOptions(split=2, gradient_clip=0.1), "style_pool_length": 0}),
    ],
    ids=["classes", "colours", "paintings", "split and clipped"],
)
def test_trains_and_evaluates(tmp_path: Path, generator: dict[str, Any], options: dict[str, Any]) -> None:
    module = tiny_hidt(generator, **options)
    before = {name: p.clone() for name, p in module.named_parameters()}
    returned: list[Any] = []

    class Evaluated(pl.Callback):
        def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:  # noqa: ANN401
            returned.append(outputs)

    callbacks = [EMA(["generator"], half_life=8), Evaluated()]
    trainer = make_trainer(tmp_path, callbacks, max_epochs=1, enable_checkpointing=False)
    trainer.fit(module, datamodule=Slopes(count=8, batch_size=4, eval_batch_size=2, seed=5))
    assert module.iterations == 2 and int(module.style_pool.seen) == 8
    still = [name for name, p in module.named_parameters() if torch.equal(p, before[name])]
    assert still == []
    assert [name for output in returned for name in output["ids"]] == [f"{n:03d}" for n in range(5)]


def test_half_precision_learns_with_losses_in_full_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tiny_hidt()
    found: list[torch.dtype] = []

    def recorded(terms: Any, weights: Any) -> Any:  # noqa: ANN401
        found.extend(term.dtype for term in terms.values())
        return weighted(terms, weights)

    monkeypatch.setattr("repsynth.modules.hidt.module.weighted", recorded)
    steps = train(module, tmp_path, precision="bf16-mixed")
    assert set(found) == {torch.float32} and len(found) == 5 * len(TERMS)
    assert all(value == value for value in steps.metrics[-1].values())
    assert {p.dtype for p in module.parameters()} == {torch.float32}


def test_noise_lifts_training_images_by_less_than_a_grey_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def passes(generator: Any, images: Any, *arguments: Any) -> Any:  # noqa: ANN401
        seen.append(images)
        return run_passes(generator, images, *arguments)

    monkeypatch.setattr("repsynth.modules.hidt.module.run_passes", passes)
    for dequantise in (False, True):
        train(tiny_hidt(dequantise=dequantise), tmp_path, Slopes(count=4, batch_size=4, seed=5))
    levels, lifted = ((images + 1) / 2 * 255 for images in seen)
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    off = lifted - levels
    assert off.min() > -1e-3 and off.max() < 1 + 1e-3 and 0.4 < off.mean() < 0.6


# Evaluation.


def relit(count: int = 3, truth: bool = True) -> Any:  # noqa: ANN401
    torch.manual_seed(7)
    batch = {"ids": [str(n) for n in range(count)], "content": torch.rand(count, 3, 16, 16)}
    batch |= {"style": torch.rand(count, 3, 24, 16)}
    return batch | {"truth": torch.rand(count, 3, 16, 16)} if truth else batch


@torch.no_grad()
def test_photos_are_translated_to_the_light_of_others() -> None:
    module, batch = tiny_hidt().eval(), relit()
    found: Any = module.validation_step(batch, 0)
    generator, photos = module.generator, batch["content"] * 2 - 1
    for panel, light in (("predicted", batch["style"]), ("autoencoded", batch["content"])):
        expected = (generator(photos, generator.encode_style(light * 2 - 1)).images + 1) / 2
        image = found["predicted"] if panel == "predicted" else found["panels"][panel]
        torch.testing.assert_close(image, expected, atol=1e-5, rtol=1e-4)
    assert found["ids"] == batch["ids"] and torch.equal(found["expected"], batch["truth"])
    assert list(found["panels"]) == ["content", "style", "autoencoded"]
    generated: Any = module.test_step(relit(truth=False), 0)
    assert generated.keys() == {"ids", "generated", "inputs"}
    torch.testing.assert_close(generated["generated"], found["predicted"], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_an_evaluated_image_depends_on_its_own_photos_alone() -> None:
    module, batch = tiny_hidt().eval(), relit()
    many: Any = module.validation_step(batch, 0)
    for index in range(3):
        one: Any = module.validation_step(
            {key: values[index : index + 1] for key, values in batch.items()}, 0
        )
        torch.testing.assert_close(
            one["predicted"], many["predicted"][index : index + 1], atol=1e-5, rtol=1e-4
        )


# What is refused.


def test_data_without_maps_are_refused_where_maps_are_learned(tmp_path: Path) -> None:
    sentence = r"segmentation losses need segmentation maps, but Slopes gives none; set model\.generator\.segmentation"
    with pytest.raises(UserError, match=sentence):
        tiny_hidt().check(Slopes(maps=False))
    tiny_hidt({"segmentation": "none"}).check(Slopes(maps=False))
    tiny_hidt(weights={"segmentation": 0.0, "random_segmentation": 0.0}).check(Slopes(maps=False))
    with pytest.raises(UserError, match=r"but the batch has none; set"):
        train(tiny_hidt(), tmp_path, Slopes(maps=False))


@pytest.mark.parametrize(
    ("generator", "discriminator", "side", "sentence"),
    [
        ({}, {}, 18, r"multiples of 4 and at least 8 pixels, but gets 18x18"),
        ({}, {"levels": 4, "scales": 2}, 16, r"image sides of at least 31 pixels, but get 16x16"),
        ({"style_downsamplings": 5}, {}, 16, r"style encoder needs image sides of at least 32 pixels"),
    ],
)
def test_sizes_are_refused_before_training(
    generator: dict[str, Any], discriminator: dict[str, Any], side: int, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        tiny_hidt(generator, discriminator).check(Slopes(side=side))


def test_one_image_has_no_partner() -> None:
    with pytest.raises(UserError, match=r"data\.batch_size is 1, but HiDT exchanges styles within a batch"):
        tiny_hidt().check(Slopes(batch_size=1))


def test_data_that_ask_for_samples_are_refused_before_training() -> None:
    with pytest.raises(UserError, match="asks for samples, but HiDT makes relightings; set data"):
        tiny_hidt().check(SyntheticImages(image_size=16))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"weights": {"style": -1.0}}, r"model\.loss_weights\.style is -1\.0; expected at least 0"),
        ({"weights": only(LossWeights)}, r"model\.loss_weights are all 0"),
        (
            {"learning": LearningOptions(learning_rate=0.0)},
            r"learning\.learning_rate is 0\.0; expected a number",
        ),
        (
            {"learning": LearningOptions(beta1=1.0)},
            r"learning\.beta1 is 1\.0; expected at least 0 and less than 1",
        ),
        ({"learning": LearningOptions(halve_every=0)}, r"learning\.halve_every is 0; expected at least 1"),
        ({"steps": AlternatingOptions(split=0)}, r"model\.steps\.split is 0"),
        ({"style_pool_length": -1}, r"model\.style_pool_length is -1"),
        ({"generator": {"classes": 1}}, r"model\.generator\.classes is 1; expected at least 2"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        tiny_hidt(**options)
