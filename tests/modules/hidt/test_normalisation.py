import pytest
import torch
from torch import Tensor

from repsynth.modules.hidt.normalisation import (
    Modulation,
    Moments,
    instance_normalised,
    layer_normalised,
    recording,
    replaying,
)
from repsynth.nn.norm import TotalLayerNorm


def plainly(x: Tensor, modulation: Modulation | None) -> Tensor:
    expected = torch.empty_like(x)
    for image in range(x.shape[0]):
        for channel in range(x.shape[1]):
            values = x[image, channel]
            value = (values - values.mean()) / (values.var(unbiased=False) + 1e-5).sqrt()
            if modulation is not None:
                value = value * modulation.scale[image, channel] + modulation.shift[image, channel]
            expected[image, channel] = value
    return expected


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("learns", [False, True])
def test_instance_norm_by_a_plain_loop(layout: torch.memory_format, adaptive: bool, learns: bool) -> None:
    x = (5 * torch.randn(2, 3, 6, 5) + 2).to(memory_format=layout)
    modulation = Modulation(torch.randn(2, 3), torch.randn(2, 3)) if adaptive else None
    with torch.set_grad_enabled(learns):
        found = instance_normalised(x, modulation)
    torch.testing.assert_close(found, plainly(x, modulation), atol=1e-5, rtol=1e-5)
    assert found.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@torch.no_grad()
def test_one_modulation_serves_all_images(layout: torch.memory_format) -> None:
    x = torch.randn(2, 3, 6, 5).to(memory_format=layout)
    shift, scale = torch.randn(1, 3), torch.randn(1, 3)
    expected = instance_normalised(x, Modulation(shift.repeat(2, 1), scale.repeat(2, 1)))
    torch.testing.assert_close(instance_normalised(x, Modulation(shift, scale)), expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_by_finite_differences(layout: torch.memory_format) -> None:
    x = torch.randn(2, 3, 3, 2, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    shift, scale = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(
        lambda x, a, b: instance_normalised(x, Modulation(a, b)), (x, shift, scale)
    )


def test_layer_norm_is_the_shared_one() -> None:
    norm, x = TotalLayerNorm(3), torch.randn(2, 3, 4, 5, requires_grad=True)
    torch.nn.init.normal_(norm.beta)
    weights = torch.randn(2, 3, 4, 5)
    outputs = norm(x), layer_normalised(x, norm)
    torch.testing.assert_close(*outputs)
    gradients = [
        torch.autograd.grad((out * weights).sum(), (x, norm.gamma, norm.beta), retain_graph=True)
        for out in outputs
    ]
    torch.testing.assert_close(*gradients)


def test_constant_activations_have_finite_gradients() -> None:
    norm, x = TotalLayerNorm(2), torch.full((1, 2, 4, 4), 3.0, requires_grad=True)
    (instance_normalised(x).sum() + layer_normalised(x, norm).sum()).backward()
    assert x.grad is not None and x.grad.isfinite().all()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("learns", [False, True])
def test_half_precision_has_float32_statistics(layout: torch.memory_format, learns: bool) -> None:
    x = (torch.randn(2, 4, 16, 16) * 5 + 100).bfloat16().to(memory_format=layout)
    modulation = Modulation(torch.randn(2, 4), torch.randn(2, 4))
    norm = TotalLayerNorm(4)
    with torch.set_grad_enabled(learns):
        pairs = (
            (instance_normalised(x), instance_normalised(x.float())),
            (instance_normalised(x, modulation), instance_normalised(x.float(), modulation)),
            (layer_normalised(x, norm), layer_normalised(x.float(), norm)),
        )
    for found, exact in pairs:
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), exact, atol=0.02, rtol=0.01)


def test_recorded_statistics_come_back_in_order() -> None:
    x, y, norm = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4), TotalLayerNorm(2)
    kept: list[Moments] = []
    source = recording(kept)
    expected = instance_normalised(x, source=source), layer_normalised(y, norm, source)
    torch.testing.assert_close(expected[0], instance_normalised(x))
    torch.testing.assert_close(expected[1], norm(y))
    again = replaying(kept)
    part = instance_normalised(x[..., :2], source=again), layer_normalised(y[..., :2], norm, again)
    for found, whole in zip(part, expected, strict=True):
        torch.testing.assert_close(found, whole[..., :2])
