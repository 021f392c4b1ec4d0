import math

import pytest
import torch
from torch.nn import functional as F

from repsynth.modules.cips.equalised import EqualConv2d, EqualLinear
from repsynth.modules.cips.folding import fold_weight
from repsynth.modules.cips.mapping import Mapping
from repsynth.modules.cips.products import activated


@pytest.mark.parametrize("demodulate", [True, False])
def test_folded_weights_are_the_formula(demodulate: bool) -> None:
    weight, style = torch.randn(5, 7), torch.randn(3, 7)
    expected = weight * style[:, None] / math.sqrt(7)
    if demodulate:
        expected = expected * torch.rsqrt(expected.square().sum(2, keepdim=True) + 1e-8)
    torch.testing.assert_close(fold_weight(weight, style, 1.5, demodulate), 1.5 * expected)


@pytest.mark.parametrize("demodulate", [True, False])
def test_folding_is_differentiable_twice(demodulate: bool) -> None:
    weight = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    style = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)

    def fold(weight: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        return fold_weight(weight, style, 1.5, demodulate)

    assert torch.autograd.gradcheck(fold, (weight, style))
    assert torch.autograd.gradgradcheck(fold, (weight, style))


def test_folding_keeps_no_matrix_per_image() -> None:
    kept: list[torch.Size] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.shape)
        return tensor

    weight, style = torch.randn(5, 7, requires_grad=True), torch.randn(3, 7, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        fold_weight(weight, style)
    assert kept and (3, 5, 7) not in kept


def test_equalised_linear() -> None:
    torch.manual_seed(0)
    layer = EqualLinear(400, 300, bias=1.0, multiplier=0.01, activate=True)
    assert float(layer.weight.std()) == pytest.approx(100, rel=0.02)
    x = torch.randn(5, 400)
    plain = x @ (layer.weight * 0.01 / 20).T + 0.01 * layer.bias
    torch.testing.assert_close(layer(x), F.leaky_relu(plain, 0.2) * math.sqrt(2), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("activate", [True, False])
def test_equalised_convolution(activate: bool) -> None:
    layer = EqualConv2d(3, 4, 3, stride=2, padding=1, activate=activate, gain=0.7)
    x = torch.randn(2, 3, 8, 8)
    y = F.conv2d(x, layer.weight / math.sqrt(27), stride=2, padding=1)
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
        y = F.leaky_relu(y + layer.bias[:, None, None], 0.2) * math.sqrt(2)
    assert (layer.bias is not None) is activate
    torch.testing.assert_close(layer(x), 0.7 * y)


def test_mapping_does_not_see_the_length_of_z() -> None:
    mapping = Mapping(8, 3)
    z = torch.randn(2, 5, 8)
    assert mapping(z).shape == (2, 5, 8)
    torch.testing.assert_close(mapping(z), mapping(100 * z), atol=1e-4, rtol=1e-4)


def test_sinrelu_puts_even_channels_first() -> None:
    x = torch.randn(1, 4, 2)
    y = activated(x, "sinrelu") / math.sqrt(2)
    torch.testing.assert_close(y[:, :2], F.leaky_relu(x[:, [0, 2]], 0.2))
    torch.testing.assert_close(y[:, 2:], x[:, [1, 3]].sin())
