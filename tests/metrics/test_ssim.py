import pytest
import torch
from scipy.ndimage import correlate
from skimage.metrics import structural_similarity

from repsynth.errors import UserError
from repsynth.metrics.filters import separable
from repsynth.metrics.ssim import ssim


def noisy_pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    t = torch.rand(shape, generator=generator)
    return (t + 0.2 * torch.randn(shape, generator=generator)).clamp(0, 1), t


def test_valid_windows_agree_with_scikit_image() -> None:
    p, t = noisy_pair(2, 3, 24, 31)
    expected = [
        structural_similarity(
            b.numpy(),
            a.numpy(),
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(p, t, strict=True)
    ]
    assert ssim(p, t, "valid").tolist() == pytest.approx(expected, abs=2e-6)


def test_zero_border_is_the_valid_figure_of_images_set_in_black() -> None:
    p, t = noisy_pair(1, 3, 16, 20)
    framed = [torch.nn.functional.pad(x, [5] * 4) for x in (p, t)]
    assert torch.allclose(ssim(p, t), ssim(*framed, "valid"), atol=1e-6)
    assert not torch.allclose(ssim(p, t), ssim(p, t, "valid"), atol=1e-3)


def test_range_and_symmetry() -> None:
    p, t = noisy_pair(2, 3, 16, 16)
    assert ssim(t, t).tolist() == pytest.approx([1, 1])
    assert torch.allclose(ssim(p, t), ssim(t, p))
    assert (ssim(1 - t, t) < 0).all()


def test_autocast_does_not_change_it() -> None:
    p, t = noisy_pair(1, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        inside = ssim(p, t)
    assert torch.equal(inside, ssim(p, t))


def test_images_below_the_window_are_refused_for_valid_only() -> None:
    p, t = noisy_pair(1, 3, 8, 30)
    assert ssim(p, t).shape == (1,)
    with pytest.raises(UserError, match=r"at least 11 pixels.*\[1, 3, 8, 30\]"):
        ssim(p, t, "valid")


@pytest.mark.parametrize(("border", "mode"), [("zero", "constant"), ("repeat", "nearest")])
def test_the_filter_is_a_correlation_with_the_outer_product(border: str, mode: str) -> None:
    plane = torch.rand(1, 1, 9, 12, dtype=torch.float64)
    down, across = [0.1, 0.7, -0.3], [0.5, 0.2, 0.9]
    kernel = torch.tensor(down)[:, None] * torch.tensor(across)
    expected = correlate(plane[0, 0].numpy(), kernel.double().numpy(), mode=mode, cval=0.0)
    found = separable(plane, down, across, border)  # type: ignore[arg-type]
    assert torch.allclose(found[0, 0], torch.from_numpy(expected), atol=1e-7)
    inner = separable(plane, down, across, "valid")
    assert torch.allclose(inner[0, 0], torch.from_numpy(expected[1:-1, 1:-1]), atol=1e-7)
