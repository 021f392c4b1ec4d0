"""Patches by brute force: images whose pixels say where they are."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torch.utils.data._utils.pin_memory import pin_memory

from repsynth.datamodules.base import bytes_to_unit
from repsynth.datamodules.patches import (
    PatchOptions,
    PatchSet,
    WholeImage,
    Window,
    collate_patches,
    cut,
    draw_scale,
    draw_window,
)
from repsynth.datamodules.samplers import SampleKey, TrainBatchSampler
from repsynth.errors import UserError


class Places:
    """Images whose channels are row, column and number, mirrored for every third."""

    def __init__(self, side: int, count: int = 40) -> None:
        self.side, self.count = side, count

    def __len__(self) -> int:
        return self.count

    def read(self, key: SampleKey, out: np.ndarray | None = None) -> WholeImage:
        image = np.empty((3, self.side, self.side), dtype=np.uint8) if out is None else out
        image[0], image[1], image[2] = np.arange(self.side)[:, None], np.arange(self.side), key.index
        return WholeImage(f"{key.index:02d}", image[..., ::-1] if key.index % 3 == 0 else image)


def possible_starts(side: int, size: int, step: int) -> set[int]:
    """Every place from which `size` pixels in steps lie inside."""
    return {start for start in range(side) if start + step * (size - 1) < side}


@pytest.mark.parametrize(("side", "size"), [(16, 16), (16, 8), (16, 4), (32, 4), (24, 6)])
def test_windows_reach_every_place_inside_and_none_outside(side: int, size: int) -> None:
    options = PatchOptions(side, size)
    assert options.scales == int(np.log2(side // size)) + 1
    rng = np.random.default_rng(0)
    for scale in range(options.scales):
        windows = [draw_window(options, scale, rng) for _ in range(6000)]
        starts = possible_starts(side, size, 2**scale)
        assert {window.row for window in windows} == starts
        assert {window.column for window in windows} == starts
        assert {window.step for window in windows} == {2**scale}


@pytest.mark.parametrize(("side", "size", "scale"), [(16, 4, 0), (16, 4, 1), (16, 4, 2), (32, 4, 2)])
def test_windows_are_as_frequent_as_the_procedure_says(side: int, size: int, scale: int) -> None:
    """Source: offset uniform on 0 .. S - 2^l c + 2^l - 1, then a window of the rest; scale 0: uniform."""
    step = 2**scale
    expected: Counter[int] = Counter()
    if scale == 0:
        expected.update(dict.fromkeys(range(side - size + 1), 1 / (side - size + 1)))  # type: ignore[arg-type]
    else:
        offsets = range(side - step * size + step)
        for offset in offsets:
            rest = len(range(offset, side, step))
            for first in range(rest - size + 1):
                expected[offset + step * first] += 1 / len(offsets) / (rest - size + 1)  # type: ignore[assignment]
    rng = np.random.default_rng(1)
    count = 20_000
    found = Counter(draw_window(PatchOptions(side, size), scale, rng).row for _ in range(count))
    assert set(found) == set(expected)
    for start, share in expected.items():
        assert abs(found[start] / count - share) < 5 * np.sqrt(share / count)


def test_scales_are_drawn_alike() -> None:
    rng = np.random.default_rng(0)
    for options, scales in ((PatchOptions(64, 8), 4), (PatchOptions(64, 8, 2), 2), (PatchOptions(64), 1)):
        counts = Counter(draw_scale(options, rng) for _ in range(4000))
        assert set(counts) == set(range(scales))
        assert all(abs(number - 4000 / scales) < 250 for number in counts.values())


def test_cut_is_a_view() -> None:
    image = np.arange(3 * 16 * 16).reshape(3, 16, 16)
    patch = cut(image, Window(1, 3, 4), 3)
    assert patch.base is not None
    assert patch[1].tolist() == [[256 + 16 * row + column for column in (3, 7, 11)] for row in (1, 5, 9)]


def batches(options: PatchOptions, workers: int = 0, seed: int = 3, epochs: int = 3) -> list[dict[str, Any]]:
    patches = PatchSet(Places(options.side), options, seed)
    found: list[dict[str, Any]] = []
    for epoch in range(epochs):
        loader = DataLoader(
            patches,
            batch_sampler=TrainBatchSampler(len(patches), 8, seed, start_epoch=epoch),
            num_workers=workers,
            collate_fn=lambda examples: collate_patches(examples, (options.side, options.side)),
        )
        found += [{**batch, "images": batch["images"].clone()} for batch in loader]
    return found


@pytest.mark.parametrize("size", [None, 16, 8, 4])
@pytest.mark.parametrize("workers", [0, 2])
def test_every_pixel_of_a_patch_is_the_one_that_its_window_says(size: int | None, workers: int) -> None:
    found = batches(PatchOptions(32, size), workers)
    steps = set()
    for batch in found:
        side = size or 32
        assert batch["images"].shape == (8, 3, side, side) and batch["images"].dtype == torch.uint8
        assert batch["windows"].shape == (8, 3) and batch["windows"].dtype == torch.int64
        assert len(batch["windows"][:, 2].unique()) == 1
        steps.add(int(batch["windows"][0, 2]))
        for name, image, (row, column, step) in zip(
            batch["ids"], batch["images"], batch["windows"].tolist(), strict=True
        ):
            rows, columns = (start + step * torch.arange(side) for start in (row, column))
            seen = 31 - columns if int(name) % 3 == 0 else columns  # the mirror comes before the cut
            assert torch.equal(image[0].long(), rows[:, None].expand(side, side))
            assert torch.equal(image[1].long(), seen[None].expand(side, side))
            assert (image[2] == int(name)).all()
    assert steps == {2**scale for scale in range(PatchOptions(32, size).scales)}


def test_patches_depend_on_seed_epoch_and_index_alone() -> None:
    options = PatchOptions(32, 8)
    first, again, other = batches(options), batches(options, workers=2), batches(options, seed=4)
    for one, two in zip(first, again, strict=True):
        assert one["ids"] == two["ids"] and torch.equal(one["images"], two["images"])
        assert torch.equal(one["windows"], two["windows"])
    windows = [torch.cat([batch["windows"] for batch in some]) for some in (first, other)]
    assert not torch.equal(*windows)
    assert len({tuple(window) for window in windows[0].tolist()}) > 60


def test_the_first_key_chooses_the_scale_and_nothing_else() -> None:
    patches = PatchSet(Places(32), PatchOptions(32, 8, 1), 0)
    keys = [SampleKey(0, index) for index in range(6)]
    forward = {each["ids"]: tuple(each["windows"]) for each in patches.__getitems__(keys)}
    backward = {each["ids"]: tuple(each["windows"]) for each in patches.__getitems__(keys[::-1])}
    assert forward == backward
    alone = patches[keys[2]]
    assert tuple(alone["windows"]) == forward["02"]
    scales = PatchSet(Places(32), PatchOptions(32, 8), 0)
    steps = {int(scales.__getitems__([first, keys[0]])[1]["windows"][2]) for first in keys}
    assert steps == {int(scales[first]["windows"][2]) for first in keys} and len(steps) > 1


def test_the_size_of_the_images_stays_a_tuple_on_the_way_to_the_device() -> None:
    patches = PatchSet(Places(16), PatchOptions(16, 8), 0)
    batch = collate_patches([patches[SampleKey(0, 1)]], (16, 16))
    windows, images = batch.pop("windows"), batch.pop("images")  # type: ignore[misc]
    assert windows.shape == (1, 3) and images.shape == (1, 3, 8, 8)
    pinned = pin_memory({**batch, "image_size": batch["image_size"]})
    assert pinned["image_size"] == (16, 16) and isinstance(pinned["image_size"], tuple)
    assert bytes_to_unit(pinned)["image_size"] == (16, 16)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            (256, 48),
            "data.patch_size is 48; expected data.image_size 256 divided by a power of two: 256, 128, 64, 32, 16, 8, 4",
        ),
        (
            (256, 512),
            "data.patch_size is 512; expected data.image_size 256 divided by a power of two: 256, 128,",
        ),
        ((24, 8), "data.patch_size is 8; expected data.image_size 24 divided by a power of two: 24, 12, 6"),
        ((256, 2), "data.patch_size is 2; expected at least 4"),
        (
            (256, 64, 4),
            "data.patch_scales is 4; expected 1 to 3, the scales between data.patch_size 64 and data.image_size 256",
        ),
        ((256, 64, 0), "data.patch_scales is 0; expected 1 to 3, the scales between"),
        (
            (256, None, 2),
            "data.patch_scales is 2, but data.patch_size is not set and whole images have one scale; set "
            "data.patch_size or leave data.patch_scales out",
        ),
    ],
)
def test_impossible_options_are_refused(options: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        PatchOptions(*options)
    assert str(caught.value).startswith(sentence)
