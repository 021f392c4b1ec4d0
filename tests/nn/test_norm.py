import torch

from repsynth.nn.norm import TotalLayerNorm


def test_statistics_are_unbiased_and_epsilon_stands_outside_the_root() -> None:
    norm = TotalLayerNorm(3).double()
    torch.nn.init.normal_(norm.beta)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    expected = torch.empty_like(x)
    for item in range(2):
        mean, std = x[item].mean(), x[item].std(unbiased=True)
        for channel in range(3):
            expected[item, channel] = (x[item, channel] - mean) / (std + 1e-5) * norm.gamma[
                channel
            ] + norm.beta[channel]
    torch.testing.assert_close(norm(x), expected, atol=1e-6, rtol=1e-6)


def test_a_constant_item_gives_beta_and_finite_gradients() -> None:
    norm = TotalLayerNorm(2)
    x = torch.full((1, 2, 4, 4), 3.0, requires_grad=True)
    y = norm(x)
    y.sum().backward()
    torch.testing.assert_close(y, torch.zeros_like(y))
    assert x.grad is not None and x.grad.isfinite().all()


def test_half_precision_keeps_its_type_and_float32_statistics() -> None:
    norm = TotalLayerNorm(4)
    x = torch.randn(2, 4, 16, 16) * 5 + 100  # in bfloat16 the squares of 100 would swamp the variance
    y = norm(x.bfloat16())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), norm(x.bfloat16().float()), atol=0.02, rtol=0.01)
