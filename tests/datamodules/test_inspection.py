"""Data that are wrong in many ways at once: everything is listed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repsynth.datamodules.inspection import inspect
from repsynth.datamodules.inspection_report import Inspection
from repsynth.datamodules.posed_scene import UnusableSceneError
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes
from repsynth.errors import UserError
from tests.datamodules.clip_folder import write_clip
from tests.datamodules.test_scene_data import FlatPicture, MemoryData, line


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))


def look(data: Any, stage: str | None = None, workers: int = 0, fast: bool = False) -> Inspection:  # noqa: ANN401
    return inspect(data, stage, workers, fast, lambda *_: None)


def mirrored(name: str) -> Any:  # noqa: ANN401
    scene = line(name)
    scene.extrinsics[2, 0, 0] = -1
    return scene


def broken(**options: Any) -> MemoryData:  # noqa: ANN401
    pictures = [
        FlatPicture(1),
        FlatPicture(2, broken=True),
        FlatPicture(3, (6, 16)),
        *map(FlatPicture, range(4, 7)),
    ]
    parts = {
        "train": {
            "good": line("good", step=0.5, depth_range=(2.0, 50.0)),
            "holes": line("holes", numbers=np.array([0, 1, 2, 3, 10, 12])),
            "lost": UnusableSceneError("without frames", "lost: none of 9 frames is there"),
            "mirrored": mirrored("mirrored"),
            "nan": UserError("nan.txt line 3: NaN"),
            "pictures": line("pictures", pictures=pictures),
            "still": line("still", step=0.0),
        },
        "val": {"v": line("v", group="good")},
        "test": {"t": line("t"), "u": line("u", pictures=[FlatPicture(1, (6, 16))] * 6)},
    }
    return MemoryData(parts, batch_size=9, **options)


PROBLEMS = [
    "Memory: mirrored: camera 2 has a mirrored rotation (determinant -1); expected determinant +1: correct it or leave "
    "it out.",
    "nan.txt line 3: NaN",
    "picture-2: cannot be decoded",
    "picture-3 is 16x6 (width x height), smaller than data.image_size 8x8; lower data.image_size or use larger "
    "pictures",
    "picture-1 is 16x6 (width x height), smaller than data.image_size 8x8; lower data.image_size or set data.on_small: "
    "skip",
    "picture-1 is 16x6 (width x height), smaller than data.image_size 8x8; lower data.image_size or use larger "
    "pictures",
    "Memory: 1 scenes are in two parts of the split: good (train) and v (val); remove them from one, or figures on the "
    "other are not of unseen scenes",
    "MemoryData: 5 training samples are fewer than data.batch_size 9, so no full batch exists; lower "
    "data.batch_size or add data",
]


@pytest.mark.parametrize("workers", [0, 2])
def test_everything_that_is_wrong_is_listed(workers: int) -> None:
    report = look(broken(), workers=workers)
    assert report.problems == PROBLEMS
    assert report.remarks == [
        "train: 1 scenes without frames, left out, first lost",
        "train: 1 scenes static, left out, first still",
        "train: 7 rows of camera files have no picture, 24 have",
    ]


def test_counts_and_ranges_are_those_of_the_scenes() -> None:
    train = look(broken()).parts["train"]
    assert (train.scenes, train.usable, train.views, train.missing, train.unreadable) == (7, 3, 24, 7, 2)
    assert train.dropped == {"without frames": ["lost"], "static": ["still"]}
    assert train.sizes == {"16 x 12": 22, "16 x 6": 1}
    # Neighbours of "good" are half a unit apart; in a window of 4 rows no pair is more than 3 steps apart.
    assert train.baselines is not None and (train.baselines.least, train.baselines.greatest) == (0.5, 3.0)
    assert train.nearest == (1.0, 1.0, 2.0) and train.farthest == (50.0, 100.0, 100.0)
    assert train.images_per_second is not None and train.images_per_second > 0


def test_heads_alone_do_not_show_what_is_wrong_with_the_pixels() -> None:
    report = look(broken(), fast=True)
    assert "picture-2: cannot be decoded" not in report.problems
    assert PROBLEMS[3] in report.problems and report.parts["train"].images_per_second is None


def test_a_stage_looks_at_its_parts_alone() -> None:
    report = look(broken(), stage="test")
    assert list(report.parts) == ["test"] and report.problems == PROBLEMS[4:6]


def test_what_options_skip_is_only_remarked() -> None:
    many = {f"s{number:03d}": line(f"s{number:03d}", frames=20) for number in range(8)}
    many["s000"].pictures[3] = FlatPicture(3, broken=True)  # type: ignore[index]
    parts = {
        "train": {**many, "nan": UserError("nan.txt line 3: NaN")},
        "val": {"v": line("v")},
        "test": {"t": line("t"), "u": line("u", pictures=[FlatPicture(1, (6, 16))] * 6)},
    }
    report = look(
        MemoryData(parts, on_bad_image="skip", on_bad_scene="skip", on_small="skip", samples_per_scene=2)
    )
    # One picture of 160 spoils 1.9 % of the examples: more than a run lets pass.
    assert report.problems == ["picture-3: cannot be decoded"]
    assert "nan.txt line 3: NaN" in report.remarks
    assert "train: 1 scenes with unreadable cameras, left out, first nan" in report.remarks
    assert "test: 1 scenes smaller than data.image_size, left out, first u" in report.remarks
    assert report.parts["train"].samples == 16 and report.parts["test"].samples == 1
    parts["train"] |= {f"t{number}": line(f"t{number}", frames=20) for number in range(16)}
    report = look(MemoryData(parts, on_bad_image="skip", on_bad_scene="skip", on_small="skip"))
    assert report.problems == [] and "picture-3: cannot be decoded" in report.remarks


def test_a_part_that_is_not_there_does_not_hide_the_others() -> None:
    data = broken()
    reader = data.reader

    def without_val(part: Any) -> Any:  # noqa: ANN401
        if part == "val":
            raise UserError("Memory: no folder at val")
        return reader(part)

    data.reader = without_val  # type: ignore[method-assign]
    report = look(data)
    assert "Memory: no folder at val" in report.problems and PROBLEMS[0] in report.problems
    assert list(report.parts) == ["train", "test"]


def test_nothing_usable_is_a_problem_with_its_counts() -> None:
    report = look(
        MemoryData({"train": {"still": line("still", step=0.0)}, "val": {"v": line("v")}}), stage="fit"
    )
    assert report.problems[0].startswith(
        "Memory: found 0 usable train scenes under the data: 1 static. First: still. Expected scenes in memory."
    )


def test_sound_data_have_no_problems_and_count_their_examples() -> None:
    parts: dict[str, Any] = {part: {part: line(part)} for part in ("train", "val", "test")}
    report = look(MemoryData(parts, samples_per_scene=5, batch_size=2, eval_draws=3))
    assert report.problems == [] and report.remarks == []
    assert [found.samples for found in report.parts.values()] == [4, 3, 3]


def test_a_baseline_needs_two_views_of_one_window() -> None:
    scene = replace(line("a"), numbers=10 * np.arange(6))
    parts: dict[str, Any] = {"test": {"a": scene}}
    assert look(MemoryData(parts), stage="test").parts["test"].baselines is None


def test_files_are_walked_and_their_modes_counted(tmp_path: Path) -> None:
    from repsynth.datamodules.realestate10k import RealEstate10K

    for number in range(3):
        write_clip(tmp_path, "train", f"{number:016x}")
    write_clip(tmp_path, "test", f"{9:016x}", without=[4])
    bad = tmp_path / "frames" / "test" / f"{9:016x}" / "1000000.png"
    bad.write_bytes(bad.read_bytes()[:60])
    report = look(RealEstate10K(str(tmp_path), image_size=(24, 32), batch_size=1, val_scenes=1), workers=2)
    assert report.data == "RealEstate10K"
    assert report.parts["train"].modes == {"RGB": 24} and report.parts["train"].sizes == {"32 x 24": 24}
    assert (report.parts["test"].views, report.parts["test"].missing) == (11, 1)
    assert len(report.problems) == 1 and report.problems[0].startswith(f"{bad}: cannot be decoded (")


def test_other_data_are_checked_and_some_examples_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = SyntheticScenes(image_size=(16, 24), train_scenes=40, eval_scenes=3, batch_size=4)
    report = look(data)
    assert report.problems == [] and report.data == "SyntheticScenes"
    assert report.parts["train"].samples == 40 and report.parts["train"].sizes == {"24 x 16": 48}
    assert report.parts["test"].samples == 3 and report.parts["test"].images_per_second is not None
    monkeypatch.setattr(data, "check", lambda stage: (_ for _ in ()).throw(UserError("no folder")))
    assert look(data).problems == ["no folder"] and look(data).parts == {}


def test_a_killed_worker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from repsynth.datamodules import inspection

    monkeypatch.setattr(inspection, "scene_facts", lambda *_: os._exit(9))
    with pytest.raises(
        UserError, match="a worker process of the check was killed, perhaps for want of memory; use"
    ):
        look(broken(), workers=1)
