import pytest
import torch

from repsynth.metrics.colour_transfer import BASELINES, copied, with_histogram_of, with_moments_of


@pytest.fixture
def photographs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    content = torch.rand(2, 3, 12, 16, generator=generator)
    style = 0.3 + 0.4 * torch.rand(2, 3, 20, 10, generator=generator) ** 2
    return content, style


def test_a_copy_is_the_content(photographs: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert torch.equal(copied(*photographs), photographs[0])


def test_moments_become_those_of_the_style(photographs: tuple[torch.Tensor, torch.Tensor]) -> None:
    content, style = photographs
    found = with_moments_of(content, style)
    assert torch.allclose(found.mean((2, 3)), style.mean((2, 3)), atol=1e-5)
    assert torch.allclose(found.std((2, 3)), style.std((2, 3)), atol=1e-5)
    assert torch.allclose(with_moments_of(content, content), content, atol=1e-5)
    flat = with_moments_of(torch.full_like(content, 0.5), style)
    assert torch.allclose(flat, style.mean((2, 3), keepdim=True).expand_as(flat), atol=1e-5)


def test_histograms_become_those_of_the_style(photographs: tuple[torch.Tensor, torch.Tensor]) -> None:
    content, style = photographs
    as_large = 0.3 + 0.4 * torch.rand(content.shape, generator=torch.Generator().manual_seed(1)) ** 2
    found = with_histogram_of(content, as_large)
    # Every value keeps its rank and becomes the style's value of that rank.
    order = content.flatten(2).argsort()
    assert torch.allclose(found.flatten(2).gather(2, order), as_large.flatten(2).sort().values, atol=1e-5)
    assert with_histogram_of(content, style).shape == content.shape


@pytest.mark.parametrize("name", BASELINES)
def test_all_give_pictures_of_the_content(name: str, photographs: tuple[torch.Tensor, torch.Tensor]) -> None:
    found = BASELINES[name](*photographs)
    assert found.shape == photographs[0].shape and found.dtype == torch.float32
    assert found.min() >= 0 and found.max() <= 1
