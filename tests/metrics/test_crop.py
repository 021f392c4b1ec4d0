import pytest
import torch

from repsynth.errors import UserError
from repsynth.metrics.crop import central_crop, check_crop


def kept(side_y: int, side_x: int, crop: float) -> tuple[int, int, int, int]:
    """First and last row and column that the crop keeps."""
    places = torch.arange(side_y * side_x).view(side_y, side_x)
    cut = central_crop(places, crop)
    first, last = int(cut[0, 0]), int(cut[-1, -1])
    return first // side_x, last // side_x, first % side_x, last % side_x


@pytest.mark.parametrize(
    ("crop", "rows_and_columns"),
    [
        (1.0, (0, 255, 0, 511)),
        (220, (18, 237, 146, 365)),
        (0.7, (38, 217, 76, 435)),
    ],
)
def test_offsets_are_right_on_both_axes(crop: float, rows_and_columns: tuple[int, ...]) -> None:
    assert kept(256, 512, crop) == rows_and_columns


def test_odd_remainders_round_down_and_fractions_do_not_suffer_from_rounding() -> None:
    assert kept(7, 8, 4) == (1, 4, 2, 5)
    assert kept(20, 20, 0.9) == (1, 18, 1, 18)
    assert kept(3, 3, 0.01) == (1, 1, 1, 1)


@pytest.mark.parametrize("crop", [0, -3, 1.5, -0.5])
def test_senseless_crops_are_refused(crop: float) -> None:
    with pytest.raises(UserError, match=f"crop is {crop}: expected a fraction of each side"):
        check_crop(crop)


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(UserError, match="asks for 220 pixels, but the images are 256 x 128"):
        central_crop(torch.zeros(1, 3, 256, 128), 220)
