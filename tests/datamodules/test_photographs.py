from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from repsynth.datamodules.images import fit_image
from repsynth.datamodules.inspection import inspect
from repsynth.datamodules.photographs import Photographs
from repsynth.datamodules.samplers import SampleKey
from repsynth.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
MASK = np.zeros((40, 60), np.uint8)
MASK[:, :31] = 200


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:  # noqa: ANN401
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two photographs with their masks."""
    save(tmp_path / "photographs" / "b.png", PIXELS)
    save(tmp_path / "photographs" / "a.jpg", PIXELS[:30, :30])
    save(tmp_path / "masks" / "b.png", MASK)
    save(tmp_path / "masks" / "a.png", MASK[:30, :30])
    return tmp_path


def photographs(root: Path, masks: bool = True, **options: Any) -> Photographs:  # noqa: ANN401
    folder = str(root / "masks") if masks else None
    return Photographs(str(root / "photographs"), folder, **{"image_size": (20, 20), **options})


def test_a_batch_holds_the_middles_of_photographs_in_order(root: Path) -> None:
    data = photographs(root, masks=False, eval_batch_size=2)
    data.check("predict")
    (batch,) = data.predict_dataloader()
    assert batch["ids"] == ["a", "b"]
    assert batch["images"].dtype == torch.uint8 and batch["images"].shape == (2, 3, 20, 20)
    expected = fit_image(np.ascontiguousarray(PIXELS.transpose(2, 0, 1)), (20, 20), "crop")
    np.testing.assert_array_equal(batch["images"][1].numpy(), expected)
    assert (
        batch["known"].dtype == torch.bool and batch["known"].shape == (2, 1, 20, 20) and batch["known"].all()
    )
    moved = data.on_after_batch_transfer(batch, 0)
    assert moved["images"].dtype == torch.float32 and moved["known"].dtype == torch.bool
    assert data.describe("predict") == {"photographs": 2}


def test_a_mask_goes_the_way_of_its_photograph_and_a_pixel_needs_all_it_is_made_of(root: Path) -> None:
    """Columns 10 to 49 of the file remain, two for one: 31 known columns are 10.5 columns from there."""
    known = photographs(root).predict_dataset()[SampleKey(0, 1)]["known"]
    # Antialiasing looks at two more columns of the file on either side.
    assert known[:, :, :9].all() and not known[:, :, 10:].any()
    assert known.shape == (1, 20, 20) and (known == known[:, :1]).all()


def test_without_a_change_of_size_a_mask_is_exact(root: Path) -> None:
    known = photographs(root, image_size=(40, 60)).predict_dataset
    save(root / "photographs" / "a.jpg", PIXELS)
    save(root / "masks" / "a.png", np.stack([MASK] * 3, -1))
    for index in range(2):
        np.testing.assert_array_equal(known()[SampleKey(0, index)]["known"][0], MASK >= 128)


def test_photographs_are_turned_upright_and_masks_belong_to_what_is_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "photographs" / "a.png", PIXELS, exif=exif)
    save(tmp_path / "masks" / "a.png", MASK.T)
    data = photographs(tmp_path, image_size=(60, 40))
    data.check("predict")
    example = data.predict_dataset()[SampleKey(0, 0)]
    np.testing.assert_array_equal(example["images"], np.rot90(PIXELS, -1).transpose(2, 0, 1))
    np.testing.assert_array_equal(example["known"][0], MASK.T >= 128)


def test_transparency_is_dropped_on_request(root: Path) -> None:
    Image.fromarray(PIXELS).convert("RGBA").save(root / "photographs" / "b.png")
    with pytest.raises(UserError, match=r"b\.png: has the colour mode RGBA, expected RGB"):
        photographs(root).check("predict")
    photographs(root, convert_colours=True).check("predict")


def add_twin(root: Path) -> None:
    save(root / "photographs" / "a.png", PIXELS)


def make_small(root: Path) -> None:
    save(root / "photographs" / "a.jpg", PIXELS[:10])
    save(root / "masks" / "a.png", MASK[:10])


def empty(root: Path) -> None:
    for path in (root / "photographs").iterdir():
        path.unlink()


def lose_mask(root: Path) -> None:
    (root / "masks" / "b.png").unlink()


def double_mask(root: Path) -> None:
    save(root / "masks" / "b.jpeg", MASK)


def lose_masks(root: Path) -> None:
    (root / "masks").rename(root / "elsewhere")


def lose_root(root: Path) -> None:
    (root / "photographs").rename(root / "elsewhere")


def resize_mask(root: Path) -> None:
    save(root / "masks" / "b.png", MASK[:, :50])


KINDS = ".jpeg, .jpg, .png"
MISTAKES: list[tuple[Callable[[Path], None], str]] = [
    (
        add_twin,
        "{0}/photographs/a.png: has the same name as a.jpg up to the suffix; rename one, because predictions are named "
        "without it",
    ),
    (
        make_small,
        "{0}/photographs/a.jpg is 60x10 (width x height), smaller than data.image_size 20x20; lower data.image_size or "
        "use larger pictures",
    ),
    (empty, f"{{0}}/photographs: holds no photograph (option data.root); expected files {KINDS}"),
    (
        lose_mask,
        "{0}/masks: holds no masks named b for {0}/photographs/b.png (option data.masks); expected one, "
        f"{KINDS}, white where the photograph is known",
    ),
    (
        double_mask,
        "{0}/masks: holds 2 masks named b for {0}/photographs/b.png (option data.masks); expected one, "
        f"{KINDS}, white where the photograph is known",
    ),
    (lose_masks, f"no folder at {{0}}/masks (option data.masks); expected one of pictures {KINDS}"),
    (lose_root, f"no folder at {{0}}/photographs (option data.root); expected one of pictures {KINDS}"),
    (
        resize_mask,
        "{0}/masks/b.png is 50x40 (width x height), but its photograph {0}/photographs/b.png 60x40; expected masks of "
        "the photographs' sizes",
    ),
]


@pytest.mark.parametrize(("spoil", "sentence"), MISTAKES, ids=[spoil.__name__ for spoil, _ in MISTAKES])
def test_mistakes_are_told_before_anything_runs(
    spoil: Callable[[Path], None], sentence: str, root: Path
) -> None:
    photographs(root).check("predict")
    spoil(root)
    with pytest.raises(UserError) as raised:
        photographs(root).check("predict")
    assert str(raised.value) == sentence.format(root)


def test_a_mask_of_nothing_is_named(root: Path) -> None:
    save(root / "masks" / "b.png", MASK * 0)
    data = photographs(root)
    data.check("predict")
    with pytest.raises(UserError) as raised:
        data.predict_dataset()[SampleKey(0, 1)]
    assert str(raised.value) == (
        f"{root}/masks/b.png: is nowhere white at the size of data.image_size 20x20, so nothing of "
        f"{root}/photographs/b.png is known; expected white where the photograph is known and black where it shall be "
        "filled in"
    )


def test_sizes_below_a_pixel_are_refused() -> None:
    with pytest.raises(UserError) as raised:
        Photographs("x", image_size=(0, 4))
    assert str(raised.value) == "data.image_size is 0; expected at least 1"


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_there_is_nothing_for_other_stages(stage: str, root: Path) -> None:
    data = photographs(root)
    sentence = (
        "the data module Photographs is for predict and gives nothing to {}; use the data of the training, such as an "
        "experiment's own data section"
    )
    with pytest.raises(UserError) as raised:
        data.check(stage)
    assert str(raised.value) == sentence.format(stage)
    for asked, word in ((data.train_dataset, "fit"), (lambda: data.eval_dataset("test"), "test")):
        with pytest.raises(UserError) as raised:
            asked()
        assert str(raised.value) == sentence.format(word)


def test_the_report_on_a_data_set_has_nothing_against_it(root: Path) -> None:
    for stage in ("predict", None):
        assert inspect(photographs(root), stage, 0, False, lambda *_: None).problems == []
    lose_mask(root)
    (problem,) = inspect(photographs(root), None, 0, False, lambda *_: None).problems
    assert problem.startswith(f"{root}/masks: holds no masks named b")
