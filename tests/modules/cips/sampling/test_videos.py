import math
import warnings

import pytest
import torch

from repsynth.modules.cips.coordinates import panorama_coordinates, pixel_coordinates
from repsynth.modules.cips.sampling.canvas import Canvas
from repsynth.modules.cips.sampling.options import InterpolationOptions, ZoomOptions
from repsynth.modules.cips.sampling.sampler import to_bytes
from repsynth.modules.cips.sampling.videos import loop, windows

from ..tiny import tiny_generator
from .helpers import assert_same, frames, numbered, predicted, sampler

LOOP = InterpolationOptions(keys=3, frames_per_key=4)


def test_an_interpolation_passes_through_its_samples() -> None:
    found = frames(predicted(0, 2, task="interpolation", interpolation=LOOP, noise=5))
    assert found.shape == (2, 12, 3, 16, 16)
    samples = frames(predicted(*range(9), noise=5))[:, 0]
    for video, first in zip(found, (0, 6), strict=True):
        assert_same(video[::4], samples[first : first + 3])


def test_a_loop_is_linear_and_closes() -> None:
    keys = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    w = loop(keys, 4)
    torch.testing.assert_close(w[::4], keys)
    torch.testing.assert_close(w[5], 0.75 * keys[1] + 0.25 * keys[2])
    torch.testing.assert_close(w[11], 0.25 * keys[2] + 0.75 * keys[0])
    steps = (w.roll(-1, 0) - w).norm(dim=1).view(3, 4)
    torch.testing.assert_close(steps, steps[:, :1].expand(-1, 4))


def test_all_frames_of_a_video_share_one_noise() -> None:
    """With the same sample at every key nothing may change from frame to frame."""
    generator = tiny_generator().eval()
    made = sampler(generator)
    w = made.styles(*(numbered(1)[name] for name in ("seeds", "numbers")))
    with torch.no_grad():
        generator.mean_w.copy_(w[0])
        generator.mean_w_draws.fill_(1)
    still = {"generator": generator, "task": "interpolation", "interpolation": LOOP, "truncation": 0}
    video = frames(predicted(1, **still))[0]
    assert (video == video[:1]).all()
    assert (video[0] != frames(predicted(2, **still))[0, 0]).any(), "another video has another noise"
    assert (video[0] != frames(predicted(1, **still, noise="none"))[0, 0]).any()


def test_a_window_is_a_part_of_the_image() -> None:
    whole = frames(predicted(1, 2, noise=3, size=(17, 33)))[:, 0]
    zoom = ZoomOptions(window=(-0.5, -0.25, 0.75, 0.5), frames=1)
    found = frames(predicted(1, 2, task="zoom", noise=3, size=(7, 21), zoom=zoom))
    assert found.shape == (2, 1, 3, 7, 21)
    assert_same(found[:, 0], whole[:, :, 6:13, 8:29])


def test_a_zoom_begins_with_the_whole_image_and_ends_in_its_window() -> None:
    zoom = ZoomOptions(window=(0.5, 0.5, 1.0, 1.0), frames=5)
    video = frames(predicted(1, task="zoom", zoom=zoom))[0]
    assert video.shape == (5, 3, 16, 16)
    generator = tiny_generator().eval()
    with torch.no_grad():
        w = sampler(generator).styles(numbered(1)["seeds"], numbered(1)["numbers"])
        for frame, window in ((0, (-1, -1, 1, 1)), (4, (0.5, 0.5, 1, 1))):
            colours = generator.synthesize(w, pixel_coordinates(16, 16, window)[None], noise="none")
            assert_same(video[frame], to_bytes(colours)[0])


def test_a_zoom_is_as_fast_everywhere_about_a_fixed_point() -> None:
    edges = torch.tensor(list(windows(ZoomOptions((0.2, -0.1, 0.6, 0.3), frames=9))), dtype=torch.float64)
    widths = edges[:, 2] - edges[:, 0]
    torch.testing.assert_close(
        widths[1:] / widths[:-1], torch.full((8,), 0.2 ** (1 / 8), dtype=torch.float64)
    )
    fixed = edges[0, 0] + widths[0] * (edges[1, 0] - edges[0, 0]) / (widths[0] - widths[1])
    share = (fixed - edges[:, 0]) / widths
    torch.testing.assert_close(share, share[:1].expand(9))


def test_windows_of_the_images_size_are_passed_evenly_and_others_keep_their_shape() -> None:
    edges = torch.tensor(list(windows(ZoomOptions((1.0, -1.0, 3.0, 1.0), frames=5))))
    torch.testing.assert_close(edges[:, 0], torch.linspace(-1, 1, 5))
    wide = torch.tensor(list(windows(ZoomOptions((-0.4, -0.1, 0.4, 0.1), frames=4))))
    torch.testing.assert_close(wide[0], torch.tensor([-1.0, -0.25, 1.0, 0.25]))
    ratio = (wide[:, 2] - wide[:, 0]) / (wide[:, 3] - wide[:, 1])
    torch.testing.assert_close(ratio, torch.full((4,), 4.0))


def test_there_and_back_is_in_the_window_in_the_middle() -> None:
    found = list(windows(ZoomOptions(frames=8, there_and_back=True)))
    assert found[4] == pytest.approx((-0.25, -0.25, 0.25, 0.25))
    assert found[1] == pytest.approx(found[7])


@pytest.mark.parametrize(
    ("window", "size"),
    [
        ((-1, -1, 1, 1), (33, 65)),
        ((-0.25, -0.25, 0.25, 0.25), (33, 65)),
        ((-2, -1, 2, 1), (17, 65)),
        ((-1, -1, 1, 3), (33, 33)),
    ],
)
def test_without_a_size_pixels_are_square(
    window: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    assert Canvas((33, 65)).size_for(window) == size


def test_a_window_beyond_the_image_is_made_with_a_warning() -> None:
    inside = ZoomOptions(window=(-1, -1, 0, 0), frames=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicted(1, task="zoom", zoom=inside)
    beyond = ZoomOptions(window=(-1, -1, 1.5, 1), frames=1)
    with pytest.warns(UserWarning) as caught:
        predicted(1, task="zoom", zoom=beyond)
    assert [str(each.message) for each in caught] == [
        "model.sampling.zoom.window [-1, -1, 1.5, 1] reaches beyond [-1, 1], where no training image had a pixel: what "
        "is shown there is extrapolated"
    ]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for number in range(3):
            predicted(number, task="zoom", zoom=ZoomOptions((-2, -1, 1, 1), frames=4))
    assert len(told) == 1


def test_around_a_cylinder_no_angle_is_extrapolated() -> None:
    generator = tiny_generator(surface="cylinder").eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = predicted(1, generator=generator, task="zoom", zoom=ZoomOptions((-3, -1, 1, 1), frames=1))
    assert frames(found).shape == (1, 1, 3, 8 + 1, 16)


@pytest.mark.parametrize("turn", [0.25, 1.0])
def test_an_image_around_a_cylinder_is_a_piece_of_a_panorama(turn: float) -> None:
    starts = torch.tensor([0.3, 5.0])
    found = Canvas((6, 8), turn).coordinates("cylinder", (6, 8), starts=starts)
    for image, start in zip(found, starts.double().tolist(), strict=True):
        torch.testing.assert_close(image, panorama_coordinates(6, 8, turn, start), atol=1e-6, rtol=0)
    assert Canvas((6, 8), turn).panorama_size() == (6, round(8 / turn))
    half = Canvas((6, 9), turn).coordinates("cylinder", (6, 5), (-1, -1, 0, 1), starts[:1])
    torch.testing.assert_close(
        half[0], panorama_coordinates(6, 9, turn, float(starts[0]))[:, :5], atol=1e-6, rtol=0
    )
    assert math.isclose(float(found.norm(dim=-1).min()) ** 2, 1 + 1 / 25, rel_tol=1e-5)
