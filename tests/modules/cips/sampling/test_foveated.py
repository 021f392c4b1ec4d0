import numpy as np
import pytest
import torch

from repsynth.errors import UserError
from repsynth.modules.cips.products import Inputs
from repsynth.modules.cips.sampling.foveated import chosen_pixels, filled
from repsynth.modules.cips.sampling.options import FoveatedOptions
from repsynth.modules.cips.trunks import SkipTrunk

from ..tiny import tiny_generator
from .helpers import assert_same, frames, predicted


def chosen(options: FoveatedOptions, height: int = 64, width: int = 64, seed: int = 0) -> np.ndarray:
    count = round(options.share * height * width)
    return chosen_pixels(options, height, width, count, np.random.default_rng(seed))


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 1.0])
def test_so_many_different_pixels_are_chosen(share: float) -> None:
    found = chosen(FoveatedOptions(share=share))
    assert len(found) == len(set(found.tolist())) == round(share * 4096)
    assert found.min() >= 0 and found.max() < 4096 and (np.diff(found) > 0).all()
    np.testing.assert_array_equal(found, chosen(FoveatedOptions(share=share)))
    if share < 1:
        assert (found != chosen(FoveatedOptions(share=share), seed=1)).any()


def test_few_pixels_spread_about_the_gaze_as_a_gaussian() -> None:
    """So few that hardly any is wanted twice, in an image so large that hardly any falls outside."""
    options = FoveatedOptions(gaze=(0.1, -0.2), share=0.004, sigma=0.1)
    places = np.concatenate([chosen(options, 256, 256, seed) for seed in range(8)])
    rows, columns = np.divmod(places, 256)
    assert rows.mean() == pytest.approx(0.4 * 255, abs=1.5)
    assert columns.mean() == pytest.approx(0.55 * 255, abs=1.5)
    assert rows.std() == pytest.approx(25.6, rel=0.1) and columns.std() == pytest.approx(25.6, rel=0.1)


def test_the_spread_is_that_of_the_shorter_side() -> None:
    rows, columns = np.divmod(chosen(FoveatedOptions(share=0.004, sigma=0.1), 128, 512), 512)
    assert columns.std() == pytest.approx(12.8, rel=0.2) and rows.std() == pytest.approx(12.8, rel=0.2)


def test_what_is_linear_is_filled_exactly_and_known_pixels_stay() -> None:
    places = torch.from_numpy(chosen(FoveatedOptions(share=0.3), 20, 30))
    rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    image = torch.stack((rows / 20, columns / 30 - rows / 40, 0.3 + 0 * rows))
    found = filled(image.flatten(1)[:, places], places, 20, 30)
    assert torch.equal(found.flatten(1)[:, places], image.flatten(1)[:, places])
    assert found.isfinite().all()
    inside = (found - image).abs()[:, 6:14, 8:22]
    assert float(inside.max()) < 1e-5


def test_outside_of_the_hull_the_nearest_pixel_counts() -> None:
    square = torch.tensor([5 * 16 + 5, 5 * 16 + 9, 9 * 16 + 5, 9 * 16 + 9])
    colours = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).expand(3, -1)
    found = filled(colours, square, 16, 16)
    for (row, column), level in {(0, 0): 0.1, (1, 15): 0.2, (15, 2): 0.3, (15, 15): 0.4}.items():
        assert float(found[0, row, column]) == pytest.approx(level)
    assert 0.1 < float(found[0, 6, 6]) < 0.25


def test_computed_pixels_are_those_of_the_full_image() -> None:
    prediction = predicted(1, 2, task="foveated", size=(20, 24))
    assert prediction["names"] == ["foveated", "computed", "full"]
    found = frames(prediction)
    assert found.shape == (2, 3, 3, 20, 24)
    foveated, computed, full = found.unbind(1)
    assert set(computed.unique().tolist()) == {0, 255}
    assert_same(foveated[computed > 0], full[computed > 0])
    assert_same(full, frames(predicted(1, 2, size=(20, 24)))[:, 0])
    assert (foveated[computed == 0] != full[computed == 0]).any()
    assert (computed[0] != computed[1]).any()
    for figures in prediction["figures"]:
        assert figures["pixels"] == 480 and figures["computed"] == 120 and 5 < figures["psnr"] < 60
    assert torch.equal(found, frames(predicted(1, 2, task="foveated", size=(20, 24))))


def test_the_cost_is_that_of_the_chosen_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    points: list[int] = []
    original = SkipTrunk.colours

    def counting(trunk: SkipTrunk, folded: list, inputs: Inputs, noise: list) -> torch.Tensor:
        points.append(inputs.points.shape[-1])
        return original(trunk, folded, inputs, noise)

    monkeypatch.setattr(SkipTrunk, "colours", counting)
    for share in (0.05, 0.25, 0.5):
        points.clear()
        found = predicted(
            1, task="foveated", size=(40, 40), foveated=FoveatedOptions(share=share, compare=False)
        )
        assert sum(points) == round(share * 1600)
        assert found["names"] == ["foveated", "computed"] and "psnr" not in found["figures"][0]


def test_more_pixels_are_more_like_the_full_image() -> None:
    generator = tiny_generator().eval()
    figures = [
        predicted(1, generator=generator, task="foveated", noise="none", size=(48, 48), foveated=options)[
            "figures"
        ][0]["psnr"]
        for options in (FoveatedOptions(share=share) for share in (0.05, 0.25, 0.5))
    ]
    assert figures == sorted(figures) and figures[2] > figures[0] + 3  # type: ignore[operator, type-var]


@pytest.mark.parametrize(("share", "size", "count"), [(0.01, (20, 24), 5), (0.5, (7, 100), 350)])
def test_too_few_pixels_are_refused(share: float, size: tuple[int, int], count: int) -> None:
    with pytest.raises(UserError) as raised:
        predicted(1, task="foveated", size=size, foveated=FoveatedOptions(share=share))
    assert str(raised.value) == (
        f"model.sampling.foveated.share {share} of {size[0]}x{size[1]} pixels is {count}; expected at least 16 of "
        "sides of at least 8 to interpolate between: raise it or model.sampling.size"
    )
