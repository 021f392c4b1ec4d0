import pytest
import torch
from torch import Tensor

from .tiny import photo, tiny_enhancer

SIDE, MARGIN = 12, 4
"""Of a crop; how many of its pixels the padding is seen far."""


def parabolas(rows: Tensor, columns: Tensor) -> Tensor:
    """Three colours [3, H, W] that are polynomials of second degree along both axes."""
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((0.03 * y * x - 1, 0.02 * x**2 - 0.1 * y, 0.001 * x**2 * y**2 - 0.5 * x))


def planes(rows: Tensor, columns: Tensor) -> Tensor:
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((0.3 * y - x, 0.2 * x - 1, 0.1 * y - 0.5 * x))


def places(factor: int) -> Tensor:
    """Of the pixels of an enlarged image, in pixels of a crop."""
    return (torch.arange(SIDE * factor, dtype=torch.float64) + 0.5) / factor - 0.5


def found_and_wanted(factor: int, found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    inner = slice(MARGIN * factor, (SIDE - MARGIN) * factor)
    return found[:, inner, inner], wanted[:, inner, inner]


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_the_first_of_pasted_crops_is_enlarged_by_parabolas(factor: int) -> None:
    enhancer = tiny_enhancer(factor=factor, width=6, blocks=0).double()
    enhancer.trunk.weight.data.zero_()  # what it adds is small and random
    stack = torch.zeros(1, 3 * factor**2, SIDE, SIDE, dtype=torch.float64)
    pixels = torch.arange(SIDE, dtype=torch.float64)
    stack[0, :3] = parabolas(pixels - 5, pixels - 5)
    with torch.no_grad():
        (found,) = enhancer(stack)
    wanted = parabolas(places(factor) - 5, places(factor) - 5)
    torch.testing.assert_close(*found_and_wanted(factor, found, wanted), atol=1e-6, rtol=0)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_plain_crops_are_moved_back_to_the_first(factor: int) -> None:
    enhancer = tiny_enhancer(factor=factor, width=6, blocks=0, stacking="plain").double()
    enhancer.trunk.weight.data.zero_()
    pixels = torch.arange(SIDE, dtype=torch.float64)
    crops = [
        planes(pixels + down / factor, pixels + right / factor)
        for right in range(factor)
        for down in range(factor)
    ]
    with torch.no_grad():
        (found,) = enhancer(enhancer.stack((torch.stack(crops)[None] + 1) / 2, "black"))
    wanted = planes(places(factor), places(factor))
    torch.testing.assert_close(*found_and_wanted(factor, found, wanted), atol=1e-6, rtol=0)


def test_it_starts_near_the_picture_although_other_channels_take_part() -> None:
    enhancer = tiny_enhancer(width=24, growth=12)
    crop = torch.as_tensor(photo(16, 16)).float() / 127.5 - 1
    with torch.no_grad():
        enlarged = enhancer(crop.repeat(16, 1, 1)[None])[0]
    squares = (enlarged.unflatten(1, (16, 4)).unflatten(3, (16, 4)).mean((2, 4)) - crop).square()
    assert squares.mean() < 0.02 * crop.square().mean()
