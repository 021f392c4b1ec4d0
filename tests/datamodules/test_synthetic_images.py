from typing import Any

import numpy as np
import pytest
import torch

from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.synthetic import sunsets
from repsynth.datamodules.synthetic.images import SyntheticImages
from repsynth.errors import UserError

MANY = 10_000


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return sunsets.images(np.arange(MANY), 32)


def test_a_training_batch_holds_whole_images() -> None:
    data = SyntheticImages(image_size=24, train_samples=10, batch_size=4)
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert set(batch) == {"ids", "images", "windows", "image_size"}
    assert batch["images"].shape == (4, 3, 24, 24) and batch["images"].dtype == torch.float32
    assert batch["windows"].tolist() == [[0, 0, 1]] * 4 and batch["windows"].dtype == torch.int64
    assert batch["image_size"] == data.image_size == (24, 24)
    own = [torch.from_numpy(sunsets.images(np.array([int(name)]), 24)[0]) for name in batch["ids"]]
    assert torch.equal((batch["images"] * 255).round().byte(), torch.stack(own))


def test_patches_are_cut_out_of_the_images() -> None:
    data = SyntheticImages(train_samples=40, patch_size=8, batch_size=8, seed=5)
    steps = set()
    for batch in data.train_dataloader():
        assert batch["images"].shape == (8, 3, 8, 8) and tuple(batch["image_size"]) == (32, 32)
        for name, patch, (row, column, step) in zip(
            batch["ids"], batch["images"], batch["windows"].tolist(), strict=True
        ):
            whole = sunsets.images(np.array([int(name)]), 32)[0]
            assert (patch.numpy() == whole[:, row::step, column::step][:, :8, :8]).all()
            steps.add(step)
    assert len(steps) > 1 and steps <= {1, 2, 4}


def test_real_images_are_the_first_training_images() -> None:
    data = SyntheticImages(train_samples=12, real_samples=5, eval_batch_size=4, batch_size=2)
    batches = list(data.real_loader("test"))
    assert [name for batch in batches for name in batch["ids"]] == ["00", "01", "02", "03", "04"]
    assert set(batches[0]) == {"ids", "images"} and batches[0]["images"].dtype == torch.uint8
    trained: Any = data.train_dataset()
    assert all(
        (batches[0]["images"][k].numpy() == trained[SampleKey(3, k)]["images"]).all() for k in range(4)
    )
    assert data.describe("fit") == {
        "training samples": 12,
        "samples per epoch": 12,
        "validation samples": 5000,
    }
    assert data.protocol == "SyntheticImages, 5 of 12 training images as the real set; 32 x 32 pixels"
    assert next(iter(data.val_dataloader()))["numbers"].tolist() == [0, 1, 2, 3]


def test_an_image_depends_on_its_number_alone() -> None:
    alone, among = sunsets.images(np.array([7]), 32)[0], sunsets.images(np.arange(5, 9), 32)[2]
    assert (alone == among).all()
    first: Any = SyntheticImages(seed=1).train_dataset()
    other: Any = SyntheticImages(seed=2, train_samples=9).train_dataset()
    assert (first[SampleKey(0, 7)]["images"] == other[SampleKey(4, 7)]["images"]).all()


def test_the_signature_changes_with_what_changes_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {SyntheticImages(**options).signature("val") for options in ({}, {"seed": 3}, {"val_samples": 7})}
    assert lines == {"SyntheticImages version 1 side 32 count 5000"}
    lines |= {
        SyntheticImages(**options).signature("val") for options in ({"image_size": 16}, {"train_samples": 9})
    }
    monkeypatch.setattr(sunsets, "VERSION", 2)
    lines.add(SyntheticImages().signature("val"))
    assert len(lines) == 4


def test_the_family_is_the_one_of_its_version() -> None:
    # Whoever sees this fail has changed pixels: `VERSION` must change too, for kept statistics of the set are wrong.
    known = sunsets.images(np.arange(100), 32).astype(np.int64)
    weights = np.arange(1, known.size + 1).reshape(known.shape) % 65_521
    assert (sunsets.VERSION, int(known.sum()), int((known * weights).sum())) == (1, 35829388, 1119539757944)


def test_attributes_are_uniform_and_independent() -> None:
    shown = sunsets.attributes(np.arange(MANY))
    ranges = [(0, 1), *[(-sunsets.TINT, sunsets.TINT)] * 3, sunsets.HORIZON]
    ranges += [sunsets.SUN_X, sunsets.SUN_Y, sunsets.SUN_RADIUS, (0, 1), (0, 1)]
    columns = np.concatenate([np.reshape(values, (MANY, -1)) for values in shown], 1)
    low, high = np.array(ranges).T
    uniform = np.sort((columns - low) / (high - low), 0)
    # Kolmogorov and Smirnov: 1.95 / sqrt(N) is passed by one true column in 500.
    assert abs(uniform - ((np.arange(MANY) + 0.5) / MANY)[:, None]).max() < 1.95 / MANY**0.5
    assert abs(np.corrcoef(columns.T) - np.eye(10)).max() < 4 / MANY**0.5
    scores = (columns - columns.mean(0)) / columns.std(0)
    neighbours = scores[1:].T @ scores[:-1] / MANY
    assert abs(neighbours).max() < 4 / MANY**0.5


@pytest.mark.parametrize("side", [16, 33])
def test_the_mean_of_images_is_the_mean_image(side: int) -> None:
    pictures = sunsets.images(np.arange(MANY), side) / 255
    error = pictures.mean(0) - sunsets.mean_image(side)
    doubt = pictures.std(0) / MANY**0.5 + 1e-4
    assert (abs(error) / doubt).max() < 5 and (error**2).mean() ** 0.5 < 0.0015


def test_the_top_row_has_the_colours_promised(pictures: np.ndarray) -> None:
    top = pictures[:, :, 0] / 255
    assert (top == top[..., :1]).all()
    mean, covariance = sunsets.top_row(32)
    assert abs(top[..., 0].mean(0) - mean).max() < 4 * (0.004 / MANY) ** 0.5
    assert abs(np.cov(top[..., 0].T) - covariance).max() < 8e-5  # of 4e-3
    smallest = sunsets.images(np.arange(MANY), sunsets.SMALLEST_SIDE)[:, :, 0]
    assert (smallest == smallest[..., :1]).all()


def test_the_horizon_can_be_read_off_the_pixels(pictures: np.ndarray) -> None:
    assert abs(sunsets.horizon(pictures) - sunsets.attributes(np.arange(MANY)).horizon).max() < 1 / 32
    large = sunsets.images(np.arange(200), 256)
    assert abs(sunsets.horizon(large) - sunsets.attributes(np.arange(200)).horizon).max() < 1 / 256


def test_other_sizes_show_the_same_picture() -> None:
    fine, coarse = (sunsets.images(np.arange(20), side).astype(float) for side in (128, 32))
    pooled = fine.reshape(20, 3, 32, 4, 32, 4).mean((3, 5))
    assert abs(pooled - coarse).max() < 12 and abs(pooled - coarse).mean() < 0.5


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image_size": 15}, "data.image_size is 15; expected at least 16"),
        ({"train_samples": 1}, "data.train_samples is 1; expected at least 2"),
        ({"real_samples": 1}, "data.real_samples is 1; expected at least 2"),
        (
            {"patch_size": 12},
            "data.patch_size is 12; expected data.image_size 32 divided by a power of two: 32, 16, 8, 4",
        ),
    ],
)
def test_impossible_options_get_one_sentence(options: dict[str, int], sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        SyntheticImages(**options)
    assert str(raised.value) == sentence
