"""How the enhancer is trained on top of a frozen network, and what evaluation gets."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from distributed.harness import make_trainer
from torch import Tensor
from torch.nn import functional as F

from repsynth.callbacks.checkpoint import Checkpoint
from repsynth.callbacks.ema import EMA
from repsynth.checkpoint_tools.exported import export
from repsynth.checkpoints import write_weights
from repsynth.datamodules.synthetic.images import SyntheticImages
from repsynth.errors import UserError
from repsynth.modules.alternating_steps import AlternatingOptions
from repsynth.modules.hidt.batch_crops import batch_crops, reduced
from repsynth.modules.hidt.crops import stack_of
from repsynth.modules.hidt.enhancement import enhanced_translations
from repsynth.modules.hidt.enhancer_module import HiDTEnhancer
from repsynth.modules.hidt.learning import EnhancerLossWeights, JudgeOptions, LearningOptions
from repsynth.modules.hidt.losses import absolute_feature_matching
from repsynth.modules.hidt.options import Border, EnhancerOptions, GeneratorOptions, PhotoOptions, Stacking
from repsynth.modules.hidt.translation import style_of

from .tiny import photo
from .tiny_module import ENHANCER, GENERATOR, Slopes, only, silent, tiny_enhancing, tiny_hidt, train

TERMS = set(EnhancerLossWeights.__dataclass_fields__)


# An iteration.


def test_enhancer_then_discriminator_on_a_frozen_network(tmp_path: Path) -> None:
    module = tiny_enhancing(learning=LearningOptions(1e-3, 4e-4, halve_every=2))
    before = {name: p.clone() for name, p in module.named_parameters()}
    steps = train(module, tmp_path)
    assert steps.order == [
        (iteration, network, pytest.approx(rate * half))
        for iteration, half in enumerate([1, 1, 0.5, 0.5, 0.25])
        for network, rate in (("enhancer", 1e-3), ("discriminator", 4e-4))
    ]
    changed = {
        name.partition(".")[0] for name, p in module.named_parameters() if not torch.equal(p, before[name])
    }
    assert changed == {"enhancer", "discriminator"}
    assert not any(part.training for part in module.generator.modules()) and module.enhancer.training
    assert not any(p.requires_grad for p in module.generator.parameters())
    logged = {f"train/{name}" for name in TERMS - {"perceptual"}}
    assert (
        logged | {"train/perceptual_random", "train/loss", "train/discriminator"} <= steps.metrics[0].keys()
    )


def test_the_loss_is_the_weighted_sum_of_the_logged_terms(tmp_path: Path) -> None:
    metrics = train(tiny_enhancing(), tmp_path).metrics[1]
    weights = dict.fromkeys(("l1", "perceptual_random", "feature_matching", "consistency"), 10.0)
    weights |= {"adversarial": 1.0, "other_adversarial": 1.0}
    total = sum(weight * metrics[f"train/{name}"] for name, weight in weights.items())
    assert metrics["train/loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "networks", "logged"),
    [
        ({"l1": 1.0}, ["enhancer"], {"l1", "loss"}),
        ({"l1": 1.0, "consistency": 1.0}, ["enhancer"], {"l1", "consistency", "loss"}),
        (
            {"feature_matching": 1.0},
            ["enhancer", "discriminator"],
            {"feature_matching", "loss", "discriminator"},
        ),
    ],
)
def test_terms_without_a_weight_are_neither_computed_nor_logged(
    tmp_path: Path, weights: dict[str, float], networks: list[str], logged: set[str]
) -> None:
    module = tiny_enhancing(weights=only(EnhancerLossWeights, **weights))
    assert module.perceptual is None
    steps = train(module, tmp_path, Slopes(count=4, batch_size=4))
    assert [network for _, network, _ in steps.order] == networks
    assert {name.removeprefix("train/") for name in steps.metrics[0] if name.startswith("train/")} == logged


def test_feature_matching_by_hand() -> None:
    real, fake = (
        [torch.tensor([1.0, 2.0]), torch.tensor([3.0])],
        [torch.tensor([0.0, 4.0]), torch.tensor([7.0])],
    )
    assert absolute_feature_matching(real, fake) == pytest.approx((1.5 + 4) / 2)


@pytest.mark.parametrize("styles", ["swapped", "random"])
def test_the_stacks_are_translated_crops_in_two_styles(styles: Any) -> None:  # noqa: ANN401
    module, photos = tiny_enhancing(styles=styles), torch.rand(3, 3, 16, 16)
    wanted = module.wanted_styles(photos)
    own = module.generator.encode_style(reduced(photos, 2) * 2 - 1)
    assert torch.equal(wanted[:, 0], own)
    assert torch.equal(wanted[:, 1], own.roll(1, 0)) == (styles == "swapped")
    found = module.stacks(photos, wanted)
    crops = batch_crops(photos, 2)
    for image in range(3):
        for place in range(2):
            style = wanted[image, place][None]
            made = [(module.generator(crop[None] * 2 - 1, style).images + 1) / 2 for crop in crops[image]]
            expected = stack_of(torch.stack(made, dim=1), 2)
            torch.testing.assert_close(found[image, place], expected[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("at_once", [1, 5, 16])
def test_how_many_crops_are_translated_at_once_changes_nothing(at_once: int) -> None:
    photos = torch.rand(3, 3, 16, 16)
    sizes: list[int] = []
    module = tiny_enhancing(crops_at_once=at_once)
    module.generator.content_encoder.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    found = module.stacks(photos, module.wanted_styles(photos))
    assert max(sizes) <= at_once and sum(sizes) == 3 * 4
    other = tiny_enhancing(crops_at_once=100)
    torch.testing.assert_close(found, other.stacks(photos, other.wanted_styles(photos)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("stacking", ["pasted", "plain"])
@pytest.mark.parametrize("border", ["black", "reflect"])
def test_images_without_a_truth_are_held_to_their_crops(stacking: Stacking, border: Border) -> None:
    weights = only(EnhancerLossWeights, l1=1.0, consistency=1.0)
    module = silent(tiny_enhancing({"stacking": stacking}, weights, border=border))
    photos, others = torch.rand(2, 2, 3, 16, 16)
    stacks = torch.stack(
        [module.enhancer.stack(batch_crops(images, 2, border), border) for images in (photos, others)], dim=1
    )

    def loss(of_others: Tensor) -> Tensor:
        enhanced = torch.stack((photos, of_others), dim=1) * 2 - 1
        found: Tensor = module.enhancer_loss(photos, enhanced, stacks)
        return found

    assert loss(others).item() == pytest.approx(0, abs=1e-6)
    blurred = F.avg_pool2d(others, 5, 1, 2, count_include_pad=False).requires_grad_()
    blurred_loss = loss(blurred)
    blurred_loss.backward()
    assert blurred_loss.item() > 0.05
    assert blurred.grad is not None and (blurred.grad[..., 4:-4, 4:-4] != 0).float().mean() > 0.9


def test_what_each_term_compares() -> None:
    """The first images with their photos, the second with their stacks."""
    module = silent(tiny_enhancing(weights=only(EnhancerLossWeights, l1=1.0, consistency=1.0)))
    photos, stacks = torch.rand(2, 3, 16, 16), torch.zeros(2, 2, 12, 8, 8)
    enhanced = torch.stack((photos * 2 - 1 + 0.25, torch.full_like(photos, 0.5)), dim=1)
    loss = module.enhancer_loss(photos, enhanced, stacks)
    assert loss.item() == pytest.approx(0.25 + 0.5, rel=1e-5)


def test_split_batches_and_half_precision(tmp_path: Path) -> None:
    options: Any = {"steps": AlternatingOptions(split=2, gradient_clip=0.1), "styles": "random"}
    steps = train(tiny_enhancing(**options), tmp_path, precision="bf16-mixed")
    assert len(steps.order) == 10
    assert all(value == value for value in steps.metrics[-1].values())


def test_parts_learn_what_the_whole_batch_teaches(tmp_path: Path) -> None:
    """The partner's style is that of the whole batch: crops are translated before it is split."""
    found = []
    for split in (1, 2):
        module = tiny_enhancing(steps=AlternatingOptions(split=split))
        train(module, tmp_path, Slopes(count=4, batch_size=4, seed=5))
        found.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)


# Evaluation.


@torch.no_grad()
def test_enhanced_translations_are_those_of_prediction() -> None:
    """To a few grey levels: prediction resizes bytes by Pillow."""
    module = tiny_enhancing(enhancer={"factor": 4}).eval()
    pictures = [photo(64, 64, seed=seed) for seed in range(2)]
    content, light = (torch.from_numpy(picture)[None].float() / 255 for picture in pictures)
    batch: Any = {"ids": ["a"], "content": content, "style": light, "truth": torch.rand(1, 3, 64, 64)}
    found: Any = module.validation_step(batch, 0)
    options = PhotoOptions(working_size=16, multiple=4)
    style = style_of(module.generator, [pictures[1]], options)
    (expected,) = enhanced_translations(module.generator, module.enhancer, pictures[0], style[None], options)
    assert (found["predicted"][0] - expected).abs().max() < 0.03
    plain = module.generator(reduced(content, 4) * 2 - 1, style[None]).images
    small = F.avg_pool2d(found["panels"]["bicubic"], 4)
    assert (small - (plain + 1) / 2).abs().mean() < 0.03
    assert list(found["panels"]) == ["content", "style", "bicubic"] and torch.equal(
        found["expected"], batch["truth"]
    )
    del batch["truth"]
    assert torch.equal(module.test_step(batch, 0)["generated"], found["predicted"])


# The frozen network.


def trained(root: Path) -> Path:
    """The checkpoint of a translation network whose average is not its weights."""
    trainer = make_trainer(root, [EMA(["generator"], half_life=30), Checkpoint()], max_epochs=1)
    trainer.fit(tiny_hidt(), datamodule=Slopes(count=8, batch_size=4, seed=5))
    return root / "checkpoints" / "last.ckpt"


def with_translation(path: Path | None, **generator: Any) -> HiDTEnhancer:  # noqa: ANN401
    return HiDTEnhancer(
        None if path is None else str(path),
        GeneratorOptions(**{**GENERATOR, **generator}),
        EnhancerOptions(**ENHANCER),
        JudgeOptions(width=4, levels=2),
        perceptual="random",
        perceptual_levels=1,
    )


def test_the_averaged_network_of_a_checkpoint_is_taken_and_kept(tmp_path: Path) -> None:
    path = trained(tmp_path / "hidt")
    state = torch.load(path, weights_only=True)
    averages = next(own["averages"] for own in state["callbacks"].values() if "averages" in own)
    export(path, tmp_path / "hidt.safetensors")
    for source in (path, tmp_path / "hidt.safetensors"):
        module = with_translation(source)
        for name, parameter in module.generator.named_parameters():
            assert torch.equal(parameter, averages[f"generator.{name}"])
            assert not torch.equal(parameter, state["state_dict"][f"generator.{name}"])
    data = Slopes(count=4, batch_size=4)
    make_trainer(tmp_path / "run", [Checkpoint()], max_epochs=1).fit(module, datamodule=data)
    path.unlink()
    alone = with_translation(path)
    own = tmp_path / "run" / "checkpoints" / "last.ckpt"
    (evaluated,) = _test(alone, data, own)
    with torch.no_grad():
        expected: Any = module.eval().test_step(evaluated["batch"], 0)
    torch.testing.assert_close(evaluated["output"]["predicted"], expected["predicted"])


def _test(module: HiDTEnhancer, data: Slopes, path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    class Kept(pl.Callback):
        def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:  # noqa: ANN401
            found.append({"output": outputs, "batch": batch})

    trainer = make_trainer(path.parent, [Kept()], limit_test_batches=1)
    trainer.test(module, datamodule=data, ckpt_path=path, verbose=False)
    return found


def test_training_needs_a_trained_network(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"model\.translation is null; expected the checkpoint of a trained HiDT"
    ):
        train(with_translation(None), tmp_path)
    with pytest.raises(UserError, match=r"gone\.ckpt, and there is no such file; expected the checkpoint"):
        train(with_translation(tmp_path / "gone.ckpt"), tmp_path)
    started = with_translation(None)
    started.load_state_dict(with_translation(None).state_dict())
    train(started, tmp_path, Slopes(count=4, batch_size=4))


def test_another_network_is_refused(tmp_path: Path) -> None:
    write_weights(tiny_hidt(), tmp_path / "hidt.ckpt")
    with_translation(tmp_path / "hidt.ckpt")
    with pytest.raises(
        UserError, match=r"content_encoder\.blocks\.1\.convs\.0\.bias is missing\); give the check"
    ):
        with_translation(tmp_path / "hidt.ckpt", content_blocks=2)
    sentence = r"first\.weight is \[4, 3, 9, 9\], expected \[8, 3, 9, 9\]\); give the checkpoint of a HiDT"
    with pytest.raises(UserError, match=sentence):
        with_translation(tmp_path / "hidt.ckpt", width=8)
    (tmp_path / "damaged.ckpt").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"damaged\.ckpt is damaged"):
        with_translation(tmp_path / "damaged.ckpt")


# What is refused.


@pytest.mark.parametrize(
    ("options", "side", "sentence"),
    [
        ({}, 18, r"with factor 2 learns from photos with sides that are multiples of 8, but gets 18x18"),
        ({}, 8, r"at least 8 pixels, but gets 4x4"),
        (
            {"generator": {"style_downsamplings": 4}},
            16,
            r"style encoder needs image sides of at least 16 pixels",
        ),
    ],
)
def test_sizes_are_refused_before_training(options: dict[str, Any], side: int, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        tiny_enhancing(**options).check(Slopes(side=side))


def test_one_image_has_no_partner() -> None:
    with pytest.raises(UserError, match=r"data\.batch_size is 1, but HiDT exchanges styles within a batch"):
        tiny_enhancing().check(Slopes(batch_size=1))
    tiny_enhancing(styles="random").check(Slopes(batch_size=1))
    with pytest.raises(UserError, match="asks for samples, but HiDT makes relightings"):
        tiny_enhancing().check(SyntheticImages(image_size=16))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"crops_at_once": 0}, r"model\.crops_at_once is 0; expected at least 1"),
        ({"weights": {"l1": -1.0}}, r"model\.loss_weights\.l1 is -1\.0"),
        ({"enhancer": {"factor": 3}}, r"model\.enhancer\.factor is 3; expected a power of 2"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        tiny_enhancing(**options)
