import numpy as np
import pytest
import torch
from PIL import Image

from repsynth.modules.hidt.detail import with_detail
from repsynth.modules.hidt.preparation import resized

from .tiny import photo


def reduced(original: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    return torch.from_numpy(resized(original, size, Image.Resampling.BOX)).float() / 255


def test_a_change_of_all_colours_alike_is_made_at_full_size() -> None:
    original = photo(96, 128)
    small = reduced(original, (24, 32))
    matrix = torch.tensor([[0.5, 0.1, 0.0], [0.0, 0.4, 0.1], [0.1, 0.0, 0.6]])
    translated = torch.einsum("oi,ihw->ohw", matrix, small) + 0.1
    found = with_detail(torch.from_numpy(original), small, translated, epsilon=1e-9)
    expected = torch.einsum("oi,ihw->ohw", matrix, torch.from_numpy(original) / 255) + 0.1
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_coefficients_by_a_plain_loop() -> None:
    """At the same size, where nothing is enlarged: He, Sun and Tang 2013, equations 14 to 16."""
    radius, epsilon = 2, 1e-2
    guide, target = torch.rand(3, 7, 6), torch.rand(3, 7, 6)
    pictures = guide.double().numpy(), target.double().numpy()
    matrices, shifts = np.zeros((7, 6, 3, 3)), np.zeros((7, 6, 3))
    for i in range(7):
        for j in range(6):
            window = (slice(max(i - radius, 0), i + radius + 1), slice(max(j - radius, 0), j + radius + 1))
            colours, sought = (part[:, *window].reshape(3, -1) for part in pictures)
            spread = np.cov(colours, bias=True) + epsilon * np.eye(3)
            shared = colours @ sought.T / colours.shape[1] - np.outer(colours.mean(1), sought.mean(1))
            matrices[i, j] = np.linalg.solve(spread, shared).T
            shifts[i, j] = sought.mean(1) - matrices[i, j] @ colours.mean(1)
    expected = np.zeros((3, 7, 6))
    for i in range(7):
        for j in range(6):
            window = (slice(max(i - radius, 0), i + radius + 1), slice(max(j - radius, 0), j + radius + 1))
            mean = matrices[window].reshape(-1, 3, 3).mean(0)
            expected[:, i, j] = mean @ pictures[0][:, i, j] + shifts[window].reshape(-1, 3).mean(0)
    found = with_detail(guide, guide, target, radius, epsilon)
    np.testing.assert_allclose(found.numpy(), expected.clip(0, 1), atol=1e-5)


@pytest.mark.parametrize("rows_at_once", [1, 7, 1000])
@pytest.mark.parametrize("size", [(53, 40), (10, 8)])
def test_rows_in_parts_are_the_whole(rows_at_once: int, size: tuple[int, int]) -> None:
    original = photo(*size)
    small = reduced(original, (13, 10))
    light = small.flip(0)
    found = with_detail(torch.from_numpy(original), small, light, rows_at_once=rows_at_once)
    whole = with_detail(torch.from_numpy(original), small, light, rows_at_once=size[0])
    assert torch.equal(found, whole)


def test_floats_and_bytes_are_the_same_photo() -> None:
    original = torch.from_numpy(photo(20, 24))
    small = reduced(original.numpy(), (10, 12))
    torch.testing.assert_close(with_detail(original, small, small), with_detail(original / 255, small, small))


def test_the_enlargement_of_coefficients_is_bilinear() -> None:
    from repsynth.modules.hidt.detail import _enlarged

    coefficients = torch.randn(2, 5, 4)
    expected = torch.nn.functional.interpolate(
        coefficients[None], (13, 9), mode="bilinear", align_corners=False
    )[0]
    torch.testing.assert_close(_enlarged(coefficients, 0, 13, 13, 9), expected)
    torch.testing.assert_close(_enlarged(coefficients, 4, 9, 13, 9), expected[:, 4:9])
