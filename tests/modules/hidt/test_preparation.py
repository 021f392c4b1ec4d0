import numpy as np
import pytest
import torch
from PIL import Image

from repsynth.errors import UserError
from repsynth.modules.hidt.options import PhotoOptions
from repsynth.modules.hidt.preparation import network_size, picture, prepared, resized, to_unit

from .tiny import photo


@pytest.mark.parametrize(
    ("size", "working_size", "expected"),
    [
        ((75, 110), 48, (48, 64)),  # 48 x 70
        ((130, 70), 48, (96, 48)),  # 89 x 48
        ((100, 100), 40, (32, 32)),  # 2.5 multiples go to 2
        ((100, 100), 24, (32, 32)),  # 1.5 to 2
        ((1000, 333), 256, (768, 256)),
        ((20, 20), 256, (256, 256)),  # small photos are enlarged
    ],
)
def test_sizes_are_rounded_twice(size: tuple[int, int], working_size: int, expected: tuple[int, int]) -> None:
    options = PhotoOptions(working_size)
    assert network_size(size, options) == expected
    assert prepared(photo(*size), options).shape == (3, *expected)


def test_other_multiples() -> None:
    assert network_size((75, 110), PhotoOptions(48, multiple=4)) == (48, 72)
    assert network_size((75, 110), PhotoOptions(48, multiple=1)) == (48, 70)


def test_values_by_pillow_on_the_whole_picture() -> None:
    original = photo(75, 110)
    whole = Image.fromarray(np.ascontiguousarray(original.transpose(1, 2, 0)))
    twice = whole.resize((70, 48), Image.Resampling.BICUBIC).resize((64, 48), Image.Resampling.BICUBIC)
    expected = np.asarray(twice).transpose(2, 0, 1).astype(np.float32) / 255 * 2 - 1
    np.testing.assert_allclose(prepared(original, PhotoOptions(48)).numpy(), expected, atol=1e-6)


def test_noise_is_off_or_repeatable_and_below_a_grey_level() -> None:
    original = photo(48, 64)
    plain = prepared(original, PhotoOptions(48))
    assert torch.equal(plain, prepared(original, PhotoOptions(48)))
    noisy = prepared(original, PhotoOptions(48, noise_seed=5))
    added = (noisy - plain) / 2 * 255
    assert added.min() >= -1e-4 and added.max() <= 1 + 1e-4
    assert added.mean().item() == pytest.approx(0.5, abs=0.02)
    assert added.std().item() == pytest.approx((1 / 12) ** 0.5, abs=0.02)
    assert torch.equal(noisy, prepared(original, PhotoOptions(48, noise_seed=5)))
    assert not torch.equal(noisy, prepared(original, PhotoOptions(48, noise_seed=5), number=1))
    assert not torch.equal(noisy, prepared(original, PhotoOptions(48, noise_seed=6)))


def test_photos_of_that_size_are_not_touched() -> None:
    original = photo(48, 64)
    assert resized(original, (48, 64), Image.Resampling.BICUBIC) is original
    back = picture(to_unit(prepared(original, PhotoOptions(48))))
    np.testing.assert_array_equal(back, original)


def test_levels() -> None:
    grey = torch.tensor([0.0, 0.4, 0.5, 0.999, 254.6, 255.0, 300.0, -7.0]).expand(3, 1, -1) / 255
    assert picture(grey)[0, 0].tolist() == [0, 0, 0, 1, 255, 255, 255, 0]
    assert picture(grey, levels="truncated")[0, 0].tolist() == [0, 0, 0, 0, 254, 255, 255, 0]


def test_pictures_are_brought_to_a_size() -> None:
    image = torch.full((3, 16, 16), 0.4)
    assert picture(image, (37, 21)).shape == (3, 37, 21)
    assert set(picture(image, (37, 21)).flatten().tolist()) == {102}
    np.testing.assert_array_equal(picture(image, (16, 16)), picture(image))
    ramp = torch.linspace(0, 1, 32).expand(3, 32, 32)
    small = picture(ramp, (8, 8)).astype(int)
    assert np.abs(small[0, 0] - (np.arange(8) + 0.5) / 8 * 255).max() < 4


def test_to_unit_is_clamped() -> None:
    assert to_unit(torch.tensor([-1.5, -1, 0, 1, 3])).tolist() == [0, 0, 0.5, 1, 1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (PhotoOptions(working_size=0), r"prediction\.working_size is 0; expected at least 1"),
        (PhotoOptions(multiple=0), r"prediction\.multiple is 0; expected at least 1"),
        (PhotoOptions(noise_seed=-1), r"prediction\.noise_seed is -1; expected at least 0"),
        (PhotoOptions(8), r"prediction\.working_size is 8; expected at least prediction\.multiple, 16"),
    ],
)
def test_impossible_options(options: PhotoOptions, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        options.check()
