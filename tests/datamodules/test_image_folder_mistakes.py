from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repsynth.datamodules.image_folder import ImageFolder
from repsynth.datamodules.samplers import SampleKey
from repsynth.errors import UserError
from tests.datamodules.image_set import FACE, faces, real, shrink_ffhq, training
from tests.datamodules.stored_sets import encoded, noise, pictures, write_cips, write_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def small_ffhq(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_ffhq(monkeypatch)


def mixed(root: Path) -> Path:
    sizes = {"1": (16, 16), "2": (16, 20), "3": (16, 64), "4": (12, 16), "5": (32, 32)}
    return write_folder(
        root / "set", {f"{name}.png": encoded(noise(int(name), *size)) for name, size in sizes.items()}
    )


def test_what_may_be_left_out_is_and_a_warning_counts_it(tmp_path: Path) -> None:
    root = mixed(tmp_path)
    data = ImageFolder(str(root), image_size=16, crop="random", on_small="skip", on_panorama="skip")
    with pytest.warns(UserWarning) as caught:
        data.check()
    assert [str(each.message) for each in caught] == [
        f"set: found 3 usable images under {root}, without 1 smaller than data.image_size (first: {root}/4.png); 1 "
        f"panoramas (first: {root}/3.png)"
    ]
    assert list(real(data)) == ["1.png", "2.png", "5.png"]
    kept = ImageFolder(str(root), image_size=12, crop="random", on_panorama="keep")
    assert len(real(kept)) == 5


def unreadable(root: Path, count: int, bad: list[int], head: bool) -> Path:
    content = {f"{i:03d}.png": encoded(noise(i)) for i in range(count)}
    for number in bad:
        whole = content[f"{number:03d}.png"]
        content[f"{number:03d}.png"] = whole[:10] if head else whole[:300]
    return write_folder(root / "set", content)


def test_unreadable_heads_are_left_out_of_both_sets(tmp_path: Path) -> None:
    root = unreadable(tmp_path, 150, [7], head=True)
    data = ImageFolder(str(root), image_size=16, on_bad_image="skip", batch_size=50)
    with pytest.warns(
        UserWarning, match=r"found 149 usable images under .*, without 1 unreadable \(first: .*007"
    ):
        data.check()
    assert "007.png" not in real(data) and len(real(data)) == 149
    assert sum(len(batch["ids"]) for batch in training(data)) == 100


def test_pictures_that_cannot_be_decoded_are_replaced_in_training_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = unreadable(tmp_path, 150, [7], head=False)
    data = ImageFolder(str(root), image_size=16, on_bad_image="skip", batch_size=50)
    data.check()
    seen = [name for batch in training(data) for name in batch["ids"]]
    assert len(seen) == 150 and "007.png" not in seen
    assert capsys.readouterr().err.startswith(
        f"skipped (data.on_bad_image: skip): {root}/007.png: cannot be decoded"
    )
    with pytest.raises(UserError, match=r"007\.png: cannot be decoded"):
        real(data)
    strict = ImageFolder(str(root), image_size=16, batch_size=50)
    with pytest.raises(UserError, match=r"007\.png: cannot be decoded"):
        training(strict)


def test_too_many_that_cannot_be_decoded_stop_the_run(tmp_path: Path) -> None:
    root = unreadable(tmp_path, 150, list(range(0, 150, 10)), head=False)
    data = ImageFolder(str(root), image_size=16, on_bad_image="skip", batch_size=50)
    with pytest.raises(
        UserError, match=r"\d+ of \d+ examples had unreadable pictures, more than 1%; The last one: "
    ):
        training(data, 2)


def test_a_picture_that_changes_during_a_run_is_told(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", pictures(3))
    data = ImageFolder(str(root), image_size=16)
    data.check()
    (root / "a" / "00.png").write_bytes(encoded(noise(1, 18, 16)))
    with pytest.raises(UserError) as caught:
        data.real_images("val")[SampleKey(0, 0)]
    assert str(caught.value) == (
        f"{root}/a/00.png: is 16x18 (width x height) now, which it was not when the set was looked at; leave the set "
        "alone while it is in use and start again"
    )


def small(root: Path) -> Path:
    return write_folder(root / "set", {"a.png": encoded(noise(1, 12, 16)), "b.png": FACE, "c.png": FACE})


def wide(root: Path) -> Path:
    return write_folder(root / "set", {"a.png": encoded(noise(1, 16, 41)), "b.png": FACE, "c.png": FACE})


def large(root: Path) -> Path:
    return write_folder(root / "set", {"a.png": encoded(noise(1, 20, 40)), "b.png": FACE, "c.png": FACE})


def one(root: Path) -> Path:
    return write_folder(root / "set", {"a.png": FACE})


def transparent(root: Path) -> Path:
    return write_folder(
        root / "set", {"a.png": encoded(np.zeros((16, 16, 4), dtype=np.uint8)), "b.png": FACE}
    )


def two_sizes(root: Path) -> Path:
    return write_folder(root / "set", {f"{size}/{name}": FACE for size in "ab" for name in faces(range(70))})


Fault = tuple[Callable[[Path], Path], dict[str, Any], str]
FAULTS: dict[str, Fault] = {
    "too small": (
        small,
        {"crop": "random"},
        "{root}/set/a.png is 16x12 (width x height), smaller than data.image_size 16, like 1 of 3 pictures; lower "
        "data.image_size or set data.on_small: skip",
    ),
    "panorama": (
        wide,
        {"crop": "random"},
        "{root}/set/a.png is 41x16 (width x height), a panorama (1 of 3 pictures are longer than 2.5 times their "
        "shorter side), of which a square shows little; set data.on_panorama: skip to leave them out or keep to "
        "use them",
    ),
    "another size": (
        large,
        {},
        "{root}/set/a.png is 40x20 (width x height), expected 16x16 (data.image_size), which 1 of 3 pictures are not; "
        "prepare the set with `repsynth data prepare-images`, or set data.crop and data.resize",
    ),
    "no square": (
        large,
        {"resize": "lanczos"},
        "{root}/set/a.png is 40x20 (width x height), no square (1 of 3 pictures are none); set data.crop to centre or "
        "random",
    ),
    "too large for the middle": (
        large,
        {"crop": "centre"},
        "{root}/set/a.png is 40x20 (width x height), but data.crop: centre expects a shorter side of 16 "
        "(data.image_size), which 1 of 3 pictures have not; prepare the set with `repsynth data prepare-images`, or "
        "set data.resize to a filter",
    ),
    "unreadable head": (
        lambda root: unreadable(root, 5, [2], head=True),
        {},
        "{root}/set/002.png: cannot be decoded (cannot identify image file {root}/set/002.png); replace the damaged "
        "file or remove it (1 of 5 pictures cannot be used; data.on_bad_image: skip leaves out up to 1%)",
    ),
    "many unreadable heads": (
        lambda root: unreadable(root, 50, [2], head=True),
        {"on_bad_image": "skip"},
        "1 of 50 pictures cannot be used, more than 1%; the first: {root}/set/002.png: cannot be decoded (cannot "
        "identify image file {root}/set/002.png); replace the damaged file or remove it",
    ),
    "transparency": (
        transparent,
        {},
        "{root}/set/a.png: has the colour mode RGBA, expected RGB, grey or palette; convert the file or set "
        "data.convert_colours: true (1 of 2 pictures cannot be used; data.on_bad_image: skip leaves out up to 1%)",
    ),
    "too few": (
        one,
        {},
        "set: found 1 usable images under {root}/set; data.min_items wants 2: add pictures, or see docs/data/images.md",
    ),
    "none left": (
        small,
        {"image_size": 17, "crop": "random", "on_small": "skip"},
        "set: found 0 usable images under {root}/set, without 3 smaller than data.image_size (first: "
        "{root}/set/a.png); data.min_items wants 2: add pictures, or see docs/data/images.md",
    ),
    "faces missing": (
        lambda root: write_folder(root / "set", faces([*range(4), *range(5, 70)])),
        {},
        "FFHQ: 69 of 70 images under {root}/set; first missing 00004. Set data.allow_partial: true to go on (figures "
        "are then not comparable).",
    ),
    "faces of a part missing": (
        lambda root: write_folder(root / "set", faces(range(61))),
        {"part": "validation"},
        "FFHQ: 1 of 10 images of the validation part under {root}/set; first missing 00061. Set data.allow_partial: "
        "true to go on (figures are then not comparable).",
    ),
    "no faces of a part": (
        lambda root: write_folder(root / "set", faces(range(60))),
        {"part": "validation", "allow_partial": True},
        "FFHQ: 0 of 10 images of the validation part under {root}/set; first missing 00060. Get it again.",
    ),
    "other names among faces": (
        lambda root: write_folder(root / "set", {**faces(range(70)), "x.png": FACE}),
        {"layout": "ffhq"},
        "FFHQ: {root}/set/x.png is not named as a picture of FFHQ; expected 00000.png to 69999.png: remove it, or "
        "set data.layout: plain if this is another set",
    ),
    "two sizes of faces": (
        two_sizes,
        {},
        "FFHQ: {root}/set/a/00000/00000.png and {root}/set/b/00000/00000.png have one number; set data.root to the "
        "folder of one size",
    ),
    "part of another set": (
        small,
        {"part": "training"},
        "data.part: training is for FFHQ, which is not what {root}/set holds; leave it out, or set data.layout: ffhq",
    ),
    "partial other set": (
        small,
        {"allow_partial": True, "layout": "plain"},
        "data.allow_partial: true is for FFHQ, which is not what {root}/set holds; leave it out, or set data.layout: "
        "ffhq",
    ),
    "LSUN that is still packed": (
        small,
        {"layout": "lsun"},
        "LSUN: {root}/set holds no data.mdb (is the zip unpacked?)",
    ),
    "LSUN that is of CIPS": (
        lambda root: write_cips(root / "set", pictures(3)),
        {"layout": "lsun"},
        "LSUN: {root}/set holds 3 pictures, but not in an LMDB of LSUN, whose keys are 40 hexadecimal digits; set "
        "data.layout: plain",
    ),
    "empty folder": (
        lambda root: write_folder(root / "set", {"a.txt": b""}),
        {},
        "images: 1 files under {root}/set but no image (suffixes: .jpg .jpeg .png .webp)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.usefixtures("small_ffhq")
def test_what_is_wrong_is_told_in_one_sentence(fault: str, tmp_path: Path) -> None:
    make, options, sentence = FAULTS[fault]
    data = ImageFolder(str(make(tmp_path)), **({"image_size": 16} | options))
    for stage in ("fit", "validate"):
        with pytest.raises(UserError) as caught:
            data.check(stage)
        assert str(caught.value).replace("'", "") == sentence.replace("{root}", str(tmp_path))
    data.check("predict")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image_size": 4}, "data.image_size is 4; expected at least 8"),
        ({"min_items": 1}, "data.min_items is 1; expected at least 2"),
        ({"real_samples": 1}, "data.real_samples is 1; expected at least 2"),
        (
            {"patch_size": 100},
            "data.patch_size is 100; expected data.image_size 256 divided by a power of two: 256, 128, 64, 32, "
            "16, 8, 4",
        ),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        ImageFolder("nowhere", **options)
    assert str(caught.value) == sentence
