"""What a user can get wrong with RealEstate10K, each told in one whole sentence."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from repsynth.datamodules import chunk_tables
from repsynth.datamodules.realestate10k import RealEstate10K
from repsynth.datamodules.samplers import SampleKey
from repsynth.errors import UserError
from tests.datamodules.clip_folder import (
    address,
    chunk_clip,
    row,
    times,
    write_cameras,
    write_chunks,
    write_clip,
)

Spoil = Callable[[], object]
"""Breaks something in the current folder, which holds `data` with the test clips s and t and nothing else."""

_CAMERAS, _FRAMES = Path("data/cameras/test/s.txt"), Path("data/frames/test/s")
_LAYOUT = (
    "{train,test}/<id>.txt (or cameras/{train,test}/<id>.txt) with frames/{train,test}/<id>/<time stamp>.jpg, or "
    "{train,test}/{index.json, *.torch}"
)
_CHUNK = (
    "expected a list of {key, url, timestamps [N], cameras [N, 18], images: N uint8 tensors with JPEG bytes}"
)
_AGAIN = "get it again, or remove its clips from index.json"


def nothing() -> None:
    pass


def replaced(old: str, new: str) -> Spoil:
    return lambda: _CAMERAS.write_text(_CAMERAS.read_text().replace(old, new, 1))


def rewritten(*lines: str) -> Spoil:
    return lambda: _CAMERAS.write_text("\n".join([*lines, ""]))


def renamed(change: Callable[[Path], str]) -> Spoil:
    return lambda: [file.rename(file.with_name(change(file))) for file in sorted(_FRAMES.iterdir())]


def without_frames() -> None:
    Path("data/frames").rename("data/elsewhere")


def cut(name: str) -> None:
    content = Path(name).read_bytes()
    Path(name).write_bytes(content[: len(content) * 6 // 10])


def both_shapes() -> None:
    write_chunks(Path("data/test"), [chunk_clip("s")])


def index(content: object) -> Spoil:
    return lambda: Path("index.json").write_text(json.dumps(content))


def chunk(change: Callable[[dict[str, Any]], object] = lambda clip: None, index: object = None) -> Spoil:
    """Chunks instead of files."""

    def spoil() -> None:
        Path("data").rename("files")
        clip = chunk_clip("s", 6)
        change(clip)
        write_chunks(Path("data/test"), [clip])
        if index is not None:
            Path("data/test/index.json").write_text(json.dumps(index))

    return spoil


def then(*spoils: Spoil) -> Spoil:
    return lambda: [spoil() for spoil in spoils]


def in_place_of_the_chunk(content: object, **options: Any) -> Spoil:  # noqa: ANN401
    if isinstance(content, bytes):
        return then(chunk(), lambda: Path("data/test/000000.torch").write_bytes(content))
    return then(chunk(), lambda: torch.save(content, "data/test/000000.torch", **options))


def with_value(key: str, value: object) -> Spoil:
    return chunk(lambda clip: clip.update({key: value}))


def with_camera(column: int, value: float) -> Spoil:
    def change(clip: dict[str, Any]) -> None:
        clip["cameras"][2, column] = value

    return chunk(change)


INDEX = {"evaluation_index": "index.json"}
# What breaks, the options, and the whole sentence; ~ stands for the words of another library.
WRONG: dict[str, tuple[Spoil, dict[str, Any], str]] = {
    # Options.
    "match_within": (
        nothing,
        {"match_within": 33.0},
        "data.match_within is 33; expected 0 to 16 milliseconds, half a frame",
    ),
    "translation_scale": (
        nothing,
        {"translation_scale": 0.0},
        "data.translation_scale is 0; expected a factor above 0",
    ),
    "depth_range": (
        nothing,
        {"depth_range": (100.0, 1.0)},
        "data.depth_range is [100, 1]; expected 0 < near < far",
    ),
    "val_scenes": (nothing, {"val_scenes": 0}, "data.val_scenes is 0; expected at least 1"),
    "draws of an index": (
        nothing,
        {"eval_draws": 3, **INDEX},
        "data.eval_draws is 3, but data.evaluation_index gives one example per clip; set it to 1",
    ),
    "partial without index": (
        nothing,
        {"evaluation_partial": True},
        "data.evaluation_partial: true needs data.evaluation_index; name the file or leave it out",
    ),
    # Places.
    "no folder": (
        nothing,
        {"root": "nowhere"},
        f"RealEstate10K: no folder at nowhere (option data.root). Expected {_LAYOUT}. See docs/data/realestate10k.md "
        "for how to get it.",
    ),
    "nothing of the split": (
        lambda: Path("data/cameras/test").rename("data/cameras/tests"),
        {},
        "RealEstate10K: no camera files (<id>.txt) or chunks (*.torch) of the split test under data (option "
        "data.root). See docs/data/realestate10k.md",
    ),
    "no chunks": (
        nothing,
        {"format": "chunks"},
        "RealEstate10K: no chunks (*.torch) of the split test under data (option data.root). See "
        "docs/data/realestate10k.md",
    ),
    "no files": (
        lambda: Path("data/cameras").rename("data/poses"),
        {"format": "files"},
        "RealEstate10K: no camera files of the split test in data/cameras/test, data/test (option data.root); "
        "expected <id>.txt. See docs/data/realestate10k.md",
    ),
    "cameras elsewhere": (
        nothing,
        {"cameras": "poses", "format": "files"},
        "RealEstate10K: no camera files of the split test in data/poses/test (option data.cameras); expected "
        "<id>.txt. See docs/data/realestate10k.md",
    ),
    "frames elsewhere": (
        nothing,
        {"frames": "pixels"},
        "RealEstate10K: no folder at data/pixels/test (option data.frames); expected <id>/<time stamp>.jpg",
    ),
    "both shapes": (
        both_shapes,
        {},
        "RealEstate10K: the split test is there twice, as chunks in data/test and with camera files in "
        "data/cameras/test; set data.format to chunks or files",
    ),
    "no frames at all": (
        without_frames,
        {},
        "RealEstate10K: found 0 usable test scenes under data: 2 without frames. First: s. Expected "
        f"{_LAYOUT}. See docs/data/realestate10k.md",
    ),
    # Camera files.
    "a number missing": (
        replaced(f" {0:.9f} {1:.9f} {0:.9f}\n", f" {1:.9f} {0:.9f}\n"),
        {},
        f"RealEstate10K: {_CAMERAS} line 2: expected 19 numbers, found 18; expected a name or time stamp, fx fy "
        "cx cy, two zeros and a 3 x 4 world-to-camera matrix",
    ),
    "no address": (
        replaced(address("s"), "made by a tool"),
        {},
        f"RealEstate10K: {_CAMERAS} line 1: found 'made by a tool'; expected the address of the video, as in "
        "https://www.youtube.com/watch?v=ID: it tells which clips come from one video",
    ),
    "address missing": (
        replaced(address("s") + "\n", ""),
        {},
        f"RealEstate10K: {_CAMERAS} line 1: found 19 numbers where the address of the video (or another header) is "
        "expected; put one above them, or the first view would be lost",
    ),
    "shifted columns": (
        rewritten(address("s"), *(row(time, 0, lens="0.000000000") + " 0.5" for time in times(6))),
        {},
        f"RealEstate10K: {_CAMERAS} line 2: columns 6 and 7 (lens distortion) are 0 and 1, expected 0; undistort the "
        "pictures, or see whether the columns are shifted by one",
    ),
    "nan": (
        replaced("0.800000000", "nan"),
        {},
        f"RealEstate10K: {_CAMERAS} line 2: column 2 is nan; expected finite numbers: correct the row or remove "
        f"the file",
    ),
    # Frames.
    "another naming": (
        renamed(lambda file: f"frame_{file.name}"),
        {},
        f"RealEstate10K: s: none of the 12 time stamps has a frame in {_FRAMES} (first wanted: 1000000.jpg; first "
        "present: frame_1000000.png). Were the frames cut with another naming?",
    ),
    "milliseconds": (
        renamed(lambda file: f"{int(file.stem) // 1000}.png"),
        {},
        f"RealEstate10K: s: none of the 12 time stamps has a frame in {_FRAMES} (first wanted: 1000000.jpg; first "
        "present: 1000.png). Were the frames cut with another naming?",
    ),
    "two frames of one time": (
        lambda: Image.new("RGB", (32, 24)).save(_FRAMES / "1000000.jpg"),
        {},
        f"RealEstate10K: {_FRAMES} has 1000000.jpg and 1000000.png for one time stamp; remove one of them",
    ),
    "small": (
        nothing,
        {"image_size": (48, 64)},
        f"{_FRAMES}/1000000.png is 32x24 (width x height), smaller than data.image_size 64x48; lower "
        "data.image_size or set data.on_small: skip",
    ),
    # The evaluation index.
    "index missing": (
        nothing,
        INDEX,
        "index.json: the evaluation index cannot be read (No such file or directory); give its path as "
        "data.evaluation_index",
    ),
    "index of other views": (
        index({"s": {"context": [0, 3, 6], "target": [1]}}),
        INDEX,
        "index.json: s has 3 context views, but data.source_views is 2; set it to 3 or use another index",
    ),
    "index with different targets in batches": (
        index({"s": {"context": [0, 3], "target": [1]}, "t": {"context": [0, 3], "target": [1, 2]}}),
        {"eval_batch_size": 2, **INDEX},
        "index.json: clips have 1 to 2 target views, which cannot be joined to batches of data.eval_batch_size "
        "2; set it to 1",
    ),
    "index of other data": (
        index({"x": {"context": [0, 3], "target": [1]}}),
        INDEX,
        f"RealEstate10K: found 0 usable test scenes under data. Expected {_LAYOUT}. See docs/data/realestate10k.md",
    ),
    "index with clips that are not there": (
        index({"s": {"context": [0, 3], "target": [1]}, "x": {"context": [0, 3], "target": [1]}}),
        INDEX,
        "index.json: 1 of 2 clips lack frames that it names, first x (not on disk); get them, or set "
        "data.evaluation_partial: true to evaluate the others",
    ),
    "index with rows that are not there": (
        index({"s": {"context": [0, 12], "target": [1]}}),
        {"evaluation_partial": True, **INDEX},
        "index.json: s asks for row 12, but the clip has 12 rows, counted from 0; the index belongs to other camera "
        "files",
    ),
    # Chunks.
    "chunks without index": (
        then(chunk(), lambda: Path("data/test/index.json").unlink()),
        {},
        "RealEstate10K: data/test/index.json cannot be read (No such file or directory); beside chunks expected "
        "an index of them, {key: name of the chunk}: get it again",
    ),
    "index of chunks no JSON": (
        then(chunk(), lambda: Path("data/test/index.json").write_text("{")),
        {},
        "RealEstate10K: data/test/index.json is no JSON file (~); get it again",
    ),
    "index of chunks a list": (
        chunk(index=["s"]),
        {},
        "RealEstate10K: data/test/index.json: expected {key: name of the chunk}; get it again",
    ),
    "index of chunks leaves the folder": (
        chunk(index={"s": "../../secret.torch"}),
        {},
        "RealEstate10K: data/test/index.json: the chunk of s is '../../secret.torch'; expected a relative path "
        "that stays below data/test: correct it in the file",
    ),
    "chunk missing": (
        chunk(index={"s": "000001.torch"}),
        {},
        f"RealEstate10K: data/test/000001.torch is not there, but index.json names it; {_AGAIN}",
    ),
    "clip in no chunk": (
        chunk(index={"s": "000000.torch", "t": "000000.torch"}),
        {},
        "RealEstate10K: data/test/index.json: t should be in 000000.torch, which does not hold it; get the index "
        "again",
    ),
    "chunk that is none": (
        in_place_of_the_chunk(b"no archive" * 99),
        {},
        "RealEstate10K: data/test/000000.torch is no archive of torch.save (or one that is cut off, or in "
        f"torch's old form); {_AGAIN}",
    ),
    "chunk cut off": (
        then(chunk(), lambda: cut("data/test/000000.torch")),
        {},
        "RealEstate10K: data/test/000000.torch is no archive of torch.save (or one that is cut off, or in "
        f"torch's old form); {_AGAIN}",
    ),
    "chunk in torch's old form": (
        in_place_of_the_chunk([], _use_new_zipfile_serialization=False),
        {},
        "RealEstate10K: data/test/000000.torch is no archive of torch.save (or one that is cut off, or in "
        f"torch's old form); {_AGAIN}",
    ),
    "chunk with code": (
        in_place_of_the_chunk([Path("anything")]),
        {},
        f"RealEstate10K: data/test/000000.torch cannot be read as a chunk (Weights only load failed~); {_CHUNK}: "
        f"{_AGAIN}",
    ),
    "chunk of another kind": (
        in_place_of_the_chunk({"state_dict": {}}),
        {},
        f"RealEstate10K: data/test/000000.torch holds a dict; {_CHUNK}",
    ),
    "chunk without clips": (
        in_place_of_the_chunk([]),
        {},
        f"RealEstate10K: data/test/000000.torch holds a list without clips; {_CHUNK}",
    ),
    "chunk with a field missing": (
        in_place_of_the_chunk([{"key": "s", "cameras": torch.zeros(3, 18)}]),
        {},
        f"RealEstate10K: data/test/000000.torch: clip 0 has no url, timestamps, images; {_CHUNK}",
    ),
    "chunk with pixels": (
        with_value("images", [torch.zeros(3, 24, 32, dtype=torch.uint8)] * 6),
        {},
        f"RealEstate10K: data/test/000000.torch: clip s: its images are not encoded; {_CHUNK}",
    ),
    "chunk with whole matrices": (
        with_value("cameras", torch.zeros(6, 4, 4)),
        {},
        "RealEstate10K: data/test/000000.torch: clip s: has 6 timestamps, 6 images and cameras [6, 4, 4]; "
        + _CHUNK,
    ),
    "chunk with times of another clip": (
        with_value("timestamps", torch.arange(5)),
        {},
        "RealEstate10K: data/test/000000.torch: clip s: has 5 timestamps, 6 images and cameras [6, 18]; "
        + _CHUNK,
    ),
    "chunk with a camera that is none": (
        with_camera(6, 0.5),
        {},
        "RealEstate10K: data/test/000000.torch: clip s row 2: columns 8 to 19 hold no rotation: R R^T is off the "
        "identity by up to 0.75, expected at most 0.001; see whether the columns are shifted by one, or the "
        "matrix has a scale",
    ),
    "chunk with distortion": (
        with_camera(4, 0.1),
        {},
        "RealEstate10K: data/test/000000.torch: clip s row 2: columns 6 and 7 (lens distortion) are 0.1 and 0, "
        "expected 0; undistort the pictures, or see whether the columns are shifted by one",
    ),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("s", "t"):
        write_clip(tmp_path / "data", "test", name)
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    chunk_tables.table_of.cache_clear()
    return tmp_path


def module(**options: Any) -> RealEstate10K:  # noqa: ANN401
    return RealEstate10K(**{"root": "data", "image_size": (24, 32), "seed": 0, **options})


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_gets_its_sentence(name: str, place: Path) -> None:
    spoil, options, sentence = WRONG[name]
    spoil()
    with pytest.raises(UserError) as caught:
        module(**options).check("test")
    pattern = ".*".join(map(re.escape, sentence.split("~")))
    assert re.fullmatch(pattern, str(caught.value)), str(caught.value)


@pytest.mark.filterwarnings("ignore:RealEstate10K")
@pytest.mark.parametrize(
    "name", ["a number missing", "shifted columns", "another naming", "two frames of one time"]
)
def test_bad_clips_can_be_skipped(name: str, place: Path) -> None:
    WRONG[name][0]()
    assert module(on_bad_scene="skip").survey("test").usable == ["t"]


def jpeg(**options: Any) -> torch.Tensor:  # noqa: ANN401
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24)).save(buffer, "JPEG", **options)
    return torch.from_numpy(np.frombuffer(buffer.getvalue(), np.uint8).copy())


def turned() -> torch.Tensor:
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(exif=exif)


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (
            jpeg()[:300],
            "data/test/000000.torch (clip s, row 1): cannot be decoded (~); replace the damaged file or remove it",
        ),
        (
            turned(),
            "data/test/000000.torch (clip s, row 1): has the EXIF orientation 6, but its camera belongs to the "
            "pixels as stored, expected 1; remove the tag if the cameras were made from the stored pixels, else "
            "turn the pixels and make them anew",
        ),
    ],
)
def test_a_picture_in_a_chunk_is_named_when_it_is_read(
    picture: torch.Tensor, sentence: str, place: Path
) -> None:
    def change(clip: dict[str, Any]) -> None:
        clip["images"][1] = picture

    chunk(change)()
    Path("index.json").write_text(json.dumps({"s": {"context": [0, 2], "target": [1]}}))
    dataset = module(evaluation_index="index.json").eval_dataset("test")
    with pytest.raises(UserError) as caught:
        dataset[SampleKey(0, 0)]
    assert re.fullmatch(".*".join(map(re.escape, sentence.split("~"))), str(caught.value))


def test_cameras_of_a_clip_without_frames_are_not_in_the_way(place: Path) -> None:
    write_cameras(Path("data/cameras/test/none.txt"), times(4))
    with pytest.warns(UserWarning, match="1 without frames"):
        module().check("test")
