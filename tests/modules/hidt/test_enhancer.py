from typing import Any

import pytest
import torch

from repsynth.errors import UserError
from repsynth.modules.hidt.enhancement import enhanced_stack
from repsynth.modules.hidt.enhancer import Enhancer
from repsynth.modules.hidt.options import EnhancementOptions

from .tiny import tiny_enhancer


def test_released_size() -> None:
    enhancer = Enhancer()
    assert sum(parameter.numel() for parameter in enhancer.parameters()) == 3_995_843
    assert (enhancer.features_halo, enhancer.enlarging_halo) == (77, 2)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"factor": 2},
        {"factor": 8},
        {"blocks": 0},
        {"blocks": 2},
        {"stacking": "plain"},
        {"padding": "reflect"},
    ],
)
def test_every_option_builds_a_network_that_learns(options: dict[str, Any]) -> None:
    enhancer = tiny_enhancer(**options)
    factor = enhancer.factor
    images = enhancer(torch.randn(2, 3 * factor**2, 5, 6))
    assert images.shape == (2, 3, 5 * factor, 6 * factor)
    images.square().sum().backward()
    assert [name for name, p in enhancer.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_halos_are_what_the_two_halves_depend_on(factor: int) -> None:
    enhancer = tiny_enhancer(factor=factor).double()
    for parameter in enhancer.parameters():
        parameter.data.abs_()  # nothing cancels
    width = enhancer.first.out_channels
    for half, channels, halo, scale in (
        (enhancer.features, 3 * factor**2, enhancer.features_halo, 1),
        (enhancer.enlarged, width, enhancer.enlarging_halo, factor),
    ):
        x = torch.rand(1, channels, 1, 2 * halo + 9, dtype=torch.float64, requires_grad=True)
        first, last = halo + 2, halo + 6
        half(x)[..., first * scale : (last + 1) * scale].sum().backward()
        assert x.grad is not None
        seen = x.grad.abs().sum((0, 1, 2)).nonzero()
        assert (seen.min().item(), seen.max().item()) == (first - halo, last + halo)


def test_reflection_leaves_no_frame() -> None:
    """Images of one colour, which everything outside but the same colour gives an edge."""

    def spread(padding: str) -> float:
        with torch.no_grad():
            image = tiny_enhancer(padding=padding)(torch.full((1, 48, 8, 8), 0.75))
        return image.std((2, 3)).max().item()

    assert spread("reflect") < 1e-3
    assert spread("zeros") > 0.05


def test_blocks_start_near_the_identity() -> None:
    torch.manual_seed(0)
    enhancer = Enhancer()
    x = torch.randn(1, 64, 8, 8)
    assert (enhancer.blocks[0](x) - 1.2 * x).abs().max() < 0.05 * x.abs().max()


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("tile", [1, 4, 7, 100])
def test_tiles_give_the_whole(tile: int, padding: str) -> None:
    enhancer, stack = tiny_enhancer(padding=padding), torch.randn(2, 48, 11, 9)
    whole = enhanced_stack(enhancer, stack, EnhancementOptions(tile=None))
    tiled = enhanced_stack(enhancer, stack, EnhancementOptions(tile=tile))
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-5)


def test_a_smaller_halo_shows_seams_but_no_others() -> None:
    enhancer, stack = tiny_enhancer().double(), torch.randn(1, 48, 60, 8, dtype=torch.float64)
    for parameter in enhancer.parameters():
        parameter.data.abs_()
    whole = enhanced_stack(enhancer, stack, EnhancementOptions(tile=None))
    seams = enhanced_stack(enhancer, stack, EnhancementOptions(tile=30, halo=4))
    wrong = ((seams - whole).abs().amax((0, 1, 3)) > 1e-9).nonzero().flatten() // 4
    reach = enhancer.features_halo + enhancer.enlarging_halo
    assert len(wrong) and wrong.min() >= 30 - reach and wrong.max() < 30 + reach


@pytest.mark.parametrize("factor", [0, 1, 3, 6])
def test_factors_that_are_no_power_of_two(factor: int) -> None:
    with pytest.raises(
        UserError, match=rf"model\.enhancer\.factor is {factor}; expected a power of 2 of at least 2"
    ):
        tiny_enhancer(factor=factor)


@pytest.mark.parametrize(("option", "least"), [("width", 6), ("growth", 1), ("blocks", 0)])
def test_other_options(option: str, least: int) -> None:
    with pytest.raises(
        UserError, match=rf"model\.enhancer\.{option} is {least - 1}; expected at least {least}"
    ):
        tiny_enhancer(**{option: least - 1})
