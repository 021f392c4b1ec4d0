"""Against torch's own convolution."""

import pytest
import torch
from torch.nn import functional as F

from repsynth.modules.hidt.wide_convolution import wide_convolution


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("learned", "biased"), [((True, True), True), ((True, False), False), ((False, True), True)]
)
def test_results_and_gradients_are_those_of_torch(
    learned: tuple[bool, bool], biased: bool, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 14, 17, dtype=torch.float64).to(memory_format=memory_format)
    weight, bias = torch.randn(4, 5, 9, 9, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    inputs = [value.requires_grad_(needed) for value, needed in zip((x, weight), learned, strict=True)]
    inputs += [bias.requires_grad_()] if biased else [None]  # type: ignore[list-item]
    wanted = [value for value in inputs if value is not None and value.requires_grad]
    towards = torch.randn(2, 4, 6, 9, dtype=torch.float64)
    found = [wide_convolution(*inputs), F.conv2d(*inputs)]  # type: ignore[arg-type]
    torch.testing.assert_close(*found)
    gradients = [torch.autograd.grad(y, wanted, towards) for y in found]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("results", [1, 3, 6, 7])
def test_without_gradients(results: int) -> None:
    torch.manual_seed(0)
    x, weight = (
        torch.randn(2, 5, 14, 17, dtype=torch.float64),
        torch.randn(results, 5, 9, 9, dtype=torch.float64),
    )
    bias = torch.randn(results, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(wide_convolution(x, weight, bias), F.conv2d(x, weight, bias))
        torch.testing.assert_close(wide_convolution(x, weight, None), F.conv2d(x, weight))
