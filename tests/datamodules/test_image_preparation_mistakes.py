"""The sentence for every mistake with `repsynth data prepare-images`."""

import errno
import fcntl
import json
import os
import re
import signal
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repsynth.cli import main
from repsynth.datamodules import lmdb_target, preparation_targets, preparation_work

Spoil = Callable[[], object]
Patch = Callable[[pytest.MonkeyPatch], object]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `photos` of six pictures of 40 x 30 in the folder where the command runs."""
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    (folder / "photos").mkdir(parents=True)
    monkeypatch.chdir(folder)
    rng = np.random.default_rng(1)
    for number in range(6):
        pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
    return folder


def run(*words: str) -> int:
    return main(["data", "prepare-images", *words])


def nothing() -> None:
    pass


def prepared(*options: str) -> Spoil:
    return lambda: run("photos", "out", "--size=20", "--workers=0", *options)


def written(name: str, content: bytes = b"") -> Spoil:
    def spoil() -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content)

    return spoil


def then(*spoils: Spoil) -> Spoil:
    return lambda: [spoil() for spoil in spoils]


def empty_folder() -> None:
    Path("empty").mkdir()


def with_alpha() -> None:
    Image.new("RGBA", (40, 30)).save("photos/4.png")


def small() -> None:
    for name in ("2", "5"):
        Image.new("RGB", (25, 19)).save(f"photos/{name}.png")


def long() -> None:
    Image.new("RGB", (21_000, 10)).save("photos/4.png")


def leading_out() -> None:
    with zipfile.ZipFile("set.zip", "w") as archive:
        archive.writestr("/1.png", Path("photos/1.png").read_bytes())


def torn_out() -> None:
    """A stop at a picture that is cut off, then another one changes."""
    Path("photos/3.png").write_bytes(Path("photos/3.png").read_bytes()[:-500])
    prepared()()
    os.utime("photos/1.png", (1, 1))


def pillow_of_old() -> None:
    prepared()()
    record = json.loads(Path("out/preparation.json").read_text())
    record["libraries"] = {"pillow": "9.0.0"}
    Path("out/preparation.json").write_text(json.dumps(record))


def changed() -> None:
    prepared()()
    os.utime("photos/2.png", (1, 1))


BASIC = ("photos", "out", "--size=20", "--workers=0")
KEPT = "choose another TARGET or make room, then start again: what is there is kept"

MISTAKES: dict[str, tuple[Spoil, tuple[str, ...], str]] = {
    "no size": (
        nothing,
        ("photos", "out"),
        "repsynth data prepare-images: the following arguments are required: --size",
    ),
    "sizes with a comma": (
        nothing,
        ("photos", "out", "--size", "10,20"),
        "repsynth data prepare-images: argument --size: invalid int value: '10,20'",
    ),
    "small size": (nothing, (*BASIC, "--size=7"), "--size is 7; expected 8 to 16383 pixels"),
    "large size": (nothing, (*BASIC, "--size=16384"), "--size is 16384; expected 8 to 16383 pixels"),
    "size twice": (nothing, (*BASIC, "--size", "20", "20"), "--size has 20 twice; expected each size once"),
    "quality": (nothing, (*BASIC, "--quality=101"), "--quality is 101; expected 1 to 100"),
    "quality of png": (
        nothing,
        (*BASIC, "--recipe=repsynth", "--quality=90"),
        "--quality 90 is one of jpeg, and png loses nothing; leave it out or use --format jpeg",
    ),
    "workers": (nothing, (*BASIC, "--workers=-1"), "--workers is -1; expected 0 or more"),
    "unknown option": (
        nothing,
        (*BASIC, "--colour", "red"),
        "repsynth data prepare-images: unrecognized arguments: --colour red (see `repsynth data prepare-images "
        "--help`)",
    ),
    "no source": (
        nothing,
        ("nowhere", "out", "--size=20"),
        "prepare-images: no folder or archive at nowhere (option SOURCE)",
    ),
    "empty source": (
        empty_folder,
        ("empty", "out", "--size=20"),
        "prepare-images: 0 files under empty but no image (suffixes: .jpg .jpeg .png .webp)",
    ),
    "target is a file": (
        written("out"),
        BASIC,
        "out (TARGET) is a file; expected a folder, which need not be there yet",
    ),
    "target in source": (
        nothing,
        ("photos", "photos/new", "--size=20"),
        "photos/new (TARGET) lies in SOURCE photos, where its pictures would be read as more of the source; choose a "
        "folder outside",
    ),
    "target is source": (
        nothing,
        ("photos", "photos", "--size=20"),
        "photos (TARGET) lies in SOURCE photos, where",
    ),
    "source in output": (
        written("out/20/x.png"),
        ("out/20", "out", "--size=20"),
        "out/20 (SOURCE) lies where --size 20 is written; choose another TARGET",
    ),
    "source below output": (
        written("out/20/a/x.png"),
        ("out/20/a", "out", "--size=20"),
        "out/20/a (SOURCE) lies where --size 20 is written; choose another TARGET",
    ),
    "foreign output": (
        written("out/20/x.png"),
        BASIC,
        "out/20 is there already without a preparation.json beside it, and --size 20 would go there; choose "
        "another TARGET or remove it",
    ),
    "foreign archive": (
        written("out/20.zip"),
        (*BASIC, "--to=zip"),
        "out/20.zip is there already without a preparation.json beside it, and --size 20 would go there; choose "
        "another TARGET or remove it",
    ),
    "another preparation": (
        prepared(),
        (*BASIC, "--crop=centre", "--size", "20", "24"),
        "out/preparation.json is of another preparation: crop was none, is centre; sizes was 20, is 20 24; choose "
        "another TARGET, or remove this one to make it anew",
    ),
    "other files": (
        changed,
        BASIC,
        "out/preparation.json is of another preparation: the files of {here}/photos were others; choose another "
        "TARGET, or remove this one to make it anew",
    ),
    "other files than the one to mend": (
        torn_out,
        BASIC,
        "out/preparation.json is of another preparation: the files of {here}/photos were others; choose",
    ),
    "another Pillow": (
        pillow_of_old,
        BASIC,
        f"out/preparation.json is of another preparation: libraries was pillow 9.0.0, is pillow {Image.__version__} ",
    ),
    "no record": (
        written("out/preparation.json", b"{}"),
        BASIC,
        "out/preparation.json cannot be read as the record of a preparation (",
    ),
    "damaged record": (
        written("out/preparation.json", b"{"),
        BASIC,
        "out/preparation.json cannot be read as the record of a preparation (Expecting property name",
    ),
    "small pictures": (
        small,
        BASIC,
        "2 of 6 images have a shorter side below --size 20, first photos/2.png with 25x19; take a smaller --size, "
        "leave them out of SOURCE, or pass --allow-upscale",
    ),
    "small pictures, others bad": (
        then(small, written("photos/0.png", b"text")),
        (*BASIC, "--on-bad-image=skip"),
        "2 of 6 images have a shorter side below --size 20, first photos/2.png with 25x19; take",
    ),
    "bad pictures": (
        then(written("photos/1.png", b"text"), written("photos/5.png", b"")),
        BASIC,
        "2 of 6 images cannot be used, first photos/1.png: cannot be decoded (cannot identify image file "
        "'photos/1.png'); replace the damaged file or remove it; then start again, or pass --on-bad-image skip to "
        "leave such images out",
    ),
    "only bad pictures": (
        then(*(written(f"photos/{number}.png", b"text") for number in range(6))),
        (*BASIC, "--on-bad-image=skip"),
        "6 of 6 images cannot be used, first photos/0.png: cannot be decoded (",
    ),
    "transparency": (
        with_alpha,
        (*BASIC, "--recipe=repsynth"),
        "1 of 6 images cannot be used, first photos/4.png: has the colour mode RGBA, expected RGB, grey or palette; "
        "convert the file or pass --convert-colours; then start again, or pass",
    ),
    "too long for the format": (
        long,
        ("photos", "out", "--size=8", "--format=webp-lossless", "--workers=0"),
        "image 5 of 6 cannot be used: photos/4.png: cannot be written as webp-lossless of 16800x8 (encoding "
        "error 5: Image size exceeds WebP limit of 16383 pixels); take another --format or cut it with --crop; then",
    ),
    "one name for two": (
        written("photos/3.jpg"),
        (*BASIC, "--to=folder"),
        "3.jpg and 3.png would both become 3.jpg; rename one, or use --to lmdb, which numbers pictures",
    ),
    "a name that leads out": (
        leading_out,
        ("set.zip", "out", "--size=20", "--to=folder"),
        "/1.png: the source gives a picture this name, which may lead out of TARGET; rename it, or use --to lmdb, "
        "which numbers pictures",
    ),
    "damaged LMDB": (
        then(prepared(), written("out/20/data.mdb", b"text" * 5000)),
        BASIC,
        "out/20 cannot be read as an LMDB (",
    ),
    "no folder possible": (
        written("a file"),
        ("photos", "a file/out", "--size=20"),
        f"a file/out cannot be written (Not a directory): {KEPT}",
    ),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_a_mistake_gets_one_sentence_and_changes_nothing(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, words, sentence = MISTAKES[name]
    spoil()
    capsys.readouterr()
    before = contents(place)
    assert run(*words) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert told[0].startswith("error: " + sentence.replace("{here}", str(place)))
    if name != "too long for the format":  # only known when it is written
        assert contents(place) == before


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def full(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(target: object, index: int, contents: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(preparation_targets.FolderTarget, "keep", keep)


def killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation_work.Work, "do", lambda work, index: os.kill(os.getpid(), signal.SIGKILL))


TROUBLES: dict[str, tuple[Patch, tuple[str, ...], str]] = {
    "no lmdb": (
        lambda monkeypatch: monkeypatch.setitem(sys.modules, "lmdb", None),
        BASIC,
        "--to lmdb needs the lmdb package: pip install repsynth[lmdb], or choose --to folder or zip",
    ),
    "a full disk": (
        full,
        (*BASIC, "--to=folder"),
        f"out cannot be written (No space left on device): {KEPT}",
    ),
    "a full disk, in a process": (
        full,
        (*BASIC, "--to=folder", "--workers=1"),
        f"out cannot be written (No space left on device): {KEPT}",
    ),
    "a full LMDB": (
        lambda monkeypatch: monkeypatch.setattr(lmdb_target, "_ROOM", 8192),
        BASIC,
        r"out cannot be written \(.*MDB_MAP_FULL.*\): choose another TARGET",
    ),
    "a killed process": (
        killed,
        (*BASIC, "--workers=1"),
        "a worker process of the preparation was killed, perhaps for want of memory; use fewer with --workers and "
        "start again: what is there is kept",
    ),
}


@pytest.mark.parametrize("name", list(TROUBLES))
def test_trouble_with_the_machine_gets_one_sentence(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    patch, words, sentence = TROUBLES[name]
    patch(monkeypatch)
    assert run(*words) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith(f"error: {sentence}") or re.match(f"error: {sentence}", told)


def test_two_runs_do_not_write_to_one_target(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    other = os.open("out", os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert run(*BASIC) == 2
    sentence = "another run is writing to out; wait for it, or choose another TARGET"
    assert capsys.readouterr().err.strip() == f"error: {sentence}" and not list(Path("out").iterdir())
    os.close(other)
    assert run(*BASIC) == 0


def test_fetch_frames_knows_its_options_too(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--cameras=c", "--videos=v", "--out=o", "--colour"]
    assert main(["data", "fetch-frames", *words]) == 2
    assert (
        "error: repsynth data fetch-frames: unrecognized arguments: --colour (see" in capsys.readouterr().err
    )
