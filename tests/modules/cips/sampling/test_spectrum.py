import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.modules.cips.sampling.options import SpectrumOptions
from repsynth.modules.cips.sampling.prediction import predict
from repsynth.modules.cips.sampling.spectra import measured, plot
from repsynth.modules.cips.sampling.spectrum import SpectrumStatistics, frequencies, spectrum

from .helpers import CANVAS, frames, numbered, predicted, sampler


def grey(images: Tensor) -> Tensor:
    """[B, H, W] in all three channels."""
    return images[:, None].expand(-1, 3, -1, -1)


def noise(count: int, height: int, width: int, deviation: float = 0.1) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return 0.5 + deviation * torch.randn(count, height, width, generator=rng, dtype=torch.float64)


def cosine(size: int, across: float, down: float) -> Tensor:
    places = torch.arange(size, dtype=torch.float64)
    return 0.5 + 0.3 * torch.cos(2 * math.pi * (across * places + down * places[:, None]))


def points_of(size: int) -> np.ndarray:
    """How many frequencies of a square image lie in each ring."""
    places = np.fft.fftfreq(size) * size
    return np.bincount(np.round(np.hypot(places, places[:, None])).astype(int).ravel())


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96), (33, 47)])
def test_white_noise_is_flat_at_its_variance(height: int, width: int) -> None:
    found = spectrum(grey(noise(60, height, width))).mean(0)
    assert found.shape == (min(height, width) // 2 + 1,) == frequencies(height, width).shape
    torch.testing.assert_close(found[3:], torch.full_like(found[3:], -2), atol=0.12, rtol=0)
    torch.testing.assert_close(found[8:].mean(), torch.tensor(-2).double(), atol=0.02, rtol=0)


@pytest.mark.parametrize(("across", "down", "bin_"), [(0.25, 0.0, 16), (0.0, 0.125, 8), (0.1875, 0.25, 20)])
def test_a_cosine_peaks_at_its_radius(across: float, down: float, bin_: int) -> None:
    found = spectrum(grey(cosine(64, across, down)[None]))[0]
    assert int(found.argmax()) == bin_
    assert float(frequencies(64, 64)[bin_]) == pytest.approx(math.hypot(across, down))
    far = (torch.arange(33) - bin_).abs() > 3
    assert float(found[far].max()) < float(found[bin_]) - 3


def test_a_window_keeps_the_edges_of_a_ramp_out() -> None:
    """Without one, the jump from the last column to the first would be in every frequency."""
    ramp = torch.linspace(0, 1, 64, dtype=torch.float64).expand(64, -1)
    bare = np.abs(np.fft.fft((ramp[0] - 0.5).numpy())) ** 2  # [64] along the only axis that has something
    found = 10 ** spectrum(grey(ramp[None]))[0].numpy()
    for ring in (10, 20, 30):
        assert found[ring] < 0.02 * 2 * bare[ring] / points_of(64)[ring]


def test_doubled_pixels_show_their_replica() -> None:
    """An image of frequency f, doubled, has f / 2 and a replica at 1/2 - f / 2, tan^2(pi f / 2) times as strong."""
    f = 0.25
    doubled = cosine(64, f, 0.0).repeat_interleave(2, 0).repeat_interleave(2, 1)
    found = spectrum(grey(doubled[None]))[0]
    smooth = spectrum(grey(cosine(128, f / 2, 0.0)[None]))[0]
    first, replica = round(f / 2 * 128), round((0.5 - f / 2) * 128)
    assert int(found.argmax()) == first and int(found[first + 4 :].argmax()) == replica - first - 4
    expected = 2 * math.log10(math.tan(math.pi * f / 2))
    longer = math.log10(points_of(128)[replica] / points_of(128)[first])
    assert float(found[replica] - found[first]) == pytest.approx(expected - longer, abs=0.005)
    assert float(smooth[replica]) < float(found[replica]) - 4


def test_colours_count_by_their_brightness() -> None:
    image = noise(1, 32, 32)
    for channel, weight in enumerate((0.299, 0.587, 0.114)):
        coloured = torch.zeros(1, 3, 32, 32, dtype=torch.float64)
        coloured[:, channel] = image
        torch.testing.assert_close(
            spectrum(coloured)[:, 3:],
            spectrum(grey(image))[:, 3:] + 2 * math.log10(weight),
            atol=1e-3,
            rtol=0,
        )


def test_bytes_are_the_same_image_and_blank_ones_have_a_finite_spectrum() -> None:
    levels = torch.randint(
        0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(spectrum(levels), spectrum(levels / 255), atol=1e-6, rtol=0)
    assert spectrum(torch.zeros(1, 3, 16, 16)).equal(torch.full((1, 9), -9.0, dtype=torch.float64))


def test_statistics_come_batch_by_batch() -> None:
    images = grey(noise(11, 16, 20)).clone()
    expected = spectrum(images)
    found = SpectrumStatistics()
    for part in images.split(4):
        found.add(part)
    assert (found.count, found.size) == (11, (16, 20))
    torch.testing.assert_close(found.mean, expected.mean(0))
    torch.testing.assert_close(found.deviation, expected.std(0, unbiased=False))
    with pytest.raises(ValueError, match=r"images of 16x16 pixels after images of \(16, 20\)"):
        found.add(torch.zeros(1, 3, 16, 16))


def test_no_more_images_are_read_than_asked_for() -> None:
    read = []

    def batches() -> Iterator[Tensor]:
        for index in range(100):
            read.append(index)
            yield torch.rand(4, 3, 8, 8)

    assert measured(batches(), 10).count == 10 and read == [0, 1, 2]


def test_the_plot_shows_each_set_in_its_colour() -> None:
    generated, real = (measured([grey(noise(6, 16, 16, deviation))], 9) for deviation in (0.1, 0.01))
    both, alone = plot({"generated": generated, "real": real}), plot({"generated": generated})
    assert both.shape == alone.shape == (480, 640, 3) and both.dtype == np.uint8

    def pixels(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
        return int((np.abs(picture.astype(int) - colour).max(-1) < 8).sum())

    orange, blue = (255, 127, 14), (31, 119, 180)
    assert pixels(both, orange) > 200 < pixels(alone, orange)
    assert pixels(both, blue) > 200 and pixels(alone, blue) == 0
    np.testing.assert_array_equal(plot({"generated": generated, "real": real}), both)


def test_the_task_compares_samples_with_real_images() -> None:
    own = sampler(task="spectrum", spectrum=SpectrumOptions(samples=5, real_samples=7))
    real = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = predict(own.generator, own.options, numbered(0, 2), CANVAS, real=lambda: real.split(3))
    assert frames(found).shape == (2, 1, 3, 480, 640) and "names" not in found
    samples = frames(predicted(*range(10, 15)))[:, 0]
    first, second = found["figures"]
    assert first["frequency"] == frequencies(16, 16).tolist() and first["image_size"] == [16, 16]
    assert first["real"] == second["real"]
    assert (first["real"]["images"], first["generated"]["images"]) == (7, 5)  # type: ignore[index]
    expected = spectrum(samples)
    for name, values in (("mean", expected.mean(0)), ("deviation", expected.std(0, unbiased=False))):
        torch.testing.assert_close(
            torch.tensor(second["generated"][name]).double(),
            values,
            atol=0.02,
            rtol=0,  # type: ignore[index]
        )
    torch.testing.assert_close(
        torch.tensor(first["real"]["mean"]),
        spectrum(real[:7]).mean(0).float(),  # type: ignore[index]
    )


def test_without_real_images_samples_stand_alone() -> None:
    found = predicted(0, task="spectrum", spectrum=SpectrumOptions(samples=3))
    assert "real" not in found["figures"][0]


@pytest.mark.parametrize(
    ("real", "sentence"),
    [
        (
            [torch.zeros(1, 3, 8, 12)],
            "spectra of images of 16x16 (generated) and 8x12 pixels (real) cannot be compared; set model.sampling.size "
            "or the size of the data's images to the other",
        ),
        (
            [],
            "model.sampling.task is spectrum, but the data set has no real image; expected at least one: see data.root",
        ),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(real: list[Tensor], sentence: str) -> None:
    own = sampler(task="spectrum", spectrum=SpectrumOptions(samples=2))
    with pytest.raises(UserError) as raised:
        predict(own.generator, own.options, numbered(0), CANVAS, real=lambda: real)
    assert str(raised.value) == sentence
