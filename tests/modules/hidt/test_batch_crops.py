"""Crops made on the device against those that Pillow makes of a photo."""

import numpy as np
import pytest
import torch

from repsynth.modules.hidt.batch_crops import batch_crops, enlarged, reduced
from repsynth.modules.hidt.crops import shifted_crops
from repsynth.modules.hidt.options import Border, PhotoOptions
from repsynth.modules.hidt.preparation import prepared, to_unit

from .tiny import photo


def batch_of(photos: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(photos)).float() / 255


@pytest.mark.parametrize("border", ["black", "reflect"])
@pytest.mark.parametrize(("size", "factor"), [((64, 64), 4), ((64, 64), 2), ((64, 96), 4), ((96, 64), 2)])
def test_the_crops_are_those_of_photos(size: tuple[int, int], factor: int, border: Border) -> None:
    """To two grey levels: Pillow rounds to bytes after each direction of both resizings."""
    photos = [photo(*size, seed=seed) for seed in range(2)]
    found = batch_crops(batch_of(photos), factor, border)
    assert found.shape == (2, factor**2, 3, size[0] // factor, size[1] // factor)
    for image, crops in zip(photos, found, strict=True):
        expected = torch.from_numpy(shifted_crops(image, min(size) // factor, factor, border)).float()
        off = (255 * crops - expected).abs()
        assert off.max() <= 2.0 and off.mean() <= 0.5


def test_reduced_images_are_prepared_photos() -> None:
    photos = [photo(128, 64, seed=seed) for seed in range(2)]
    found = reduced(batch_of(photos), 4)
    options = PhotoOptions(working_size=16, multiple=16)
    for image, small in zip(photos, found, strict=True):
        off = 255 * (small - to_unit(prepared(image, options))).abs()
        assert off.max() <= 2.0 and off.mean() <= 0.5


def test_enlarged_images() -> None:
    ramp = torch.linspace(0.2, 0.8, 16).expand(1, 3, 8, 16)
    large = enlarged(ramp, 4)
    assert large.shape == (1, 3, 32, 64)
    middle = large[0, 0, 16, 16:48]
    assert torch.allclose(middle.diff(), torch.full((31,), 0.6 / 15 / 4), atol=1e-4)
