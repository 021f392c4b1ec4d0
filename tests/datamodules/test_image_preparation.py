"""`repsynth data prepare-images`: exact pixels, the formats it writes, and runs that are repeated."""

import errno
import io
import json
import tarfile
import zipfile
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image, ImageOps

from repsynth.cli import main
from repsynth.datamodules import preparation_work
from repsynth.datamodules.image_preparation import prepare_images
from repsynth.datamodules.image_stores import ImageStore, open_store
from repsynth.datamodules.images import read_image
from repsynth.datamodules.preparation_recipes import Preparation
from repsynth.errors import UserError
from tests.datamodules.preparations import CONTAINERS, cut_off, tree, write_source

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "source", 6)


def run(source: Path, target: Path, *options: str) -> int:
    return main(["data", "prepare-images", str(source), str(target), "--workers=0", *options])


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def contents(store: ImageStore) -> list[bytes]:
    return [store.encoded(index) for index in range(len(store))]


def by_hand(path: Path, size: int, kind: str, crop: str) -> Image.Image:
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    width, height = picture.size
    if crop == "square":
        left, top, short = (
            (width - min(width, height)) // 2,
            (height - min(width, height)) // 2,
            min(width, height),
        )
        picture = picture.crop((left, top, left + short, top + short))
        width, height = picture.size
    new = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    picture = picture.resize(new, FILTERS[kind])
    if crop == "centre":
        left, top = (new[0] - size) // 2, (new[1] - size) // 2
        picture = picture.crop((left, top, left + size, top + size))
    return picture


# Pixels and files.


@pytest.mark.parametrize("crop", ["none", "centre", "square"])
@pytest.mark.parametrize("kind", list(FILTERS))
def test_pixels_are_those_of_pillow(kind: str, crop: str, shared_dir: Path, tmp_path: Path) -> None:
    photographs = shared_dir / "data" / "landscapes"
    options = ("--recipe=repsynth", f"--filter={kind}", f"--crop={crop}", "--size", "96", "101")
    assert run(photographs, tmp_path / "out", *options) == 0
    for path in photographs.glob("*.jpg"):
        for size in (96, 101):
            made = np.asarray(Image.open(tmp_path / "out" / str(size) / f"{path.stem}.png"))
            assert (made == np.asarray(by_hand(path, size, kind, crop))).all()


def test_upright_and_flat_pictures_turned_by_exif(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 256, (37, 53, 3), dtype=np.uint8))
    exif = Image.Exif()
    for turn in range(1, 9):
        exif[0x0112] = turn
        picture.save(folder / f"{turn}.png", exif=exif)
    picture.transpose(Image.Transpose.ROTATE_90).save(folder / "upright.png")
    for crop in ("none", "centre", "square"):
        assert run(folder, tmp_path / crop, "--recipe=repsynth", f"--crop={crop}", "--size=20") == 0
        for path in folder.iterdir():
            made = Image.open(tmp_path / crop / "20" / path.name)
            assert (np.asarray(made) == np.asarray(by_hand(path, 20, "lanczos", crop))).all(), path.name


def test_a_picture_of_the_size_keeps_its_pixels(source: Path, tmp_path: Path) -> None:
    assert run(source, tmp_path / "out", "--recipe=repsynth", "--crop=none", "--size=30") == 0
    for path in source.iterdir():
        made = np.asarray(Image.open(tmp_path / "out" / "30" / f"{path.stem}.png"))
        assert (made == np.asarray(Image.open(path))).all()


def test_the_cips_recipe_gives_the_official_files(shared_dir: Path, tmp_path: Path) -> None:
    photographs = shared_dir / "data" / "landscapes"
    assert run(photographs, tmp_path / "out", "--size", "64", "128") == 0
    for size in (64, 128):
        folder = tmp_path / "out" / str(size)
        assert [path.name for path in folder.iterdir()] == ["data.mdb"]
        with lmdb.open(str(folder), readonly=True, lock=False) as environment, environment.begin() as reading:
            entries = {bytes(key): bytes(content) for key, content in reading.cursor()}
        assert entries.pop(b"length") == b"0000005"
        assert list(entries) == [b"%07d" % number for number in range(5)]
        for content, path in zip(entries.values(), sorted(photographs.glob("*.jpg")), strict=True):
            buffer = io.BytesIO()
            by_hand(path, size, "bilinear", "none").save(buffer, "jpeg", quality=85)
            assert content == buffer.getvalue()
        store = open_store(folder)
        assert contents(store) == list(entries.values())
        assert [store.name(index) for index in range(5)] == [f"{number:07d}" for number in range(5)]


@pytest.mark.parametrize("to", CONTAINERS)
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp-lossless"])
def test_every_container_holds_every_format(kind: str, to: str, source: Path, tmp_path: Path) -> None:
    options = ("--recipe=repsynth", f"--format={kind}", f"--to={to}", "--size=20")
    assert run(source, tmp_path / "out", *options) == 0
    output = "20.zip" if to == "zip" else "20"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [output, "preparation.json"]
    made = contents(open_store(tmp_path / "out" / output))
    wanted = [by_hand(path, 20, "lanczos", "centre") for path in sorted(source.iterdir())]
    for content, picture in zip(made, wanted, strict=True):
        if kind == "jpeg":
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=95)
            assert content == buffer.getvalue()
        else:
            assert (pixels(content) == np.asarray(picture)).all()
            assert Image.open(io.BytesIO(content)).format == ("PNG" if kind == "png" else "WEBP")


def test_colour_modes_are_treated_as_by_every_data_set(tmp_path: Path) -> None:
    folder, rng = tmp_path / "in", np.random.default_rng(3)
    folder.mkdir()
    colour = Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8))
    colour.convert("L").save(folder / "grey.png")
    colour.convert("P").save(folder / "palette.png")
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(rng.integers(0, 256, (20, 20, 4), dtype=np.uint8)).save(folder / "alpha.png")
    Image.fromarray(rng.integers(0, 65536, (20, 20), dtype=np.uint16)).save(folder / "deep.png")
    assert run(folder, tmp_path / "out", "--size=20", "--format=png", "--to=folder") == 0
    for path in folder.iterdir():
        made = np.asarray(Image.open(tmp_path / "out" / "20" / f"{path.stem}.png"))
        assert (made.transpose(2, 0, 1) == read_image(path, convert=True, posed=False)).all()


@pytest.mark.parametrize("kind", ["zip", "tar", "lmdb"])
def test_archives_give_what_their_folder_gives(kind: str, source: Path, tmp_path: Path) -> None:
    packed = tmp_path / f"set.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            for path in source.iterdir():
                archive.write(path, path.name)
    elif kind == "tar":
        with tarfile.open(packed, "w") as shard:
            for path in source.iterdir():
                shard.add(path, path.name)
    else:
        with lmdb.open(str(packed)) as environment, environment.begin(write=True) as writing:
            for path in source.iterdir():
                writing.put(path.stem.zfill(40).encode(), path.read_bytes())
    for place, name in ((source, "a"), (packed, "b")):
        assert run(place, tmp_path / name, "--size=20", "--to=folder") == 0
    names = sorted(path.name for path in (tmp_path / "b" / "20").iterdir())
    assert names == [f"{'0' * 39 * (kind == 'lmdb')}{number}.jpg" for number in range(6)]
    made = [contents(open_store(tmp_path / name / "20")) for name in "ab"]
    assert made[0] == made[1]


def test_small_pictures_are_enlarged_when_asked(source: Path, tmp_path: Path) -> None:
    assert run(source, tmp_path / "out", "--recipe=repsynth", "--size=64", "--allow-upscale") == 0
    made = np.asarray(Image.open(tmp_path / "out" / "64" / "3.png"))
    assert (made == np.asarray(by_hand(source / "3.jpg", 64, "lanczos", "centre"))).all()
    assert json.loads((tmp_path / "out" / "preparation.json").read_text())["allow_upscale"]


def test_several_sizes_cost_one_decoding(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, decoding = [], preparation_work.read_stored

    def counted(store: ImageStore, index: int, convert: bool) -> np.ndarray:
        read.append(index)
        return decoding(store, index, convert)

    monkeypatch.setattr(preparation_work, "read_stored", counted)
    assert run(source, tmp_path / "out", "--size", "10", "20", "30") == 0
    assert read == list(range(6))


# The record.


def test_the_recipe_is_told_and_recorded(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(source, tmp_path / "out", "--size", "20", "10", "--crop=centre", "--quality=85", "--to=folder")
        == 0
    )
    out = tmp_path / "out"
    assert capsys.readouterr().out == (
        "recipe cips (changed: crop, to): shorter side 10, 20, filter bilinear (antialiased), crop centre, jpeg "
        f"quality 85, to folder, transparency and CMYK converted\n6 images prepared in {out / '10'}, {out / '20'}\n"
    )
    record = json.loads((out / "preparation.json").read_text())
    libraries, signature = record.pop("libraries"), record.pop("source_signature")
    assert libraries["pillow"] == Image.__version__ and len(signature) == 32
    assert record.pop("repsynth")
    assert record == {
        "recipe": "cips",
        "overrides": {"crop": "centre", "to": "folder"},
        "filter": "bilinear",
        "crop": "centre",
        "format": "jpeg",
        "quality": 85,
        "to": "folder",
        "convert_colours": True,
        "sizes": [10, 20],
        "allow_upscale": False,
        "source": str(source),
        "images": 6,
        "prepared": 6,
        "left_out": {},
        "unreadable": [],
        "finished": True,
    }
    assert sorted(path.name for path in out.iterdir()) == ["10", "20", "preparation.json"]


@pytest.mark.parametrize(
    ("options", "quality"),
    [
        (["--format=jpeg"], 95),
        (["--format=jpeg", "--quality=70"], 70),
        (["--format=png"], None),
        ([], None),
    ],
)
def test_quality_belongs_to_jpeg(
    options: list[str], quality: int | None, source: Path, tmp_path: Path
) -> None:
    assert run(source, tmp_path / "out", "--recipe=repsynth", "--size=20", *options) == 0
    assert json.loads((tmp_path / "out" / "preparation.json").read_text())["quality"] == quality


# Runs that are repeated.


@pytest.mark.parametrize("to", CONTAINERS)
def test_a_second_run_keeps_what_is_there(
    to: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--size", "10", "20", f"--to={to}")
    run(source, tmp_path / "out", *options)
    before = tree(tmp_path / "out")
    monkeypatch.setattr(preparation_work, "read_stored", lambda *rest: pytest.fail("decoded again"))
    capsys.readouterr()
    assert run(source, tmp_path / "out", *options) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["6 images were there already"]
    assert tree(tmp_path / "out") == before


def test_files_that_are_gone_or_empty_are_made_again(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--size", "10", "20", "--to=folder")
    run(source, tmp_path / "out", *options)
    before = tree(tmp_path / "out")
    (tmp_path / "out" / "10" / "2.jpg").unlink()
    (tmp_path / "out" / "20" / "4.jpg").write_bytes(b"")
    capsys.readouterr()
    assert run(source, tmp_path / "out", *options) == 0
    assert "2 images prepared in" in capsys.readouterr().out
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("to", ["folder", "zip"])
def test_a_file_is_never_there_in_part(
    to: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preparation = Preparation.of("cips", [20], to=to)
    prepare_images(source, tmp_path / "whole", preparation)
    writing = Path.write_bytes

    def half(path: Path, content: bytes) -> None:
        writing(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(UserError, match="No space left on device"):
        prepare_images(source, tmp_path / "full", preparation)
    monkeypatch.undo()
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))
    prepare_images(source, tmp_path / "full", preparation)
    assert tree(tmp_path / "full") == tree(tmp_path / "whole")


# Pictures that cannot be used.


@pytest.mark.parametrize("to", CONTAINERS)
@pytest.mark.parametrize("mend", ["replaced", "removed"])
def test_a_run_goes_on_when_the_picture_it_stopped_at_is_mended(
    mend: str, to: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, options = source / "4.jpg", ("--size", "10", "20", f"--to={to}")
    whole = cut_off(bad)
    assert run(source, tmp_path / "out", *options) == 2
    told = capsys.readouterr().err
    assert f"error: image 5 of 6 cannot be used: {bad}: cannot be decoded (" in told
    assert told.endswith(
        "); replace the damaged file or remove it; then start again, or pass --on-bad-image skip to leave such images "
        "out\n"
    )
    record = json.loads((tmp_path / "out" / "preparation.json").read_text())
    assert record["unreadable"] == ["4.jpg"] and not record["finished"]
    bad.unlink()
    if mend == "replaced":
        bad.write_bytes(whole)
    assert run(source, tmp_path / "out", *options) == 0
    prepare_images(source, tmp_path / "clean", Preparation.of("cips", [10, 20], to=to))
    assert tree(tmp_path / "out") == tree(tmp_path / "clean")


@pytest.mark.parametrize("to", CONTAINERS)
def test_pictures_that_cannot_be_used_are_left_out_and_listed(
    to: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_off(source / "1.jpg")
    (source / "3.jpg").write_bytes(b"no picture")
    options = ("--size=20", "--on-bad-image=skip", f"--to={to}")
    assert run(source, tmp_path / "out", *options) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split(": cannot")[0] for line in told[1:3]] == [
        f"left out: {source / name}" for name in ("1.jpg", "3.jpg")
    ]
    assert told[-1] == f"2 images left out, listed in {tmp_path / 'out' / 'preparation.json'}"
    record = json.loads((tmp_path / "out" / "preparation.json").read_text())
    assert list(record["left_out"]) == ["1.jpg", "3.jpg"] and record["prepared"] == 4
    left = contents(open_store(tmp_path / "out" / ("20.zip" if to == "zip" else "20")))
    (source / "1.jpg").unlink()
    (source / "3.jpg").unlink()
    prepare_images(source, tmp_path / "clean", Preparation.of("cips", [20], to="folder"))
    assert left == contents(open_store(tmp_path / "clean" / "20"))
