import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from repsynth.modules.hidt.tiles import in_tiles, spans


def blurred(image: Tensor) -> Tensor:
    """A mean over 5 x 5 pixels, twice as large."""
    return F.avg_pool2d(image, 5, stride=1, padding=2).repeat_interleave(2, -1).repeat_interleave(2, -2)


@pytest.mark.parametrize("tile", [1, 4, 5, 13, 100])
@pytest.mark.parametrize("multiple", [1, 4])
def test_tiles_with_a_wide_enough_halo_are_the_whole(tile: int, multiple: int) -> None:
    image = torch.randn(2, 3, 20, 12)
    found = in_tiles(blurred, image, tile, halo=2, multiple=multiple, scale=2)
    torch.testing.assert_close(found, blurred(image))


def test_a_halo_that_is_too_narrow_shows() -> None:
    image = torch.randn(1, 1, 20, 20)
    assert not torch.allclose(in_tiles(blurred, image, 10, halo=1, scale=2), blurred(image))


def test_parts_are_multiples_and_bounded() -> None:
    seen = []

    def work(part: Tensor) -> Tensor:
        seen.append(tuple(part.shape))
        return part.float() / 255

    image = torch.arange(200, dtype=torch.uint8).reshape(1, 10, 20).repeat(1, 2, 2)  # 20 x 40
    found = in_tiles(work, image, tile=7, halo=3, multiple=4)
    assert torch.equal(found, image.float() / 255) and found.dtype == torch.float32
    assert all(height % 4 == 0 and width % 4 == 0 for _, height, width in seen)
    assert max(height for _, height, _ in seen) <= 8 + 8


def test_no_gradients_are_kept() -> None:
    scale = torch.ones((), requires_grad=True)
    assert not in_tiles(lambda part: part * scale, torch.ones(1, 4, 4), 2, 0).requires_grad


@pytest.mark.parametrize("length", [1, 5, 16, 17])
@pytest.mark.parametrize(("largest", "multiple"), [(1, 1), (4, 1), (5, 4), (100, 4)])
def test_spans_cover_everything_once(length: int, largest: int, multiple: int) -> None:
    parts = list(spans(length, largest, multiple))
    assert [index for start, end in parts for index in range(start, end)] == list(range(length))
    assert all(
        start % multiple == 0 and end - start <= -(-largest // multiple) * multiple for start, end in parts
    )


def test_spans_are_about_equal() -> None:
    assert list(spans(520, 512, 4)) == [(0, 260), (260, 520)]
