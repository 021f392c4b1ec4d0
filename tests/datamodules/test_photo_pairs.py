from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from repsynth.datamodules.photo_pairs import PhotoPairs
from repsynth.errors import UserError
from tests.datamodules.image_set import real, training
from tests.datamodules.stored_sets import encoded, noise, write_folder, write_zip

COUNT = 12


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "set", {f"{i:02d}.png": encoded(noise(i, 20, 30)) for i in range(COUNT)})


def pairs(data: PhotoPairs, stage: str = "val") -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    loader = {"val": data.val_dataloader, "test": data.test_dataloader, "predict": data.predict_dataloader}[
        stage
    ]()
    found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for batch in loader:
        assert set(batch) == {"ids", "content", "style"} and batch["content"].dtype == torch.uint8
        found |= dict(
            zip(batch["ids"], zip(batch["content"].clone(), batch["style"].clone(), strict=True), strict=True)
        )
    return found


def options(**others: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"image_size": 16, "crop": "random", "resize": "bicubic", "batch_size": 4, **others}


@pytest.mark.parametrize("stage", ["val", "test", "predict"])
def test_each_photograph_is_to_be_shown_in_the_light_of_another(stage: str, root: Path) -> None:
    data = PhotoPairs(str(root), **options(eval_batch_size=5))
    data.check("predict")
    photographs, found = real(data), pairs(data, stage)
    assert list(found) == sorted(photographs) and len(found) == COUNT
    styles = []
    for name, (content, style) in found.items():
        assert torch.equal(content, photographs[name])
        (other,) = [key for key, image in photographs.items() if torch.equal(image, style)]
        assert other != name
        styles.append(other)
    assert len(set(styles)) > COUNT // 3


def test_styles_depend_on_the_evaluation_seed_and_the_place_alone(root: Path) -> None:
    data = PhotoPairs(str(root), **options())
    same = PhotoPairs(str(root), **options(seed=9, eval_batch_size=3, num_workers=1, val_samples=7))
    other = PhotoPairs(str(root), **options(eval_seed=1))
    one, two, three = pairs(data), pairs(same), pairs(other)
    assert list(two) == list(one)[:7]
    assert all(torch.equal(one[name][1], two[name][1]) for name in two)
    assert not all(torch.equal(one[name][1], three[name][1]) for name in one)


def test_training_is_that_of_an_image_folder(root: Path) -> None:
    batches = training(PhotoPairs(str(root), **options()))
    assert {name for batch in batches for name in batch["ids"]} == {f"{i:02d}.png" for i in range(COUNT)}
    assert set(batches[0]) == {"ids", "images", "windows", "image_size"}


def test_an_archive_does_as_well(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "set", {f"{i}.png": encoded(noise(i)) for i in range(3)})
    assert len(pairs(PhotoPairs(str(archive), image_size=16))) == 3


def test_held_out_photographs_are_evaluated_on_and_never_trained_on(tmp_path: Path) -> None:
    content = {f"{i:03d}.png": encoded(noise(i)) for i in range(200)}
    root = write_folder(tmp_path / "set", content)
    data = PhotoPairs(str(root), image_size=16, held_out=0.25, batch_size=1)
    trained, evaluated = {name for batch in training(data) for name in batch["ids"]}, set(pairs(data))
    assert trained | evaluated == set(content) and not trained & evaluated
    assert 30 < len(evaluated) < 70
    counts = data.describe()
    assert (counts["training samples"], counts["validation samples"]) == (len(trained), len(evaluated))
    write_folder(root, {f"new{i}.png": encoded(noise(i)) for i in range(50)})
    grown = set(pairs(PhotoPairs(str(root), image_size=16, held_out=0.25)))
    assert {name for name in grown if not name.startswith("new")} == evaluated
    assert len(real(data)) == 200


def test_the_protocol_says_what_is_evaluated(root: Path) -> None:
    words = PhotoPairs(str(root), **options()).protocol
    assert words.startswith(
        "set, compared with the first 12 of its 12 training images, not mirrored; 16 x 16 pixels"
    )
    assert words.endswith("; photographs in the light of others, trained on, styles of seed 0")
    held = PhotoPairs(str(root), **options(held_out=0.5, eval_seed=2))
    count = len(held._evaluated())
    assert held.protocol.endswith(f", {count} of them held out, styles of seed 2")


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_impossible_shares_get_one_sentence(share: float) -> None:
    with pytest.raises(UserError) as raised:
        PhotoPairs("nowhere", held_out=share)
    assert str(raised.value) == f"data.held_out is {share:g}; expected a share from 0 to below 1, such as 0.1"


def test_too_few_held_out_photographs_get_one_sentence(root: Path) -> None:
    with pytest.raises(UserError) as raised:
        PhotoPairs(str(root), **options(held_out=1e-6)).check("validate")
    assert str(raised.value) == (
        f"{root}: 0 photographs are held out (data.held_out 1e-06), but one is shown in the light of another; raise "
        "data.held_out or add photographs"
    )
    with pytest.raises(UserError, match=r"no folder or archive at nowhere \(option data.root\)"):
        PhotoPairs("nowhere").check("predict")


def test_the_papers_preprocessing_is_options_of_the_folder(tmp_path: Path) -> None:
    # Shorter side by Pillow's bicubic, the longer one rounded down, a crop anywhere, and half of them mirrored.
    from PIL import Image

    pixels = noise(3, 37, 50)
    root = write_folder(tmp_path / "set", {f"{i}.png": encoded(pixels) for i in range(2)})
    expected = np.asarray(Image.fromarray(pixels).resize((21, 16), Image.Resampling.BICUBIC)).transpose(
        2, 0, 1
    )
    windows = [expected[..., left : left + 16] for left in range(6)]
    allowed = {window.tobytes() for window in windows} | {window[..., ::-1].tobytes() for window in windows}
    seen = set()
    for batch in training(PhotoPairs(str(root), **options(batch_size=2)), 40):
        seen |= {image.numpy().tobytes() for image in batch["images"]}
    assert seen == allowed
