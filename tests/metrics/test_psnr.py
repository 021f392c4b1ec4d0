import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from repsynth.metrics.psnr import decibels, psnr, squared_error


def test_one_figure_per_image_not_one_of_the_pooled_error() -> None:
    t = torch.full((4, 3, 8, 8), 0.5)
    offsets = torch.tensor([0.01, 0.05, 0.1, 0.3])
    found = psnr(t + offsets.view(4, 1, 1, 1), t, floor=0.0)
    expected = [-20 * math.log10(offset) for offset in offsets.tolist()]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_agrees_with_scikit_image_without_the_floor() -> None:
    p, t = torch.rand(3, 3, 20, 30), torch.rand(3, 3, 20, 30)
    expected = [
        peak_signal_noise_ratio(b.numpy(), a.numpy(), data_range=1) for a, b in zip(p, t, strict=True)
    ]
    assert psnr(p, t, floor=0.0).tolist() == pytest.approx(expected, rel=1e-5)


def test_a_perfect_image_scores_sixty_with_the_floor_and_infinity_without() -> None:
    image = torch.rand(2, 3, 4, 4)
    assert psnr(image, image).tolist() == pytest.approx([60.0, 60.0])
    assert psnr(image, image, floor=0.0).tolist() == [math.inf, math.inf]


def test_values_outside_the_range_are_clamped() -> None:
    assert psnr(torch.full((1, 3, 2, 2), 7.0), torch.ones(1, 3, 2, 2)).item() == pytest.approx(60)


def test_outside_the_mask_nothing_counts() -> None:
    p, t = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    mask = torch.zeros(2, 1, 8, 8)
    mask[..., :4] = 1
    inside = squared_error(p[..., :4], t[..., :4])
    assert torch.allclose(psnr(p, t, mask, floor=0.0), decibels(inside, 0.0), rtol=1e-5)
    changed = torch.where(mask > 0, p, 1 - p)
    assert torch.equal(psnr(p, t, mask), psnr(changed, t, mask))


def test_float32_inside_autocast() -> None:
    p, t = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        inside = psnr(p, t)
    assert torch.equal(inside, psnr(p, t))
