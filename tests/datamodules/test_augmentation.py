import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from repsynth.datamodules.augmentation import Augmentation
from repsynth.datamodules.image_folder import ImageFolder
from repsynth.errors import UserError
from tests.datamodules.image_set import real, training
from tests.datamodules.stored_sets import encoded, write_folder

STEPS: list[dict[str, dict[str, Any]]] = [
    {"RandomResizedCrop": {"size": [32, 32], "scale": [0.5, 1.0], "interpolation": 0}},
    {"HorizontalFlip": {"p": 0.5}},
    {"Rotate": {"limit": 25, "interpolation": 0, "border_mode": 0, "p": 0.8}},
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))


def levels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 9, (8, 8), dtype=np.uint8).repeat(4, 0).repeat(4, 1)


def photographs(root: Path) -> dict[str, Any]:
    maps = {f"{number}.png": levels(number) for number in range(6)}
    shown = {name: encoded(np.stack([each, each, each], -1)) for name, each in maps.items()}
    write_folder(root / "maps", {name: encoded(each) for name, each in maps.items()})
    return {"root": str(write_folder(root / "set", shown)), "image_size": 32, "maps": str(root / "maps")}


def test_image_and_map_change_alike_and_beyond_them_nothing_is_known() -> None:
    change = Augmentation(STEPS, 32)
    unknown = 0
    for seed in range(20):
        classes = levels(seed)
        image, found = change(np.stack([classes] * 3), classes, np.random.default_rng(seed))
        assert image.shape == (3, 32, 32) and image.dtype == np.uint8
        assert found is not None and found.dtype == np.uint8
        # The image is black beyond its edge, where the map says that it does not know.
        assert (np.where(found == 255, 0, found) == image[0]).mean() > 0.97
        assert set(np.unique(found)) <= {*range(1, 9), 255}
        unknown += int((found == 255).any())
    assert 5 < unknown < 20


def test_unknown_pixels_stay_unknown() -> None:
    classes = np.full((32, 32), 255, dtype=np.uint8)
    classes[:16] = 0
    _, found = Augmentation([{"VerticalFlip": {"p": 1}}], 32)(
        np.stack([classes] * 3), classes, np.random.default_rng(0)
    )
    assert found is not None and (found == classes[::-1]).all()


def test_a_draw_depends_on_the_generator_of_the_example_alone() -> None:
    change, other = Augmentation(STEPS, 32), pickle.loads(pickle.dumps(Augmentation(STEPS, 32)))
    image = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    first = [change(image, None, np.random.default_rng(seed))[0].copy() for seed in range(8)]
    np.random.seed(3)
    backwards = [other(image, image[0], np.random.default_rng(seed))[0].copy() for seed in reversed(range(8))]
    assert all(np.array_equal(one, two) for one, two in zip(first, reversed(backwards), strict=True))
    assert len({each.tobytes() for each in first}) == 8


def test_training_images_and_maps_are_augmented_the_same_in_any_process(tmp_path: Path) -> None:
    options = photographs(tmp_path)
    plain = ImageFolder(**options, batch_size=3, seed=1)
    here, there, later = (
        ImageFolder(**options, batch_size=3, seed=1, augment=STEPS, num_workers=workers)
        for workers in (0, 2, 0)
    )
    batches = training(here, 2)
    for one, two in zip(batches, training(there, 2), strict=True):
        assert one["ids"] == two["ids"]
        assert torch.equal(one["images"], two["images"]) and torch.equal(one["maps"], two["maps"])
    for batch, bare in zip(batches, training(plain, 2), strict=True):
        assert batch["ids"] == bare["ids"] and not torch.equal(batch["images"], bare["images"])
        known = batch["maps"] != 255
        assert (batch["images"][:, 0].long() == batch["maps"])[known].float().mean() > 0.97
    loader = later.train_dataloader()
    loader.batch_sampler.epoch, loader.batch_sampler.start_batch = 1, 1  # type: ignore[union-attr]
    (resumed,) = loader
    assert torch.equal(resumed["images"], batches[3]["images"])
    # What generated images are compared with is not augmented.
    assert all(torch.equal(image, real(plain)[name]) for name, image in real(here).items())
    assert here.signature("val") == plain.signature("val")


def test_images_without_maps_are_augmented_too(tmp_path: Path) -> None:
    options = photographs(tmp_path) | {"maps": None}
    batch = next(iter(ImageFolder(**options, batch_size=3, augment=STEPS).train_dataloader()))
    assert batch["images"].shape == (3, 3, 32, 32) and "maps" not in batch


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (
            [{"HorizontalFlop": {}}],
            r"data.augment names HorizontalFlop, which is no transform of images and maps in albumentations [\d.]+; "
            r"did you mean HorizontalFlip\?",
        ),
        ([{"Compose": {}}], r"data.augment names Compose, which is no transform .*"),
        (
            ["HorizontalFlip"],
            r"data.augment holds 'HorizontalFlip'; expected a list of transforms such as .*",
        ),
        (
            [{"HorizontalFlip": {}, "Rotate": {}}],
            r"data.augment holds \{'HorizontalFlip': \{\}, 'Rotate': \{\}\}; expected a list of transforms .*",
        ),
        ([{"Rotate": [3]}], r"data.augment gives Rotate the options \[3\]; expected a list of transforms .*"),
        (
            [{"Rotate": {"limt": 3}}],
            r"data.augment: Rotate refuses its options: Argument\(s\) 'limt' are not valid for transform Rotate; "
            r"correct them",
        ),
        (
            [{"HorizontalFlip": {"p": 2}}],
            r"data.augment: HorizontalFlip refuses its options: p Input should be less than or equal to 1; correct .*",
        ),
        (
            [{"RandomCrop": {}}],
            r"data.augment: RandomCrop refuses its options: height Field required width Field .*",
        ),
        (
            [{"RandomCrop": {"height": 20, "width": 24}}],
            r"data.augment makes 24x20 pixels of type uint8 of an image of 32x32 bytes; expected transforms that keep "
            r"size and type, a crop for example RandomResizedCrop with size \[32, 32\]",
        ),
        ([{"ToFloat": {}}], r"data.augment makes 32x32 pixels of type float32 of an image .*"),
        (
            [{"RandomCrop": {"height": 64, "width": 64}}],
            r"data.augment fails on an image of 32x32 pixels: .*; correct the options of its transforms",
        ),
    ],
)
def test_pipelines_that_cannot_work_get_one_sentence(steps: Any, sentence: str, tmp_path: Path) -> None:  # noqa: ANN401
    with pytest.raises(UserError) as raised:
        ImageFolder("nowhere", 32, augment=steps)
    assert re.fullmatch(sentence, str(raised.value)), str(raised.value)
