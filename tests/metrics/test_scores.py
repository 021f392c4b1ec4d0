import pytest
import torch

from repsynth.errors import UserError
from repsynth.metrics.flip import flip
from repsynth.metrics.psnr import psnr
from repsynth.metrics.scores import Scores
from repsynth.metrics.ssim import ssim


def test_rows_hold_the_figures_of_the_crop_in_the_order_asked_for() -> None:
    p, t = torch.rand(2, 3, 48, 64), torch.rand(2, 3, 48, 64)
    scores = Scores(["flip", "psnr", "lpips", "ssim"], crop=32, lpips_weights="random", ssim_border="valid")
    assert scores.names == ["flip", "psnr", "lpips_random", "ssim"]
    rows = scores(p, t)
    p, t = p[..., 8:40, 16:48], t[..., 8:40, 16:48]
    for i, row in enumerate(rows):
        assert row[0] == pytest.approx(flip(p, t)[i].item(), rel=1e-6)
        assert row[1] == pytest.approx(psnr(p, t)[i].item(), rel=1e-6)
        assert row[3] == pytest.approx(ssim(p, t, "valid")[i].item(), rel=1e-6)


def test_settings_tell_what_is_needed_to_repeat_the_figures() -> None:
    settings = Scores(["ssim", "flip", "lpips"], lpips_weights="random", flip_density=30.0).settings
    assert settings == {
        "ssim": {"window": 11, "border": "zero"},
        "flip": {"pixels_per_degree": 30.0},
        "lpips_random": {"backbone": "alex", "weights": "random"},
    }


def test_no_network_is_built_that_is_not_asked_for() -> None:
    assert list(Scores(["psnr", "ssim", "flip"]).parameters()) == []


@pytest.mark.parametrize("metrics", [[], ["psnr", "psnr"], ["pnsr"]])
def test_wrong_choices_are_refused(metrics: list[str]) -> None:
    with pytest.raises(UserError, match="expected some of psnr, ssim, lpips, flip, each at most once"):
        Scores(metrics)  # type: ignore[arg-type]


def test_all_figures_are_those_of_the_picture_that_can_be_shown() -> None:
    scores = Scores(["psnr", "ssim", "flip", "lpips"], lpips_weights="random")
    wild, t = torch.randn(1, 3, 32, 40), torch.rand(1, 3, 32, 40)
    assert scores(wild, t) == scores(wild.clamp(0, 1), t)


@pytest.mark.parametrize("density", [0.0, -67.0])
def test_an_impossible_viewing_distance_is_refused(density: float) -> None:
    with pytest.raises(UserError, match=f"flip_pixels_per_degree is {density}: expected a number above 0"):
        Scores(["flip"], flip_density=density)
