"""Closed forms, finite differences, float32 inside autocast."""

import math

import pytest
import torch
from torch import Tensor, nn

from repsynth.losses.adversarial import (
    discriminator_loss,
    feature_matching,
    generator_loss,
    r1_penalty,
)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_logistic_losses_by_hand() -> None:
    real, fake = [torch.tensor([[2.0, -1.0]])], [torch.tensor([[0.5, -3.0]])]
    expected = (softplus(-2) + softplus(1)) / 2 + (softplus(0.5) + softplus(-3)) / 2
    assert discriminator_loss(real, fake).item() == pytest.approx(expected, rel=1e-6)
    assert generator_loss(fake).item() == pytest.approx((softplus(-0.5) + softplus(3)) / 2, rel=1e-6)


def test_hinge_losses_by_hand() -> None:
    real, fake = [torch.tensor([[2.0, -1.0]])], [torch.tensor([[0.5, -3.0]])]
    assert discriminator_loss(real, fake, "hinge").item() == pytest.approx((0 + 2) / 2 + (1.5 + 0) / 2)
    assert generator_loss(fake, "hinge").item() == pytest.approx(1.25)


@pytest.mark.parametrize("form", ["logistic", "hinge"])
def test_every_scale_counts_alike(form: str) -> None:
    large, small = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 2, 2)
    both = generator_loss([large, small], form)
    torch.testing.assert_close(both, (generator_loss([large], form) + generator_loss([small], form)) / 2)
    both = discriminator_loss([large, small], [small, large], form)
    apart = discriminator_loss([large], [large], form) + discriminator_loss([small], [small], form)
    torch.testing.assert_close(both, apart / 2)


def test_the_logistic_gradient_does_not_fade_while_the_critic_is_right() -> None:
    scores = torch.tensor([-20.0], requires_grad=True)
    generator_loss([scores]).backward()
    assert scores.grad is not None and scores.grad.item() == pytest.approx(-1.0)


def test_penalty_of_a_linear_critic_is_its_squared_weight() -> None:
    weight = torch.randn(3, 4, 5)
    found = r1_penalty(lambda images: [(images * weight).flatten(1).sum(1)], torch.randn(7, 3, 4, 5))
    torch.testing.assert_close(found, weight.square().sum())


def test_penalty_is_the_mean_over_images_of_the_sum_over_all_scores() -> None:
    """D has scores x^2 / 2 and, on a second scale, 3 x: its gradient is x + 3."""
    images = torch.randn(4, 2, 3, 3)
    found = r1_penalty(lambda x: [x.square() / 2, 3 * x.flatten(1)], images)
    torch.testing.assert_close(found, (images + 3).square().flatten(1).sum(1).mean())


def test_gradient_of_the_penalty_by_finite_differences() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    first, second = nn.Conv2d(2, 3, 3).double(), nn.Conv2d(3, 1, 3).double()

    def penalty(*weights: Tensor) -> Tensor:
        def critic(x: Tensor) -> list[Tensor]:
            hidden = torch.nn.functional.conv2d(x, weights[0]).tanh()
            return [torch.nn.functional.conv2d(hidden, weights[1])]

        return r1_penalty(critic, images)

    inputs = tuple(conv.weight.detach().requires_grad_() for conv in (first, second))
    assert torch.autograd.gradcheck(penalty, inputs)


def test_penalty_is_float32_inside_autocast_and_leaves_the_images_alone() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Softplus(), nn.Conv2d(8, 1, 3))
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    expected = r1_penalty(lambda x: [critic(x)], images)
    with torch.autocast("cpu", torch.bfloat16):
        found = r1_penalty(lambda x: [critic(x)], images)
        of_half = r1_penalty(lambda x: [critic(x)], images.detach().bfloat16())
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    assert of_half.dtype == torch.float32
    found.backward()
    assert images.grad is None
    assert all(parameter.grad is not None for parameter in critic[0].parameters())


def test_feature_matching_by_hand() -> None:
    real = [torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[0.0]]]])]
    fake = [torch.tensor([[[[2.0, 4.0]]]]), torch.tensor([[[[3.0]]]])]
    assert feature_matching(real, fake).item() == pytest.approx(((1 + 4) / 2 + 9) / 2)


def test_feature_matching_teaches_the_generated_side_only() -> None:
    real, fake = (torch.randn(1, 2, 3, 3, requires_grad=True) for _ in range(2))
    feature_matching([real], [fake]).backward()
    assert real.grad is None and fake.grad is not None


def test_half_precision_scores_and_features_are_summed_in_float32() -> None:
    scores = torch.full((64, 64), 0.1, dtype=torch.bfloat16)
    exact = scores.float()
    for form in ("logistic", "hinge"):
        assert torch.equal(generator_loss([scores], form), generator_loss([exact], form))
        assert torch.equal(
            discriminator_loss([scores], [scores], form), discriminator_loss([exact], [exact], form)
        )
    assert torch.equal(
        feature_matching([scores], [scores + 1]), feature_matching([exact], [(scores + 1).float()])
    )
