from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from repsynth.datamodules.image_folder import ImageFolder
from repsynth.datamodules.square_images import Square
from repsynth.errors import UserError
from tests.datamodules.image_set import real, training
from tests.datamodules.stored_sets import encoded, noise, write_folder, write_zip

NAMES = [f"{'ab'[number % 2]}/{number}" for number in range(6)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))


def classes(seed: int, height: int, width: int) -> np.ndarray:
    """Areas of 8 x 8 pixels and noise, with the number of nobody's class among them."""
    rng = np.random.default_rng(seed)
    areas = rng.integers(0, 10, (height // 8 + 1, width // 8 + 1)).repeat(8, 0).repeat(8, 1)[:height, :width]
    return np.where(areas == 9, 255, areas).astype(np.uint8)


def shown(levels: np.ndarray) -> np.ndarray:
    """The photograph whose colours are the classes of its map."""
    return np.stack([levels, 255 - levels, np.full_like(levels, 7)], -1)


def folder(root: Path, height: int = 40, width: int = 56) -> tuple[Path, Path]:
    levels = {name: classes(number, height, width) for number, name in enumerate(NAMES)}
    photographs = write_folder(
        root / "set", {f"{name}.png": encoded(shown(each)) for name, each in levels.items()}
    )
    maps = write_folder(root / "maps", {f"{name}.png": encoded(each) for name, each in levels.items()})
    return photographs, maps


@pytest.mark.parametrize("options", [{}, {"crop": "random"}, {"crop": "random", "patch_size": 8}])
@pytest.mark.parametrize("workers", [0, 2])
def test_maps_go_the_way_of_their_photographs(options: dict[str, Any], workers: int, tmp_path: Path) -> None:
    size = (40, 56) if options else (32, 32)
    photographs, maps = folder(tmp_path, *size)
    data = ImageFolder(
        str(photographs), 32, maps=str(maps), batch_size=3, num_workers=workers, seed=2, **options
    )
    data.check("fit")
    for batch in training(data, 3):
        side = options.get("patch_size", 32)
        assert batch["maps"].shape == (3, side, side) and batch["maps"].dtype == torch.int64
        assert torch.equal(batch["maps"], batch["images"][:, 0].long())
        on_device = data.on_after_batch_transfer(dict(batch), 0)
        assert on_device["maps"].dtype == torch.int64 and on_device["images"].dtype == torch.float32


def test_resized_maps_hold_classes_of_their_own(tmp_path: Path) -> None:
    photographs, maps = folder(tmp_path, 64, 80)
    data = ImageFolder(str(photographs), 32, crop="random", resize="bicubic", maps=str(maps), batch_size=2)
    for batch in training(data, 2):
        assert set(batch["maps"].unique().tolist()) <= {*range(9), 255}
        red, found = batch["images"][:, 0].long(), batch["maps"]
        # Areas are 4 x 4 pixels now; around their edges the filter mixes them.
        same = (red - found).abs() <= 1
        assert same.float().mean() > 0.2
        inner = (found[:, 1:-1, 1:-1] == found[:, :-2, :-2]) & (found[:, 1:-1, 1:-1] == found[:, 2:, 2:])
        inner &= (found[:, 1:-1, 1:-1] == found[:, :-2, 2:]) & (found[:, 1:-1, 1:-1] == found[:, 2:, :-2])
        assert (red[:, 1:-1, 1:-1] - found[:, 1:-1, 1:-1])[inner].abs().float().mean() < 8


def test_nearest_pixels_of_maps_by_hand() -> None:
    levels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    halved = Square(2, crop="random", resize="bicubic").cut_classes(levels, (0.0, 0.99))
    assert (halved == levels[1::2, 1::2][:, -2:]).all()
    assert (Square(4, crop="random").cut_classes(levels) == levels[:, 1:5]).all()


def test_a_palette_map_counts_by_its_indices(tmp_path: Path) -> None:
    photographs, maps = folder(tmp_path, 32, 32)
    picture = Image.fromarray(classes(0, 32, 32)).convert("P")
    picture.putpalette([0, 255, 0] * 256)
    picture.save(maps / "a/0.png")
    levels = np.asarray(picture)
    Image.fromarray(shown(levels)).save(photographs / "a/0.png")
    data = ImageFolder(str(photographs), 32, maps=str(maps), batch_size=2, mirror=False)
    for batch in training(data):
        assert torch.equal(batch["maps"], batch["images"][:, 0].long())


def test_without_the_option_nothing_changes(tmp_path: Path) -> None:
    photographs, maps = folder(tmp_path)
    options: dict[str, Any] = {"image_size": 32, "crop": "random", "batch_size": 2, "seed": 1}
    plain, mapped = (
        ImageFolder(str(photographs), **options),
        ImageFolder(str(photographs), maps=str(maps), **options),
    )
    for one, two in zip(training(plain), training(mapped), strict=True):
        assert "maps" not in one and one["ids"] == two["ids"] and torch.equal(one["images"], two["images"])
    assert plain.signature("val") == mapped.signature("val") and plain.protocol == mapped.protocol
    assert real(plain).keys() == real(mapped).keys()


def test_maps_are_looked_at_again_only_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs, maps = folder(tmp_path, 32, 32)
    ImageFolder(str(photographs), 32, maps=str(maps)).check("fit")

    def opened(path: Path) -> None:
        raise AssertionError(path)

    with monkeypatch.context() as patch:
        patch.setattr("repsynth.datamodules.segmentation_maps.opened", opened)
        ImageFolder(str(photographs), 32, maps=str(maps)).check("fit")
    (maps / "a/2.png").write_bytes(encoded(classes(0, 32, 40)))
    with pytest.raises(UserError, match="is 40x32"):
        ImageFolder(str(photographs), 32, maps=str(maps)).check("fit")


def unlink(maps: Path) -> None:
    (maps / "a/2.png").unlink()


def put(levels: np.ndarray, kind: str = "png") -> Callable[[Path], object]:
    return lambda maps: (maps / "a/2.png").write_bytes(encoded(levels, kind))


def halve(maps: Path) -> None:
    (maps / "a/2.png").write_bytes((maps / "a/2.png").read_bytes()[:60])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            unlink,
            "{maps}/a/2.png: no such file; expected the segmentation map of {set}/a/2.png (option data.maps); add it, "
            "or remove the photograph",
        ),
        (
            put(classes(0, 30, 32)),
            "{maps}/a/2.png is 32x30 (width x height), but its photograph {set}/a/2.png 32x32; expected maps of the "
            "photographs' sizes",
        ),
        (
            put(noise(0, 32, 32)),
            "{maps}/a/2.png: has the colour mode RGB; expected class numbers in an 8 bit grey or palette PNG (option "
            "data.maps): convert the map",
        ),
        (
            put(np.zeros((32, 32), dtype=np.uint16)),
            "{maps}/a/2.png: has the colour mode I;16; expected class numbers in an 8 bit grey or palette PNG (option "
            "data.maps): convert the map",
        ),
    ],
)
def test_maps_that_do_not_belong_are_named_before_training(
    spoil: Callable[[Path], object], sentence: str, tmp_path: Path
) -> None:
    photographs, maps = folder(tmp_path, 32, 32)
    spoil(maps)
    with pytest.raises(UserError) as raised:
        ImageFolder(str(photographs), 32, maps=str(maps)).check("fit")
    assert str(raised.value) == sentence.format(maps=maps, set=photographs)


@pytest.mark.parametrize("workers", [0, 1])
def test_maps_with_numbers_of_no_class_are_named_when_they_are_read(workers: int, tmp_path: Path) -> None:
    photographs, maps = folder(tmp_path, 32, 32)
    levels = classes(0, 32, 32)
    levels[3, 4] = 11
    (maps / "a/2.png").write_bytes(encoded(levels))
    options: dict[str, Any] = {"maps": str(maps), "batch_size": 6, "num_workers": workers}
    data = ImageFolder(str(photographs), 32, **options)
    data.check("fit")
    sentence = (
        f"{maps}/a/2.png: holds the class 11, expected 0 to 8 (data.map_classes 9) or 255 where it is not known; "
        "correct the map or data.map_classes"
    )
    with pytest.raises(UserError) as raised:
        next(iter(data.train_dataloader()))
    assert str(UserError(str(raised.value))) == sentence
    assert next(iter(ImageFolder(str(photographs), 32, map_classes=12, **options).train_dataloader()))[
        "maps"
    ].max()


def test_damaged_maps_are_named_when_they_are_read(tmp_path: Path) -> None:
    photographs, maps = folder(tmp_path, 32, 32)
    data = ImageFolder(str(photographs), 32, maps=str(maps), batch_size=6)
    data.check("fit")
    halve(maps)
    with pytest.raises(UserError, match=r"maps/a/2.png: cannot be decoded"):
        next(iter(data.train_dataloader()))


def test_a_photograph_with_a_bad_map_can_be_left_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photographs, maps = folder(tmp_path, 32, 32)
    halve(maps)
    data = ImageFolder(str(photographs), 32, maps=str(maps), batch_size=6, on_bad_image="skip")
    batch = next(iter(data.train_dataloader()))
    assert "a/2.png" not in batch["ids"] and "maps/a/2.png: cannot be decoded" in capfd.readouterr().err


def test_photographs_that_would_share_a_map_are_refused(tmp_path: Path) -> None:
    photographs, maps = folder(tmp_path, 32, 32)
    (photographs / "a/2.jpg").write_bytes(encoded(noise(0, 32, 32), "jpeg"))
    with pytest.raises(UserError) as raised:
        ImageFolder(str(photographs), 32, maps=str(maps)).check("fit")
    assert str(raised.value) == (
        f"{photographs}/a/2.jpg and {photographs}/a/2.png have the same name up to the suffix, so that both would have "
        f"the map {maps}/a/2.png (option data.maps); rename one and its map"
    )


def test_maps_stand_beside_folders_only(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "set", {"1.png": encoded(noise(1)), "2.png": encoded(noise(2))})
    with pytest.raises(UserError) as raised:
        ImageFolder(str(archive), 16, maps=str(tmp_path)).check("fit")
    assert str(raised.value) == (
        f"data.maps is {tmp_path}, but the photographs are in an archive, beside which maps have no place; unpack it "
        "to a folder, or leave data.maps out"
    )
    photographs, _ = folder(tmp_path / "other", 32, 32)
    with pytest.raises(UserError) as raised:
        ImageFolder(str(photographs), 32, maps="nowhere").check("fit")
    assert str(raised.value) == (
        "no folder at nowhere (option data.maps); expected one of maps, a .png per photograph"
    )
    with pytest.raises(UserError, match=r"data.map_classes is 1; expected at least 2"):
        ImageFolder(str(photographs), 32, map_classes=1)
