import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from repsynth.nn.reflection import ReflectedConv2d, of_slices, reflected


def test_the_outermost_pixels_are_not_repeated() -> None:
    x = torch.arange(4.0).expand(1, 1, 4, 4)
    assert reflected(x, 2, 1, 0, 0)[0, 0, 0].tolist() == [2, 1, 0, 1, 2, 3, 2]
    assert reflected(x.mT, 0, 0, 1, 2)[0, 0, :, 0].tolist() == [1, 0, 1, 2, 3, 2, 1]


@pytest.mark.parametrize("margins", [(3, 3, 3, 3), (0, 2, 1, 0), (4, 0, 0, 3)])
def test_slices_give_the_same_padding_and_gradient(margins: tuple[int, int, int, int]) -> None:
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    weights = torch.randn_like(reflected(x, *margins))
    gradients = [
        torch.autograd.grad((pad(x, *margins) * weights).sum(), x)[0] for pad in (reflected, of_slices)
    ]
    assert torch.equal(reflected(x, *margins), of_slices(x, *margins))
    torch.testing.assert_close(*gradients)


def test_convolution_pads_by_reflection() -> None:
    conv, x = ReflectedConv2d(3, 4, 4, stride=2, margin=1), torch.randn(2, 3, 8, 6)
    expected = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), conv.weight, conv.bias, stride=2)
    assert torch.equal(conv(x), expected)
    assert ReflectedConv2d(3, 4, 1)(x).shape == (2, 4, 8, 6)


def test_power_iteration_stays_in_float32_under_autocast() -> None:
    conv, twin = (spectral_norm(ReflectedConv2d(3, 4, 3, margin=1)) for _ in range(2))
    twin.load_state_dict(conv.state_dict())
    x = torch.randn(1, 3, 8, 8)
    conv(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert twin(x).dtype == torch.bfloat16
    _same_buffers(conv, twin)


def _same_buffers(first: nn.Module, second: nn.Module) -> None:
    buffers = dict(second.named_buffers())
    assert buffers
    for name, buffer in first.named_buffers():
        assert torch.equal(buffer, buffers[name])
