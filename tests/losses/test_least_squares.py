import pytest
import torch

from repsynth.losses.least_squares import least_squares_discriminator_loss, least_squares_generator_loss


def test_losses_by_hand() -> None:
    real, fake = [torch.tensor([[2.0, -1.0]])], [torch.tensor([[0.5, -3.0]])]
    assert least_squares_discriminator_loss(real, fake).item() == pytest.approx((1 + 4) / 4 + (0.25 + 9) / 4)
    assert least_squares_generator_loss(fake).item() == pytest.approx((0.25 + 16) / 4)


def test_scales_are_summed_whatever_their_size() -> None:
    large, small = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 2, 2)
    apart = least_squares_generator_loss([large]) + least_squares_generator_loss([small])
    torch.testing.assert_close(least_squares_generator_loss([large, small]), apart)
    both = least_squares_discriminator_loss([large, small], [small, large])
    apart = least_squares_discriminator_loss([large], [small]) + least_squares_discriminator_loss(
        [small], [large]
    )
    torch.testing.assert_close(both, apart)


def test_a_perfect_critic_and_a_perfect_generator_pay_nothing() -> None:
    ones, zeros = [torch.ones(1, 1, 2, 2)], [torch.zeros(1, 1, 2, 2)]
    assert least_squares_discriminator_loss(ones, zeros) == 0
    assert least_squares_generator_loss(ones) == 0


def test_half_precision_scores_are_summed_in_float32() -> None:
    scores = torch.full((64, 64), 0.1, dtype=torch.bfloat16)
    found = least_squares_generator_loss([scores])
    assert found.dtype == torch.float32
    assert torch.equal(found, least_squares_generator_loss([scores.float()]))
