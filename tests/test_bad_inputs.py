"""What a user can get wrong, through the command line: one sentence each, exit code 2, and nothing touched."""

import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datamodules.llff_folder import write_capture
from PIL import Image

from repsynth.checkpoints import write
from repsynth.cli import main

_LLFF = Path(__file__).parents[1] / "experiments" / "stereolayers" / "llff.yaml"
_FIRST, _HELD_OUT = "garden/images_8/image001.png", "garden/images_8/image000.png"
_POSES, _MODEL = "garden/poses_bounds.npy", "garden/sparse/0"
_LAST = Path("run/checkpoints/last.ckpt")

Spoil = Callable[[], object]
"""Breaks something in the current folder, which holds the capture `garden` and nothing else."""


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures") / "garden"
    write_capture(folder)
    for file in (folder / "images_8").iterdir():  # at least the 64 x 64 pixels that StereoLayers needs
        Image.open(file).resize((128, 96)).save(file)
    return folder


@pytest.fixture
def place(
    tmp_path: Path,
    capture: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    shutil.copytree(capture, tmp_path / "garden")
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nothing() -> None:
    pass


def cut(name: str, part: float = 0.6) -> Spoil:
    return lambda: Path(name).write_bytes(Path(name).read_bytes()[: int(Path(name).stat().st_size * part)])


def poses(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    return lambda: np.save(_POSES, change(np.load(_POSES)))


def with_value(row: int, column: int, value: float) -> Spoil:
    def change(rows: np.ndarray) -> np.ndarray:
        rows[row, column] = value
        return rows

    return poses(change)


def resaved(change: Callable[[Image.Image], Image.Image], name: str = "*.png", **options: object) -> Spoil:
    def spoil() -> None:
        for file in Path("garden/images_8").glob(name):
            change(Image.open(file)).save(file, **options)

    return spoil


def in_cmyk() -> None:
    file = Path(_HELD_OUT)
    Image.open(file).convert("CMYK").save(file.with_suffix(".jpg"))
    file.unlink()


def turned() -> Spoil:
    exif = Image.Exif()
    exif[0x0112] = 6
    return resaved(lambda picture: picture, "image004.png", exif=exif)


def overlong() -> None:
    points = Path(_MODEL, "points3D.bin")
    points.write_bytes(points.read_bytes() + b"\0")


def unknown_camera_model() -> None:
    file = Path(_MODEL, "cameras.bin")
    file.write_bytes(struct.pack("<Q", 1) + struct.pack("<iiQQ4d", 1, 77, 512, 384, 1, 1, 1, 0))


def checkpoint(path: Path = _LAST, samples: int = 8, **content: object) -> Spoil:
    state = {
        "state_dict": {"layer.weight": torch.ones(2)},
        "optimizer_states": [],
        "callbacks": {"Determinism": {"samples_seen": samples}},
    }
    return lambda: write(state | content, path)


def then(*spoils: Spoil) -> Spoil:
    return lambda: [spoil() for spoil in spoils]


def in_the_way() -> None:
    Path("run").write_text("a file")


FIT = ["fit"]
CHECK = ["validate", "--ckpt_path=none"]
# What breaks, the command, and its whole answer; * stands for the words of another library.
BAD: dict[str, tuple[Spoil, list[str], str]] = {
    # Configuration.
    "key": (
        nothing,
        [*FIT, "--model.layerz=3"],
        (
            "unknown option 'model.init_args.layerz' (on the command line): StereoLayers has no "
            "'layerz'; did you mean 'layers'?"
        ),
    ),
    "type": (
        nothing,
        [*FIT, "--data.image_size=64"],
        (
            "option 'data.init_args.image_size' (on the command line) expects [a whole number, a whole "
            "number], but got '64'"
        ),
    ),
    "value": (nothing, [*FIT, "--data.near_depth=0"], "data.near_depth is 0.0; expected a depth above 0"),
    "image side": (
        nothing,
        [*FIT, "--data.image_size=[48, 48]"],
        (
            "The geometry network with levels=1 needs image sides that are multiples of 64, but gets "
            "48x48; change data.image_size, or model.geometry_levels (levels=0 needs multiples of 32)."
        ),
    ),
    "class": (
        nothing,
        [*FIT, "--trainer.callbacks+=repsynth.callbacks.evaluation.Evaluatoin"],
        (
            "unknown class 'repsynth.callbacks.evaluation.Evaluatoin' for "
            "trainer.callbacks[6].class_path (on the command line): module repsynth.callbacks.evaluation "
            "has no 'Evaluatoin'; did you mean 'Evaluation'?"
        ),
    ),
    "no such file": (
        nothing,
        [*FIT, "--config=llfff.yaml"],
        (
            "llfff.yaml: no such configuration file (option --config); `repsynth list` shows the "
            "experiments that there are"
        ),
    ),
    "device": (
        nothing,
        [*FIT, "--trainer.devices=0"],
        "the section 'trainer' of the configuration was refused: *devices*",
    ),
    # Data on disk.
    "missing folder": (
        nothing,
        [*FIT, "--data.root=gardn"],
        (
            "LLFF: no folder at gardn (option data.root). Expected <scene>/{poses_bounds.npy, "
            "images_8/*.png}, or such a scene itself. See docs/data/llff.md for how to get it."
        ),
    ),
    "no poses": (
        lambda: Path(_POSES).unlink(),
        CHECK,
        (
            "LLFF: found 0 usable val scenes under garden: 2 without poses_bounds.npy. First: images_8. "
            "Expected <scene>/{poses_bounds.npy, images_8/*.png}, or such a scene itself. See "
            "docs/data/llff.md"
        ),
    ),
    "a picture too few": (
        lambda: Path(_FIRST).unlink(),
        CHECK,
        (
            "LLFF: garden: 9 images in garden/images_8 but 10 rows in poses_bounds.npy; they belong "
            "together by their sorted order, so the numbers must agree: complete the folder"
        ),
    ),
    "no pictures": (
        lambda: shutil.rmtree("garden/images_8"),
        CHECK,
        (
            "LLFF: garden: no pictures under garden; expected images, images_4 or images_8 with png or "
            "jpg files"
        ),
    ),
    # Cameras.
    "poses cut": (
        cut(_POSES),
        CHECK,
        ("LLFF: garden: garden/poses_bounds.npy cannot be read (*); expected a NumPy file of shape [N, 17]"),
    ),
    "poses of another format": (
        poses(lambda rows: rows[:, :14]),
        CHECK,
        (
            "LLFF: garden: poses_bounds.npy is [10, 14], expected [N, 17]; a [N, 14] or [N, 20] file is "
            "another format"
        ),
    ),
    "poses with NaN": (
        with_value(3, 2, np.nan),
        CHECK,
        "LLFF: garden: poses_bounds.npy has NaN or infinite numbers in row 3; make the poses anew",
    ),
    "poses with pickled objects": (
        lambda: np.save(_POSES, np.array([{}], dtype=object)),
        CHECK,
        ("LLFF: garden: garden/poses_bounds.npy cannot be read (*); expected a NumPy file of shape [N, 17]"),
    ),
    "bounds": (
        with_value(2, 15, -1),
        CHECK,
        ("LLFF: garden: poses_bounds.npy has the bounds -1 and 9.36466 in row 2; expected 0 < near < far"),
    ),
    "points cut": (
        cut(f"{_MODEL}/points3D.bin"),
        CHECK,
        (
            "garden/sparse/0/points3D.bin: is no whole COLMAP file of 7084 bytes (its entries go on "
            "after its end); copy it again or export the model in binary form"
        ),
    ),
    "points overlong": (
        overlong,
        CHECK,
        (
            "garden/sparse/0/points3D.bin: is no whole COLMAP file of 11809 bytes (1 bytes follow its "
            "last entry); copy it again or export the model in binary form"
        ),
    ),
    "points of an empty file": (
        cut(f"{_MODEL}/points3D.bin", 0),
        CHECK,
        (
            "garden/sparse/0/points3D.bin: is no whole COLMAP file of 0 bytes (its entries go on after "
            "its end); copy it again or export the model in binary form"
        ),
    ),
    "camera model": (
        unknown_camera_model,
        CHECK,
        "garden/sparse/0/cameras.bin: camera 1 has the unknown model 77; expected 0 to 10",
    ),
    # Images.
    "picture cut": (
        cut(_HELD_OUT),
        CHECK,
        ("garden/images_8/image000.png: cannot be decoded (*); replace the damaged file or remove it"),
    ),
    "picture in CMYK": (
        in_cmyk,
        CHECK,
        (
            "garden/images_8/image000.jpg: has the colour mode CMYK, expected RGB, grey or palette; "
            "convert the file or set data.convert_colours: true"
        ),
    ),
    "picture with transparency": (
        resaved(lambda p: p.convert("RGBA"), "image000.png"),
        CHECK,
        (
            "garden/images_8/image000.png: has the colour mode RGBA, expected RGB, grey or palette; "
            "convert the file or set data.convert_colours: true"
        ),
    ),
    "pictures too small": (
        resaved(lambda p: p.resize((40, 30))),
        CHECK,
        (
            "garden/images_8/image000.png is 40x30 (width x height), smaller than data.image_size 64x64; "
            "lower data.image_size or set data.on_small: skip"
        ),
    ),
    "picture turned": (
        turned(),
        CHECK,
        (
            "garden/images_8/image004.png: has the EXIF orientation 6, but its camera belongs to the "
            "pixels as stored, expected 1; remove the tag if the cameras were made from the stored "
            "pixels, else turn the pixels and make them anew"
        ),
    ),
    "no picture": (
        lambda: Path(_FIRST).write_text("hello"),
        CHECK,
        ("garden/images_8/image001.png: cannot be decoded (*); replace the damaged file or remove it"),
    ),
    # Checkpoints.
    "checkpoint missing": (
        nothing,
        [*FIT, "--ckpt_path=a.ckpt"],
        "a.ckpt: no such checkpoint; name a file, or best, last or none (--ckpt_path)",
    ),
    "no checkpoint yet": (
        nothing,
        ["test"],
        (
            "test finds no checkpoint in run/checkpoints (trainer.default_root_dir); train first, name a "
            "file with --ckpt_path, or take the initial weights with --ckpt_path none"
        ),
    ),
    "checkpoint empty": (
        lambda: Path("a.ckpt").touch(),
        [*FIT, "--ckpt_path=a.ckpt"],
        (
            "the checkpoint a.ckpt is damaged (it is empty): use another file of its folder, or "
            "--resume, which takes the newest good one"
        ),
    ),
    "checkpoint cut": (
        then(checkpoint(Path("a.ckpt")), cut("a.ckpt")),
        [*FIT, "--init_from=a.ckpt"],
        (
            "the checkpoint a.ckpt is damaged (it has no whole zip archive): use another file of its "
            "folder, or --resume, which takes the newest good one"
        ),
    ),
    "checkpoint of another method": (
        checkpoint(Path("a.ckpt"), method="repsynth.modules.other.Other"),
        ["test", "--ckpt_path=a.ckpt"],
        (
            "the checkpoint a.ckpt belongs to repsynth.modules.other.Other, this experiment trains "
            "repsynth.modules.stereolayers.module.StereoLayers: give a checkpoint of the same method"
        ),
    ),
    "checkpoint of other networks": (
        checkpoint(Path("a.ckpt")),
        [*FIT, "--ckpt_path=a.ckpt"],
        (
            "the checkpoint a.ckpt does not fit the networks of this experiment (130 weights are "
            "missing, first generator.geometry_network.conv1.conv.bias; 1 are unknown, first "
            "layer.weight): use the configuration that it was trained with (config.yaml beside its "
            "folder)"
        ),
    ),
    "checkpoint of something else": (
        lambda: torch.save([1], "a.ckpt"),
        [*FIT, "--init_from=a.ckpt"],
        "a.ckpt is not a checkpoint of repsynth (it has no 'state_dict'): give another file",
    ),
    "checkpoint with code": (
        lambda: torch.save({"state_dict": {}, "path": Path("x")}, "a.ckpt"),
        [*FIT, "--ckpt_path=a.ckpt"],
        (
            "the checkpoint a.ckpt holds objects other than tensors, numbers and text, and loading them "
            "could run foreign code: give a checkpoint that repsynth wrote"
        ),
    ),
    "second start": (
        checkpoint(),
        FIT,
        (
            "run/checkpoints already holds the checkpoints of a run (last.ckpt), and a second run would "
            "mix with it: go on with it (--resume), or choose another folder (trainer.default_root_dir)"
        ),
    ),
    "back behind the newest": (
        then(checkpoint(), checkpoint(_LAST.with_name("best.ckpt"), 4)),
        [*FIT, "--ckpt_path=best"],
        (
            "run/checkpoints/best.ckpt was saved after 4 samples, but run/checkpoints/last.ckpt of the "
            "same run after 8, and training from the older one would mix two runs: go on with --resume, "
            "or choose another folder (trainer.default_root_dir)"
        ),
    ),
    # Output.
    "a file in the way": (
        in_the_way,
        FIT,
        (
            "the output folder run cannot be written (Not a directory): choose another with "
            "trainer.default_root_dir, or change its permissions"
        ),
    ),
}


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def run(words: list[str]) -> int:
    verb, *options = words
    shared = ["--config", str(_LLFF), "--trainer.default_root_dir=run", "--trainer.accelerator=cpu"]
    small = ["--data.root=garden", "--data.image_size=[64, 64]", "--data.num_workers=0"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    return main([verb, *shared, *small, *quiet, *options])


@pytest.mark.parametrize("name", BAD)
def test_a_bad_input_gets_its_sentence(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, words, sentence = BAD[name]
    spoil()
    before = contents(place)
    assert run(words) == 2
    pattern = "".join(".*" if part == "*" else re.escape(part) for part in re.split(r"(\*)", sentence))
    told = capsys.readouterr().err.replace(f"{place}/", "")
    assert re.fullmatch(f"error: {pattern}\n", told), told
    assert contents(place) == before


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_breaks_off_is_named_when_it_is_read(
    workers: int, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its head is whole, and the checks before decode only three pictures of a scene."""
    cut("garden/images_8/image008.png")()
    checkpoint()()
    before = contents(Path("run/checkpoints"))
    assert run([*CHECK, f"--data.num_workers={workers}"]) == 2
    *_, last = capsys.readouterr().err.replace(f"{place}/", "").splitlines()
    assert last.startswith("error: garden/images_8/image008.png: cannot be decoded (")
    assert last.endswith("); replace the damaged file or remove it")
    assert contents(Path("run/checkpoints")) == before
