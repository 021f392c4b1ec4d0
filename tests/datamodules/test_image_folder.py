import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from repsynth.datamodules import stored_pictures
from repsynth.datamodules.image_folder import ImageFolder
from repsynth.datamodules.image_preparation import prepare_images
from repsynth.datamodules.preparation_recipes import Preparation
from repsynth.datamodules.samplers import SampleKey
from repsynth.errors import UserError
from tests.datamodules.image_set import faces, real, shrink_ffhq, training
from tests.datamodules.stored_sets import (
    WRITERS,
    encoded,
    noise,
    pictures,
    write_cips,
    write_folder,
    write_lsun,
    write_zip,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))


def decoded(content: bytes) -> torch.Tensor:
    return torch.from_numpy(
        np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1).copy()
    )


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("workers", [0, 2])
def test_every_store_gives_the_same_pixels(kind: str, workers: int, tmp_path: Path) -> None:
    content = pictures(9, 16, "jpeg")
    root = WRITERS[kind](tmp_path / "set", content)
    data = ImageFolder(str(root), image_size=16, batch_size=4, num_workers=workers, eval_batch_size=4)
    data.check("fit")
    expected = [decoded(content[name]) for name in sorted(content)]
    assert torch.equal(torch.stack(list(real(data).values())), torch.stack(expected))
    store = data._found().laid_out.store
    places = {store.name(index): index for index in range(9)}
    mirrored = 0
    for batch in training(data, 4):
        assert batch["images"].shape == (4, 3, 16, 16) and batch["images"].dtype == torch.uint8
        assert batch["image_size"] == (16, 16) and isinstance(batch["image_size"], tuple)
        assert batch["windows"].tolist() == [[0, 0, 1]] * 4
        for name, image in zip(batch["ids"], batch["images"], strict=True):
            flipped = torch.equal(image, expected[places[name]].flip(-1))
            assert flipped or torch.equal(image, expected[places[name]])
            mirrored += flipped
    assert 4 < mirrored < 28


def test_training_is_a_function_of_the_keys(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", {f"{i}.png": encoded(noise(i, 16, 30)) for i in range(10)})
    options: dict[str, Any] = {"image_size": 16, "crop": "random", "patch_size": 8, "batch_size": 2}
    first, again, other, resumed = (
        ImageFolder(str(root), **options, num_workers=workers, seed=seed)
        for workers, seed in ((0, 1), (2, 1), (0, 2), (0, 1))
    )
    batches = training(first, 3)
    for one, two in zip(batches, training(again, 3), strict=True):
        assert one["ids"] == two["ids"] and torch.equal(one["images"], two["images"])
        assert torch.equal(one["windows"], two["windows"])
    assert not all(
        torch.equal(one["images"], two["images"])
        for one, two in zip(batches, training(other, 3), strict=True)
    )
    loader = resumed.train_dataloader()
    loader.batch_sampler.epoch, loader.batch_sampler.start_batch = 1, 2  # type: ignore[union-attr]
    for one, two in zip(batches[7:10], loader, strict=True):
        assert one["ids"] == two["ids"] and torch.equal(one["images"], two["images"])


def places(height: int, width: int) -> np.ndarray:
    """A picture that says where each of its pixels is."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, 7)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("shape", [(32, 50), (70, 32)])
@pytest.mark.parametrize("crop", ["centre", "random"])
def test_squares_of_pictures_that_are_none(shape: tuple[int, int], crop: Any, tmp_path: Path) -> None:  # noqa: ANN401
    root = write_folder(tmp_path / "set", {f"{i}.png": encoded(places(*shape)) for i in range(2)})
    data = ImageFolder(str(root), image_size=32, crop=crop, mirror=False, patch_size=8, batch_size=2)
    spare = (shape[0] - 32, shape[1] - 32)
    for image in real(data).values():
        assert image[:2, 0, 0].tolist() == [spare[0] // 2, spare[1] // 2]
        assert torch.equal(image[:, :, 0] - image[:, :1, 0], image[:, :, 5] - image[:, :1, 5])
    seen = set()
    for batch in training(data, 150):
        for image, (row, column, step) in zip(batch["images"].long(), batch["windows"].tolist(), strict=True):
            top, left = int(image[0, 0, 0]) - row, int(image[1, 0, 0]) - column
            assert torch.equal(image[0, :, 3], top + row + step * torch.arange(8))
            assert torch.equal(image[1, 3], left + column + step * torch.arange(8))
            seen.add((top, left))
    middle = {(spare[0] // 2, spare[1] // 2)}
    anywhere = {(top, left) for top in range(spare[0] + 1) for left in range(spare[1] + 1)}
    assert seen == (middle if crop == "centre" else anywhere)


def test_the_mirror_turns_the_image_and_not_the_coordinates(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", {f"{i}.png": encoded(places(32, 32)) for i in range(8)})
    data = ImageFolder(str(root), image_size=32, patch_size=8, batch_size=4)
    flips = []
    for batch in training(data, 20):
        for image, (row, column, step) in zip(batch["images"].long(), batch["windows"].tolist(), strict=True):
            columns = column + step * torch.arange(8)
            flip = bool(image[1, 0, 0] > image[1, 0, 1])
            assert torch.equal(image[1, 5], 31 - columns if flip else columns)
            assert torch.equal(image[0, :, 5], row + step * torch.arange(8))
            flips.append(flip)
    assert 0.35 < np.mean(flips) < 0.65


@pytest.mark.parametrize("resize", ["lanczos", "bicubic", "bilinear", "box"])
def test_resizing_while_reading_is_that_of_pillow(resize: Any, tmp_path: Path) -> None:  # noqa: ANN401
    content = {"1.png": encoded(noise(1, 40, 64)), "2.png": encoded(noise(2, 90, 33))}
    data = ImageFolder(
        str(write_folder(tmp_path / "set", content)),
        image_size=16,
        crop="centre",
        resize=resize,
        on_panorama="keep",
    )
    filters = Image.Resampling
    for name, (width, height) in (("1.png", (25, 16)), ("2.png", (16, 43))):  # rounded down
        picture = Image.open(io.BytesIO(content[name])).resize((width, height), filters[resize.upper()])
        left, top = (width - 16) // 2, (height - 16) // 2
        expected = np.asarray(picture)[top : top + 16, left : left + 16].transpose(2, 0, 1)
        assert np.array_equal(real(data)[name].numpy(), expected)
    assert f"16 x 16 pixels, as stored, resized by {resize}, their middle" in data.protocol


def test_photographs_are_turned_and_grey_ones_become_colour(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.kron(noise(0, 4, 4), np.ones((4, 4, 1), dtype=np.uint8))
    content = {
        "1.png": encoded(pixels, exif=exif.tobytes()),
        "2.png": encoded(pixels[..., 0]),
        "3.png": encoded(np.dstack([pixels, pixels[..., :1]])),
    }
    root = write_folder(tmp_path / "set", content)
    images = real(ImageFolder(str(root), image_size=16, convert_colours=True))
    assert np.array_equal(images["1.png"].numpy(), np.rot90(pixels, -1).transpose(2, 0, 1))
    assert np.array_equal(images["2.png"].numpy(), np.stack([pixels[..., 0]] * 3))
    assert np.array_equal(images["3.png"].numpy(), pixels.transpose(2, 0, 1))


def test_the_shared_landscapes(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "landscapes"
    data = ImageFolder(
        str(folder), image_size=128, crop="random", resize="lanczos", patch_size=32, batch_size=5
    )
    data.check()
    (batch,) = training(data)
    assert batch["images"].shape == (5, 3, 32, 32) and batch["images"].float().std() > 10
    images = real(data)
    assert list(images) == sorted(path.name for path in folder.iterdir())
    brightness = {name: float(image.float().mean()) for name, image in images.items()}
    assert min(brightness, key=lambda name: brightness[name]) == "night_harbour.jpg"
    assert data.describe() == {
        "training samples": 5,
        "samples per epoch": 5,
        "validation samples": 5000,
        "test samples": 50_000,
    }
    assert data.protocol == (
        "landscapes, compared with the first 5 of its 5 training images, not mirrored; 128 x 128 pixels, as stored, "
        "resized by lanczos, their middle (windows anywhere in training)"
    )


def test_numbers_need_no_picture(tmp_path: Path) -> None:
    data = ImageFolder(str(tmp_path / "not there"), val_samples=3, predict_samples=5, eval_batch_size=5)
    data.check("predict")
    (batch,) = data.predict_dataloader()
    assert batch["numbers"].tolist() == [0, 1, 2, 3, 4] and batch["seeds"].tolist() == [0] * 5
    assert data.describe("predict") == {"test samples": 50_000}
    for stage in ("fit", "validate", "test", None):
        with pytest.raises(UserError, match="no folder or archive at"):
            data.check(stage)


def test_the_real_set_is_the_first_of_the_training_images(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", pictures(6))
    data = ImageFolder(str(root), image_size=16, real_samples=4, eval_batch_size=3)
    assert list(real(data)) == sorted(pictures(6))[:4]
    assert data.protocol.startswith("set, compared with the first 4 of its 6 training images, not mirrored; ")


def test_the_signature_changes_with_every_cause(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", pictures(5))
    options: dict[str, Any] = {"image_size": 16}

    def signature(**changed: Any) -> str:  # noqa: ANN401
        return ImageFolder(str(root), **(options | changed)).signature("val")

    lines = [
        signature(),
        signature(crop="centre"),
        signature(resize="box"),
        signature(resize="lanczos"),
        signature(convert_colours=True),
        signature(image_size=8, resize="box"),
    ]
    before = (root / "a" / "00.png").stat()
    (root / "a" / "00.png").write_bytes(encoded(noise(77)))
    os.utime(root / "a" / "00.png", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    lines.append(signature())
    write_folder(root, {"c.png": encoded(noise(78))})
    lines.append(signature())
    (root / "a" / "00.png").rename(root / "a" / "99.png")
    lines.append(signature())
    assert len(set(lines)) == len(lines)
    assert signature() == lines[-1] and signature(mirror=False, patch_size=8, seed=5) == lines[-1]
    assert all("\n" not in line for line in lines)


def test_heads_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folder(tmp_path / "set", pictures(4))
    data = ImageFolder(str(root), image_size=16)
    data.check()
    monkeypatch.setattr(stored_pictures, "_heads", lambda *_: pytest.fail("looked again"))
    data.check()
    ImageFolder(str(root), image_size=16, crop="random").check()
    os.utime(root / "a" / "00.png", ns=(1, 1))
    with pytest.raises(pytest.fail.Exception, match="looked again"):
        data.check()


# FFHQ, in small.


@pytest.fixture
def small_ffhq(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_ffhq(monkeypatch)


@pytest.mark.parametrize("below", ["", "images1024x1024"])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("part", ["all", "training", "validation"])
@pytest.mark.usefixtures("small_ffhq")
def test_ffhq_is_known_by_its_names(below: str, nested: bool, part: Any, tmp_path: Path) -> None:  # noqa: ANN401
    root = tmp_path / "ffhq"
    write_folder(root / below, faces(range(70), nested))
    if below:
        write_folder(root / "thumbnails128x128", faces(range(70)))
    data = ImageFolder(str(root), image_size=16, part=part)
    numbers = {"all": range(70), "training": range(60), "validation": range(60, 70)}[part]
    assert [name[-9:-4] for name in real(data)] == [f"{number:05d}" for number in numbers]
    words = "FFHQ" if part == "all" else f"FFHQ, {part} part"
    assert data.protocol.startswith(f"{words}, compared with the first {len(numbers)} of its {len(numbers)} ")


@pytest.mark.usefixtures("small_ffhq")
def test_ffhq_in_a_zip_and_partly(tmp_path: Path) -> None:
    content = {f"images1024x1024/{name}": each for name, each in faces(range(70)).items()}
    assert len(real(ImageFolder(str(write_zip(tmp_path / "whole", content)), image_size=16))) == 70
    partial = write_folder(tmp_path / "partial", faces([0, 1, 5, 69]))
    data = ImageFolder(str(partial), image_size=16, allow_partial=True)
    assert [name[-9:-4] for name in real(data)] == ["00000", "00001", "00005", "00069"]


@pytest.mark.usefixtures("small_ffhq")
def test_ffhq_prepared_as_cips_does(tmp_path: Path) -> None:
    whole = write_cips(tmp_path / "whole", faces(range(70)))
    data = ImageFolder(str(whole), image_size=16, layout="ffhq", part="validation")
    assert list(real(data)) == [f"{number:07d}" for number in range(60, 70)]
    partial = write_cips(tmp_path / "partial", faces(range(69)))
    with pytest.raises(UserError, match=r"FFHQ: 69 of 70 images under .*; first missing 0000069\. Set "):
        ImageFolder(str(partial), image_size=16, layout="ffhq").check()


@pytest.mark.usefixtures("small_ffhq")
def test_a_few_numbered_pictures_are_no_faces(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "mine", faces(range(12), nested=False))
    assert ImageFolder(str(root), image_size=16).protocol.startswith(
        "mine, compared with the first 12 of its 12 "
    )
    nested = write_folder(tmp_path / "nested", faces(range(12)))
    assert len(real(ImageFolder(str(nested), image_size=16, layout="plain"))) == 12


def test_lsun_and_cips_are_known_by_their_keys(tmp_path: Path) -> None:
    lsun, cips = (
        write_lsun(tmp_path / "church_train_lmdb", pictures(3)),
        write_cips(tmp_path / "16", pictures(3)),
    )
    assert ImageFolder(str(lsun), image_size=16).protocol.startswith("LSUN, compared")
    assert ImageFolder(str(lsun), image_size=16, layout="lsun").protocol.startswith("LSUN, compared")
    assert ImageFolder(str(cips), image_size=16).protocol.startswith(f"{tmp_path.name}/16, compared")


# Prepared sets.


def prepared(root: Path, to: str, finished: bool = True) -> Path:
    source = write_folder(root / "photographs", {f"{i}.png": encoded(noise(i, 40, 50)) for i in range(3)})
    preparation = Preparation.of("cips", [16, 32], to=to, quality=90)
    prepare_images(source, root / "out", preparation, tell=lambda _: None)
    if not finished:
        file = root / "out" / "preparation.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"finished": False}))
    return root / "out"


@pytest.mark.parametrize(("to", "place"), [("folder", "16"), ("zip", "16.zip"), ("lmdb", "16")])
def test_a_prepared_set_says_how_it_was_made(to: str, place: str, tmp_path: Path) -> None:
    out = prepared(tmp_path, to)
    data = ImageFolder(str(out / place), image_size=16, crop="centre")
    assert len(real(data)) == 3
    assert data.protocol.endswith(
        "; 16 x 16 pixels, prepared by the recipe cips with another "
        + ("quality" if to == "lmdb" else "quality and to")
        + " (bilinear, crop none, jpeg quality 90), their middle"
    )
    whole = ImageFolder(str(out), image_size=16)
    with pytest.raises(UserError) as caught:
        whole.check()
    assert str(caught.value) == (
        f"{out} (option data.root) holds prepared sets of the sizes 16, 32; set data.root to one of them: "
        f"{out / place}, {out / place.replace('16', '32')}"
    )


def test_half_a_preparation_is_refused(tmp_path: Path) -> None:
    out = prepared(tmp_path, "folder", finished=False)
    with pytest.raises(UserError) as caught:
        ImageFolder(str(out / "16"), image_size=16, crop="centre").check()
    assert str(caught.value) == (
        f"{out}/16 is part of a preparation that has not finished ({out}/preparation.json); repeat its `repsynth data "
        "prepare-images`, which goes on where it stopped"
    )


def test_another_file_of_that_name_is_none_of_ours(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "16", pictures(3))
    (tmp_path / "preparation.json").write_text("[]")
    assert "; 16 x 16 pixels, as stored, not cropped" in ImageFolder(str(root), image_size=16).protocol


def test_an_experiment_names_its_options(tmp_path: Path) -> None:
    from repsynth.cli.data_check import build_data
    from repsynth.datamodules.inspection import inspect

    root = write_folder(tmp_path / "set", {f"{i}.png": encoded(noise(i, 32, 40)) for i in range(6)})
    options = {"root": str(root), "image_size": 16, "crop": "random", "resize": "lanczos", "patch_size": 8}
    experiment = {
        "model": {"class_path": "repsynth.modules.stereo_baselines.module.NearestView"},
        "data": {"class_path": "repsynth.datamodules.image_folder.ImageFolder", "init_args": options},
    }
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(experiment))
    data = build_data(file, ["--data.patch_scales", "1"])
    assert isinstance(data, ImageFolder) and data.patch_size == 8 and data.patches.scales == 1
    report = inspect(data, None, 0, False, lambda *_: None)
    assert report.problems == [] and report.parts["train"].sizes == {"8 x 8": 6}
    with pytest.raises(UserError, match=r"crop.* expects 'none' or 'centre' or 'random', but got 'middle'"):
        build_data(file, ["--data.crop", "middle"])


def test_a_picture_decodes_to_where_the_batch_will_be(tmp_path: Path) -> None:
    content = pictures(2, 16, "jpeg")
    data = ImageFolder(str(write_folder(tmp_path / "set", content)), image_size=16, mirror=False)
    patches = data.train_dataset()
    room = np.zeros((3, 16, 16), dtype=np.uint8)
    image = patches.source.read(SampleKey(0, 0), room)  # type: ignore[attr-defined]
    assert image.pixels is room and np.array_equal(room, decoded(content[image.name]).numpy())
