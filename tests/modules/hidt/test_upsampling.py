import pytest
import torch
from torch import Tensor

from repsynth.modules.hidt.upsampling import UpBlock, Upsampling


def run(upsampling: Upsampling, size: tuple[int, int], skip_channels: int) -> tuple[Tensor, list[Tensor]]:
    """What a block gives, and the gradients of everything that goes into it."""
    torch.manual_seed(0)
    block = UpBlock(6, skip_channels, upsampling).double()
    height, width = size
    x = torch.randn(2, 6, height, width, dtype=torch.float64, requires_grad=True)
    skip = torch.randn(2, skip_channels, 2 * height, 2 * width, dtype=torch.float64, requires_grad=True)
    y = block(x, skip if skip_channels else None)
    (y * torch.randn_like(y)).sum().backward()
    inputs = [x, *([skip] if skip_channels else []), *block.parameters()]
    return y, [value.grad for value in inputs if value.grad is not None]


@pytest.mark.parametrize("size", [(3, 3), (4, 3), (5, 8), (2, 9)])
@pytest.mark.parametrize("skip_channels", [0, 2])
def test_split_is_plain(size: tuple[int, int], skip_channels: int) -> None:
    (plain, expected), (split, found) = (run(way, size, skip_channels) for way in ("plain", "split"))
    assert plain.shape == (2, 3, 2 * size[0], 2 * size[1])
    torch.testing.assert_close(split, plain, atol=1e-10, rtol=1e-10)
    assert len(found) == len(expected) == (6 if skip_channels else 5)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


def test_split_under_autocast() -> None:
    torch.manual_seed(0)
    block, x, skip = UpBlock(6, 2), torch.randn(1, 6, 8, 8), torch.randn(1, 2, 16, 16)
    expected = block(x, skip)
    with torch.autocast("cpu", torch.bfloat16):
        found = block(x, skip)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)
