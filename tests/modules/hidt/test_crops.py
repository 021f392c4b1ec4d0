import numpy as np
import pytest
import torch
from torch import Tensor

from repsynth.modules.hidt.crops import shifted_crops, stack_of

from .tiny import photo


def by_canvas(crops: Tensor, factor: int) -> Tensor:
    """The official procedure: enlarge by repetition, paste into a black canvas, take the nearest pixels."""
    _, _, height, width = crops.shape
    channels = []
    for number, crop in enumerate(crops):
        right, down = divmod(number, factor)
        large = crop.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        canvas = torch.zeros(3, factor * height + factor, factor * width + factor)
        canvas[:, down : down + factor * height, right : right + factor * width] = large
        rows = torch.arange(height) * (factor * height + factor) // height
        columns = torch.arange(width) * (factor * width + factor) // width
        channels.append(canvas[:, rows][:, :, columns] * 2 - 1)
    return torch.cat(channels)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("size", [(16, 32), (13, 8), (9, 9)])
def test_stack_is_the_official_canvas(factor: int, size: tuple[int, int]) -> None:
    crops = torch.rand(2, factor**2, 3, *size)
    stack = stack_of(crops, factor)
    assert stack.shape == (2, 3 * factor**2, *size)
    for found, one in zip(stack, crops, strict=True):
        assert torch.equal(found, by_canvas(one, factor))


def test_what_is_outside_of_a_crop() -> None:
    crops = torch.full((1, 16, 3, 8, 8), 0.75)
    black, reflected = stack_of(crops, 4), stack_of(crops, 4, "reflect")
    assert torch.equal(reflected, torch.full_like(reflected, 0.5))
    outside = (black == -1).unflatten(1, (16, 3))[0, :, 0]
    for number in range(16):
        right, down = divmod(number, 4)
        assert outside[number].sum() == (8 if right else 0) + (8 if down else 0) - (
            1 if right and down else 0
        )


def test_plain_stacks_hold_the_crops_as_they_are() -> None:
    crops = torch.rand(2, 4, 3, 5, 7)
    stack = stack_of(crops, 2, "black", "plain")
    torch.testing.assert_close((stack + 1) / 2, torch.cat(list(crops.unbind(1)), dim=1))


def test_a_crop_that_is_not_shifted_stays() -> None:
    crops = torch.rand(1, 16, 3, 16, 16)
    torch.testing.assert_close(stack_of(crops, 4)[:, :3], 2 * crops[:, 0] - 1, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("size", "expected"), [((90, 128), (32, 45)), ((128, 90), (45, 32)), ((20, 20), (32, 32))]
)
def test_sizes_of_crops(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert shifted_crops(photo(*size), 32, 4).shape == (16, 3, *expected)
    assert shifted_crops(photo(*size), 32, 2).shape == (4, 3, *expected)


def test_crops_see_the_photo_at_fractions_of_a_pixel() -> None:
    """Of a linear ramp over the photo, crop k is brighter by its shift alone."""
    ramp = np.broadcast_to(np.linspace(0, 255, 132), (132, 132))
    both = np.stack([ramp, ramp.T, ramp]).round().astype(np.uint8)
    crops = shifted_crops(both, 32, 4, "reflect").astype(float)
    step = 255 / 131
    for number, crop in enumerate(crops):
        right, down = divmod(number, 4)
        differences = (crop - crops[0])[:, 4:-4, 4:-4].mean((1, 2))
        np.testing.assert_allclose(differences, [right * step, down * step, right * step], atol=0.3)


def test_borders_of_crops() -> None:
    white = np.full((3, 60, 60), 255, np.uint8)
    black, reflected = shifted_crops(white, 16, 4), shifted_crops(white, 16, 4, "reflect")
    assert (reflected == 255).all() and (black[0] == 255).all()
    assert (black[-1][:, -1, :] < 200).all() and (black[-1][:, :, -1] < 200).all()
    assert (black[:, :, :-2, :-2] == 255).all()
