from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsynth.errors import UserError
from repsynth.losses.adversarial import r1_penalty
from repsynth.modules.cips.blur import blurred
from repsynth.modules.cips.discriminator import CIPSDiscriminator, with_deviation


def tiny(size: int = 16, **options: Any) -> CIPSDiscriminator:  # noqa: ANN401
    torch.manual_seed(0)
    discriminator = CIPSDiscriminator(size, **{"width": 6, **options})
    for name, parameter in discriminator.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
    return discriminator


@pytest.mark.parametrize(
    ("size", "parameters"),
    [(64, 26_488_833), (128, 28_389_121), (256, 28_864_129), (512, 28_982_849), (1024, 29_012_513)],
)
def test_released_sizes(size: int, parameters: int) -> None:
    with torch.device("meta"):
        discriminator = CIPSDiscriminator(size)
    assert sum(parameter.numel() for parameter in discriminator.parameters()) == parameters


def test_images_with_coordinates_and_more_first_layers() -> None:
    scores = tiny(channels=5, first_layers=2)(torch.randn(3, 5, 16, 16))
    assert scores.shape == (3, 1)
    assert scores.std() > 0


def set_of(image: int, images: int, size: int) -> list[int]:
    """The official sets: members lie images / size apart."""
    return [other for other in range(images) if other % (images // size) == image % (images // size)]


@pytest.mark.parametrize(
    ("images", "size"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 3), (7, 1), (8, 4), (12, 4)]
)
def test_minibatch_deviation(images: int, size: int) -> None:
    x = torch.randn(images, 3, 2, 2)
    found = with_deviation(x)
    torch.testing.assert_close(found[:, :3], x)
    assert found.shape == (images, 4, 2, 2)
    for image in range(images):
        members = x[set_of(image, images, size)]
        assert len(members) == size
        mean = members.mean(0)
        deviation = (((members - mean) ** 2).mean(0) + 1e-8).sqrt().mean()
        torch.testing.assert_close(found[image, 3], deviation.expand(2, 2))


@pytest.mark.parametrize("images", [1, 2, 3, 4, 5])
def test_any_batch_size_can_be_judged_and_penalised(images: int) -> None:
    discriminator = tiny()
    scores = discriminator(torch.randn(images, 3, 16, 16))
    penalty = r1_penalty(lambda x: [discriminator(x)], torch.randn(images, 3, 16, 16))
    penalty.backward()
    assert scores.shape == (images, 1)
    assert all(p.grad is None or p.grad.isfinite().all() for p in discriminator.parameters())


@pytest.mark.parametrize(("padding", "stride"), [(2, 1), (1, 2)])
def test_blur_is_the_filter_of_the_official_code(padding: int, stride: int) -> None:
    images = torch.randn(2, 3, 9, 6)
    taps = torch.tensor([1.0, 3, 3, 1])
    kernel = taps[:, None] * taps / 64
    padded = F.pad(images, (padding,) * 4)
    expected = torch.zeros_like(padded[..., :-3, :-3])
    for row in range(4):
        for column in range(4):
            height, width = expected.shape[-2:]
            expected += kernel[row, column] * padded[..., row : row + height, column : column + width]
    torch.testing.assert_close(blurred(images, padding, stride), expected[..., ::stride, ::stride])


@pytest.mark.parametrize(("padding", "stride"), [(2, 1), (1, 2)])
def test_blur_is_differentiable_any_number_of_times(padding: int, stride: int) -> None:
    images = torch.randn(1, 2, 6, 8, dtype=torch.float64, requires_grad=True)

    def cubed(images: Tensor) -> Tensor:
        return blurred(images, padding, stride).pow(3)

    assert torch.autograd.gradcheck(cubed, images)
    assert torch.autograd.gradgradcheck(cubed, images)


def test_second_derivatives_of_r1_by_finite_differences() -> None:
    """Along a random direction through all parameters, in float64."""
    discriminator, rng = tiny().double(), torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 16, 16, generator=rng, dtype=torch.float64)
    parameters = list(discriminator.parameters())
    directions = [torch.randn(p.shape, generator=rng, dtype=p.dtype) for p in parameters]

    def penalty() -> Tensor:
        return r1_penalty(lambda x: [discriminator(x)], images)

    gradients = torch.autograd.grad(penalty(), parameters, allow_unused=True)
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True) if g is not None)
    penalties, step = [], 1e-6
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.add_(direction, alpha=sign * step)
        penalties.append(penalty().item())
    assert (penalties[0] - penalties[1]) / (2 * step) == pytest.approx(float(slope), rel=1e-5)


def test_scores_are_float32_under_autocast() -> None:
    discriminator, images = tiny(), torch.randn(4, 3, 16, 16)
    expected = discriminator(images)
    with torch.autocast("cpu", torch.bfloat16):
        scores = discriminator(images)
    assert scores.dtype == torch.float32
    assert 0 < (scores - expected).abs().max() < 0.1 * expected.abs().max()


def test_other_sizes_are_refused() -> None:
    with pytest.raises(
        UserError,
        match=r"built for images of 16x16 pixels, but gets 16x32; change data\.image_size or the size of the crops\.",
    ):
        tiny()(torch.zeros(1, 3, 16, 32))


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (48, {}, r"images of 48 pixels a side; expected a power of two of at least 4"),
        (2, {}, r"images of 2 pixels a side; expected a power of two"),
        (1024, {}, r"model\.discriminator\.width is 6; expected at least 16 for images of 1024 pixels"),
        (16, {"channels": 0}, r"model\.discriminator\.channels is 0; expected at least 1"),
        (16, {"first_layers": -1}, r"model\.discriminator\.first_layers is -1; expected at least 0"),
    ],
)
def test_unusable_options(size: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny(size, **options)
