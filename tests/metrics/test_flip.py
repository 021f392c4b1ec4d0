import numpy as np
import pytest
import torch
from skimage import color

from repsynth.metrics.flip import _hunt_lab, _to_linear, flip, flip_map, pixels_per_degree


def test_density_of_the_papers_desk() -> None:
    assert pixels_per_degree() == pytest.approx(67.02, abs=0.005)
    assert pixels_per_degree(distance=1.4) == pytest.approx(2 * pixels_per_degree())


def test_equal_images_and_the_largest_difference() -> None:
    image = torch.rand(1, 3, 30, 30)
    assert flip(image, image).item() == pytest.approx(0, abs=1e-6)
    green, blue = torch.zeros(1, 3, 40, 40), torch.zeros(1, 3, 40, 40)
    green[:, 1], blue[:, 2] = 1, 1
    # Flat images have no features: what is left is the colour distance, 1 by its own normalisation.
    assert flip(green, blue).item() == pytest.approx(1, abs=1e-4)


def test_symmetric_and_within_range() -> None:
    p, t = torch.rand(2, 3, 24, 32), torch.rand(2, 3, 24, 32)
    found = flip_map(p, t)
    assert found.shape == (2, 24, 32)
    assert (found >= 0).all() and (found <= 1).all()
    assert torch.allclose(found, flip_map(t, p), atol=1e-6)


def test_colours_agree_with_scikit_image() -> None:
    srgb = torch.rand(1, 3, 6, 7)
    lab = color.rgb2lab(srgb[0].movedim(0, -1).numpy().astype(np.float64))
    hunted = np.concatenate([lab[..., :1], 0.01 * lab[..., :1] * lab[..., 1:]], -1)
    found = _hunt_lab(_to_linear(srgb))[0].movedim(0, -1).numpy()
    # The library's white point and matrix are rounded to a few digits.
    np.testing.assert_allclose(found, hunted, atol=0.02)


def test_seen_from_farther_a_checkerboard_fades() -> None:
    board = (torch.arange(40)[:, None] + torch.arange(40)) % 2
    board = board.float().expand(1, 3, 40, 40)
    grey = torch.full_like(board, 0.7354)  # The sRGB value of half the light.
    near, far = (
        flip(board, grey, pixels_per_degree(0.2)).item(),
        flip(board, grey, pixels_per_degree(2)).item(),
    )
    assert far < near / 2


def test_one_figure_per_image_whatever_the_batch() -> None:
    p, t = torch.rand(3, 3, 20, 20), torch.rand(3, 3, 20, 20)
    alone = torch.cat([flip(p[i : i + 1], t[i : i + 1]) for i in range(3)])
    assert torch.allclose(flip(p, t), alone, atol=1e-6)


def test_autocast_does_not_change_it() -> None:
    p, t = torch.rand(1, 3, 20, 20), torch.rand(1, 3, 20, 20)
    with torch.autocast("cpu", torch.bfloat16):
        inside = flip(p, t)
    assert torch.equal(inside, flip(p, t))
