import math

import pytest
import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.modules.hidt.discriminators import Verdicts
from repsynth.modules.hidt.losses import (
    adversarial_loss,
    crops_consistency,
    discriminators_loss,
    image_losses,
    latent_losses,
    segmentation_loss,
    style_distribution_loss,
)
from repsynth.modules.hidt.palette import COLOURS
from repsynth.modules.hidt.passes import Passes, run_passes
from repsynth.nn.patch_discriminator import Judgement

from .tiny import tiny_generator


def passes_of(**options: object) -> tuple[Passes, Tensor, Tensor]:
    generator, images, drawn = tiny_generator(**options), torch.randn(2, 3, 16, 16), torch.randn(2, 3)
    return run_passes(generator, images, drawn), images, drawn


def mean_difference(found: Tensor, expected: Tensor) -> float:
    pairs = zip(found.flatten().tolist(), expected.flatten().tolist(), strict=True)
    return sum(abs(a - b) for a, b in pairs) / found.numel()


def test_image_losses_by_a_plain_loop() -> None:
    passes, images, _ = passes_of()
    losses = image_losses(passes, images)
    expected = {
        "reconstruction": mean_difference(passes.autoencoded, images),
        "random_reconstruction": mean_difference(passes.random_autoencoded, passes.randomised.images),
        "cross_cycle": mean_difference(passes.cycled, images),
    }
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-5)


def test_latent_losses_by_a_plain_loop() -> None:
    passes, _, drawn = passes_of()
    losses = latent_losses(passes, drawn)
    expected = {
        "content": mean_difference(passes.swapped_codes, passes.codes),
        "random_content": mean_difference(passes.random_codes, passes.codes),
        "style": mean_difference(passes.swapped_styles, passes.partner_styles),
        "random_style": mean_difference(passes.random_styles, drawn),
    }
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-5)


def gradient_into(loss: Tensor, target: Tensor) -> bool:
    (gradient,) = torch.autograd.grad(loss, target, retain_graph=True, allow_unused=True)
    return gradient is not None and bool(gradient.any())


@pytest.mark.parametrize("detach", [False, True])
def test_targets_can_be_detached(detach: bool) -> None:
    """Leaves in the place of the codes: only what the losses do to their targets is seen."""
    passes, images, drawn = passes_of()
    leaf = passes.partner_styles.detach().requires_grad_()
    random = passes.randomised._replace(images=passes.randomised.images.detach().requires_grad_())
    passes = passes._replace(partner_styles=leaf, randomised=random)
    assert gradient_into(latent_losses(passes, drawn, detach_styles=detach)["style"], leaf) != detach
    loss = image_losses(passes, images, detach_randomised=detach)["random_reconstruction"]
    assert gradient_into(loss, random.images) != detach


def test_content_targets_are_never_detached() -> None:
    passes, _, drawn = passes_of()
    leaf = passes.codes.detach().requires_grad_()
    losses = latent_losses(passes._replace(codes=leaf), drawn)
    assert gradient_into(losses["content"], leaf) and gradient_into(losses["random_content"], leaf)


def test_every_parameter_learns_from_the_losses_together() -> None:
    generator = tiny_generator()
    images, drawn = torch.randn(2, 3, 16, 16), torch.randn(2, 3)
    passes = run_passes(generator, images, drawn)
    maps = torch.randint(5, (2, 16, 16))
    assert passes.swapped.maps is not None
    terms = image_losses(passes, images) | latent_losses(passes, drawn)
    total = torch.stack(list(terms.values())).sum() + segmentation_loss(passes.swapped.maps, maps)
    (total + style_distribution_loss(passes.styles)).backward()
    assert [name for name, p in generator.named_parameters() if p.grad is None] == []


def test_cross_entropy_of_known_pixels() -> None:
    logits = torch.randn(2, 4, 3, 3)
    maps = torch.randint(4, (2, 3, 3), dtype=torch.uint8)
    maps[0, 0] = 255
    losses = [
        math.log(sum(math.exp(v) for v in logits[b, :, i, j].tolist()))
        - logits[b, int(maps[b, i, j]), i, j].item()
        for b in range(2)
        for i in range(3)
        for j in range(3)
        if maps[b, i, j] != 255
    ]
    assert segmentation_loss(logits, maps).item() == pytest.approx(sum(losses) / 15, rel=1e-5)


def test_nothing_known_costs_nothing() -> None:
    logits = torch.randn(1, 4, 2, 2, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 2, 2), 255))
    loss.backward()
    assert loss == 0 and logits.grad is not None and not logits.grad.any()


def test_coloured_maps_are_compared_with_the_palette() -> None:
    found, maps = torch.rand(2, 3, 4, 4), torch.randint(9, (2, 4, 4))
    expected = torch.tensor([[[COLOURS[c] for c in row] for row in image] for image in maps.tolist()])
    expected = expected.movedim(-1, 1) * 2 - 1
    assert segmentation_loss(found, maps, colours=True).item() == pytest.approx(
        mean_difference(found, expected), rel=1e-5
    )
    maps[:, :2] = 255
    assert segmentation_loss(found, maps, colours=True).item() == pytest.approx(
        mean_difference(found[:, :, 2:], expected[:, :, 2:]), rel=1e-5
    )
    assert segmentation_loss(found, torch.full((2, 4, 4), 255), colours=True) == 0


def test_style_distribution_by_hand() -> None:
    """Mean (1, 0), covariance [[2, 1], [1, 1/2]]: 1 + (1 + 1 + 1 + 1/2) + (1 + 1/2)."""
    pool = torch.tensor([[0.0, -0.5], [0, -0.5], [3, 1], [1, 0]])
    assert style_distribution_loss(pool).item() == pytest.approx(6, rel=1e-6)


def test_styles_from_the_wished_distribution_cost_little() -> None:
    torch.manual_seed(0)
    normal = torch.randn(100_000, 3)
    assert style_distribution_loss(normal) < 0.1
    assert style_distribution_loss(normal + 1) == pytest.approx(3, abs=0.1)
    assert style_distribution_loss(2 * normal) == pytest.approx(2 * 9, abs=0.3)


def test_distribution_in_half_precision_and_of_too_few() -> None:
    pool = torch.randn(32, 3).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(style_distribution_loss(pool), style_distribution_loss(pool.float()))
    with pytest.raises(UserError, match=r"distribution of 1 style cannot be measured; expected at least 2"):
        style_distribution_loss(torch.randn(1, 3))


def verdicts_of(*scores: float) -> Verdicts:
    """One score on each of two scales, of the unconditional discriminator, then of the other one."""
    maps = [torch.tensor([[[[score]]]]) for score in scores]
    return Verdicts(Judgement(maps[:2], []), Judgement(maps[2:], []))


def test_adversarial_losses_by_hand() -> None:
    real, fake = verdicts_of(1.0, 0.5, 2.0, 1.0), verdicts_of(0.0, 1.0, -1.0, 0.5)
    assert adversarial_loss(fake).item() == pytest.approx((1 + 0 + 4 + 0.25) / 2)
    expected = (0 + 0.25 + 1 + 0) / 2 + (0 + 1 + 1 + 0.25) / 2
    assert discriminators_loss(real, fake).item() == pytest.approx(expected)


def test_crops_consistency_passes_over_the_border() -> None:
    stack = torch.rand(2, 12, 5, 6)
    again = stack + 0.25
    again[..., [0, -1], :] += 3
    again[..., [0, -1]] -= 5
    assert crops_consistency(again, stack).item() == pytest.approx(0.25, rel=1e-5)
