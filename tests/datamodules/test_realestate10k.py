"""RealEstate10K on small clips in its layouts, and on the real samples. Each trap of the format has its test."""

import json
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from repsynth.datamodules import chunk_tables
from repsynth.datamodules.realestate10k import RealEstate10K
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.video_split import held_out
from repsynth.errors import UserError
from tests.datamodules.clip_folder import (
    chunk_clip,
    level,
    times,
    write_cameras,
    write_chunks,
    write_clip,
    write_frames,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))
    chunk_tables.table_of.cache_clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three training clips of two videos, two test clips."""
    folder = tmp_path / "data"
    for name, video in (("a1", "filmA"), ("a2", "filmA"), ("b1", "filmB")):
        write_clip(folder, "train", name, video=video)
    for name in ("s", "t"):
        write_clip(folder, "test", name)
    return folder


def data(root: Path, **options: Any) -> RealEstate10K:  # noqa: ANN401
    return RealEstate10K(
        str(root), **{"image_size": (24, 32), "seed": 0, "batch_size": 1, "val_scenes": 1, **options}
    )


def examples(module: RealEstate10K, stage: Any = "test") -> list[Any]:  # noqa: ANN401
    dataset = module.eval_dataset(stage)
    return [dataset[SampleKey(0, index)] for index in range(len(dataset))]  # type: ignore[arg-type]


def rows_of(frames: Any) -> list[int]:  # noqa: ANN401
    """Which rows the pictures show, by their grey levels."""
    return [round((int(image[0, 0, 0]) - level(0)) / (level(1) - level(0))) for image in frames["images"]]


def rows_of_cameras(frames: Any, step: float = 0.1) -> list[int]:  # noqa: ANN401
    return [round(float(-matrix[0, 3]) / step) for matrix in frames["extrinsics"]]


def check_batch(batch: Any) -> None:  # noqa: ANN401
    """Every picture has the camera of its row."""
    for part in ("source", "novel"):
        for images, matrices in zip(batch[part]["images"], batch[part]["extrinsics"], strict=True):
            assert rows_of({"images": images}) == rows_of_cameras({"extrinsics": matrices})


# The real samples.


def test_the_layout_sample_gives_batches_with_the_cameras_of_fern(shared_dir: Path) -> None:
    expected = json.loads((shared_dir / "data" / "llff" / "fern_expected.json").read_text())
    module = data(
        shared_dir / "data" / "realestate10k_layout", image_size=(96, 128), window=20, num_workers=1
    )
    module.check("test")
    batch = next(iter(module.test_dataloader()))
    assert batch["ids"] == ["fe00000000000001"]
    assert batch["source"]["images"].shape == (1, 2, 3, 96, 128) and batch["novel"]["images"].shape[1] == 1
    assert batch["source"]["extrinsics"].shape == (1, 2, 4, 4) and batch["depth_range"].tolist() == [[1, 100]]
    assert float(batch["median_depth"]) == pytest.approx(2 / (1 + 1 / 100))

    scene = module.reader("test").read("fe00000000000001")
    assert len(scene.pictures) == expected["views"] and scene.group == "none-llff-fern"
    for view, matrix in expected["w2c_opencv_3x4"].items():
        np.testing.assert_allclose(scene.extrinsics[int(view), :3], matrix, atol=1e-8)
    fx, fy, cx, cy = expected["intrinsics_normalised_fx_fy_cx_cy"]
    np.testing.assert_allclose(scene.intrinsics[3], [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], atol=1e-8)
    for sample in expected["reprojection"]:
        points = np.array([[*point, 1] for point in sample["world_xyz"]])
        seen = points @ scene.extrinsics[sample["view"]].T
        np.testing.assert_allclose(seen[:, 2], sample["depth"], atol=1e-5)
        pixels = (seen[:, :3] / seen[:, 2:3]) @ scene.intrinsics[sample["view"]].T
        np.testing.assert_allclose(pixels[:, :2], sample["uv_normalised"], atol=1e-6)


# Layouts.


@pytest.mark.parametrize(
    ("cameras", "frames", "options"),
    [
        ("cameras/test", "frames/test", {}),
        ("test", "test", {}),
        ("test", "frames/test", {}),
        ("test", "videos", {}),
        ("test", "videos/test", {}),
        ("test", "test/videos", {}),
        ("cameras/test", "test", {}),
        ("poses/test", "pixels/test", {"cameras": "poses", "frames": "pixels"}),
        ("poses/test", "pixels", {"cameras": "poses", "frames": "pixels", "format": "files"}),
    ],
)
def test_layouts_in_circulation(tmp_path: Path, cameras: str, frames: str, options: dict[str, Any]) -> None:
    write_cameras(tmp_path / cameras / "k.txt", times(6))
    write_frames(tmp_path / frames / "k", times(6))
    module = data(tmp_path, **options)
    module.check("test")
    (example,) = examples(module)
    assert example["id"] == "k"
    for part in ("source", "novel"):
        assert rows_of(example[part]) == rows_of_cameras(example[part])


def test_frames_may_lie_on_another_disk(tmp_path: Path) -> None:
    write_cameras(tmp_path / "data" / "test" / "k.txt", times(6))
    write_frames(tmp_path / "disk" / "test" / "k", times(6))
    module = data(tmp_path / "data", frames=str(tmp_path / "disk"))
    assert module.survey("test").usable == ["k"]


def test_a_stage_needs_only_its_parts(tmp_path: Path, root: Path) -> None:
    write_clip(tmp_path / "only", "test", "t")
    data(tmp_path / "only").check("test")
    with pytest.raises(UserError, match="no camera files"):
        data(tmp_path / "only").check("fit")
    (root / "cameras" / "test").rename(root / "cameras" / "elsewhere")
    data(root).check("fit")
    with pytest.raises(UserError, match="the split test"):
        data(root).check("test")


def test_readers_travel_to_loader_processes(root: Path) -> None:
    reader = data(root).reader("test")
    again = pickle.loads(pickle.dumps(reader))
    assert again == reader and hash(again) == hash(reader) and again.names() == ["s", "t"]
    module = data(root, num_workers=2, persistent_workers=False, samples_per_scene=4)
    module.check("fit")
    batches = list(module.train_dataloader())
    assert len(batches) == 4 * len(module.survey("train").usable)
    for batch in batches:
        check_batch(batch)


# Traps of the camera files; those of single rows are in test_view_files.py.


def test_trap_time_stamps_of_six_to_nine_digits_sort_as_numbers(tmp_path: Path) -> None:
    stamps = [900_000, 933_367, 966_734, 1_000_101, 99_966_734, 100_000_101]
    write_cameras(tmp_path / "test" / "k.txt", stamps)
    write_frames(tmp_path / "test" / "k", stamps)
    assert sorted(map(str, stamps)) != list(map(str, stamps))
    scene = data(tmp_path).reader("test").read("k")
    assert [int(Path(picture.label).stem) for picture in scene.pictures] == stamps
    assert scene.numbers.tolist() == list(range(6))
    np.testing.assert_allclose(scene.centres[:, 0], 0.1 * np.arange(6))


def test_trap_stretched_frames_keep_their_normalised_intrinsics_and_crops_do_not(tmp_path: Path) -> None:
    # A video of 16:9, whose frames are stored squeezed to 4:3.
    write_cameras(tmp_path / "test" / "k.txt", times(6), focal=(0.5, 0.5 * 16 / 9))
    write_frames(tmp_path / "test" / "k", times(6), size=(24, 32))
    (whole,) = examples(data(tmp_path, image_size=(24, 32)))
    np.testing.assert_allclose(
        whole["source"]["intrinsics"][0, [0, 1], [0, 1]], [0.5, 0.5 * 16 / 9], rtol=1e-6
    )
    (square,) = examples(data(tmp_path, image_size=(24, 24), fit="stretch"))
    np.testing.assert_allclose(
        square["source"]["intrinsics"][0, [0, 1], [0, 1]], [0.5, 0.5 * 16 / 9], rtol=1e-6
    )
    (cut,) = examples(data(tmp_path, image_size=(24, 24), fit="crop"))
    np.testing.assert_allclose(
        cut["source"]["intrinsics"][0, [0, 1], [0, 1]], [0.5 * 32 / 24, 0.5 * 16 / 9], rtol=1e-6
    )


def test_trap_a_missing_frame_leaves_a_hole_and_never_cuts_the_clip(tmp_path: Path) -> None:
    write_clip(tmp_path, "test", "k", count=12, without=(0, 3, 4))
    module = data(tmp_path)
    with pytest.warns(
        UserWarning, match="RealEstate10K: 2 rows of test camera files have no picture, 9 have;"
    ):
        module.check("test")
    scene = module.reader("test").read("k")
    assert scene.numbers.tolist() == [1, 2, 5, 6, 7, 8, 9, 10, 11]
    np.testing.assert_allclose(scene.centres[:, 0], 0.1 * scene.numbers)


def test_trap_windows_are_counted_in_rows_so_that_a_hole_is_no_jump(tmp_path: Path) -> None:
    write_clip(tmp_path, "test", "k", count=30, without=range(4, 26))
    module = data(tmp_path, window=4, eval_draws=60)
    drawn = set()
    for example in examples(module):
        rows = {*rows_of(example["source"]), *rows_of(example["novel"])}
        assert max(rows) - min(rows) <= 3
        drawn.add(min(rows) < 4)
    assert drawn == {True, False}


def test_trap_frames_are_matched_within_half_a_frame_by_option_only(tmp_path: Path) -> None:
    stamps = times(8)
    write_cameras(tmp_path / "test" / "k.txt", stamps)
    # Off by 0 to 14 ms; the last by more than half a frame.
    offsets = [0, 1, -1, 14_000, -14_000, 500, 15_900, 16_500]
    write_frames(tmp_path / "test" / "k", [stamp + off for stamp, off in zip(stamps, offsets, strict=True)])

    def rows(**options: float) -> list[int]:
        return data(tmp_path, **options).reader("test").read("k").numbers.tolist()  # type: ignore[no-any-return]

    assert rows() == [0]
    assert rows(match_within=0.5) == [0, 1, 2, 5]
    assert rows(match_within=16) == [0, 1, 2, 3, 4, 5, 6]
    (example,) = examples(data(tmp_path, match_within=16))
    for part in ("source", "novel"):
        assert rows_of(example[part]) == rows_of_cameras(example[part])


def test_trap_repeated_time_stamps_keep_the_first(tmp_path: Path) -> None:
    stamps = times(6)
    rows = [stamps[0], stamps[1], stamps[1], stamps[2], stamps[1], *stamps[3:]]
    write_cameras(tmp_path / "test" / "k.txt", rows)
    write_frames(tmp_path / "test" / "k", stamps)
    module = data(tmp_path)
    scene = module.reader("test").read("k")
    assert scene.numbers.tolist() == [0, 1, 3, 5, 6, 7]
    np.testing.assert_allclose(scene.centres[:, 0], 0.1 * scene.numbers)
    with pytest.warns(UserWarning, match="2 rows of test camera files have no picture"):
        module.check("test")


def test_trap_thinned_files_are_windows_of_rows_too(tmp_path: Path) -> None:
    stamps = times(40)[::8]
    write_cameras(tmp_path / "test" / "k.txt", stamps)
    write_frames(tmp_path / "test" / "k", stamps)
    module = data(tmp_path, window=3)
    module.check("test")
    assert module.reader("test").read("k").numbers.tolist() == [0, 1, 2, 3, 4]


def test_trap_static_short_and_frameless_clips_are_dropped_and_counted(tmp_path: Path) -> None:
    write_clip(tmp_path, "test", "good")
    write_clip(tmp_path, "test", "short", count=2)
    write_clip(tmp_path, "test", "static", step=1e-8)
    write_cameras(tmp_path / "cameras" / "test" / "absent.txt", times(9))
    write_cameras(tmp_path / "cameras" / "test" / "empty.txt", times(9))
    (tmp_path / "frames" / "test" / "empty").mkdir()
    module = data(tmp_path)
    with pytest.warns(
        UserWarning,
        match=r"found 1 usable test scenes under .*: 2 without frames, 1 shorter than 3, 1 static. First: absent;",
    ):
        module.check("test")


def test_trap_test_clips_of_training_videos_are_refused_by_video(root: Path) -> None:
    write_clip(root, "test", "other_clip", video="filmB")
    with pytest.raises(
        UserError, match=r"1 scenes are in two parts of the split: b1 \((train|val)\) and other_clip"
    ):
        data(root).check()
    data(root).check("fit")


def test_trap_other_files_beside_the_frames_do_no_harm(tmp_path: Path) -> None:
    write_clip(tmp_path, "test", "k", count=6)
    folder = tmp_path / "frames" / "test" / "k"
    for name in ("Thumbs.db", ".1000000.jpg", "cover.png", "1000000.txt", "notes"):
        (folder / name).write_text("no picture")
    (tmp_path / "cameras" / "test" / ".hidden.txt").write_text("nothing")
    module = data(tmp_path)
    module.check("test")
    assert module.reader("test").names() == ["k"] and len(module.reader("test").read("k").pictures) == 6


def test_time_stamps_padded_with_zeros_are_the_same_numbers(tmp_path: Path) -> None:
    write_clip(tmp_path, "test", "k", count=6)
    for file in (tmp_path / "frames" / "test" / "k").iterdir():
        file.rename(file.with_name(f"{file.stem:>012}.PNG"))
    assert len(data(tmp_path).reader("test").read("k").pictures) == 6


# Options.


def test_translations_and_depths_are_scaled_together(root: Path) -> None:
    plain = data(root).reader("test").read("s")
    scaled = data(root, translation_scale=2.5, depth_range=(2.0, 50.0)).reader("test").read("s")
    np.testing.assert_allclose(scaled.centres, 2.5 * plain.centres)
    assert plain.depth_range == (1.0, 100.0) and scaled.depth_range == (5.0, 125.0)
    np.testing.assert_allclose(scaled.median_depth, 2 / (1 / 5 + 1 / 125))


def test_validation_clips_are_whole_videos_kept_out_of_training(tmp_path: Path) -> None:
    for clip in range(12):
        write_clip(tmp_path, "train", f"clip{clip:02d}", count=4, video=f"film{clip // 2}")
    module = data(tmp_path, val_scenes=3, window=4)
    training, validation = (module.reader(part).names() for part in ("train", "val"))
    assert len(validation) == 4 and sorted(training + validation) == [f"clip{clip:02d}" for clip in range(12)]
    films = {int(name[4:]) // 2 for name in validation}
    assert len(films) == 2 and films.isdisjoint(int(name[4:]) // 2 for name in training)
    module.check("fit")
    # Neither the seed nor the rest of the data move the choice; clips without frames are no candidates.
    write_cameras(tmp_path / "cameras" / "train" / "more.txt", times(4))
    other = data(tmp_path, val_scenes=3, window=4, seed=7)
    assert other.reader("val").names() == validation and "more" in other.reader("train").names()


def test_more_validation_clips_than_there_are_leave_nothing_to_train_on(root: Path) -> None:
    with pytest.raises(UserError, match="found 0 usable train scenes"):
        data(root, val_scenes=3).check("fit")


def test_held_out_videos_do_not_depend_on_order() -> None:
    videos = {f"clip{number}": f"film{number % 50}" for number in range(200)}
    chosen = held_out(videos, 10)
    assert len(chosen) == 12 and chosen == held_out(dict(reversed(videos.items())), 10)
    assert chosen < held_out(videos, 20)


def test_the_protocol_names_the_mode(root: Path) -> None:
    module = data(root, mode="interpolation", window=5)
    assert module.protocol == (
        "RealEstate10K, 1 novel from 2 input views by interpolation in a window of 5 rows, 1 per scene; 24 x 32 pixels "
        "(crop)"
    )


def test_the_survey_is_made_again_when_frames_arrive(root: Path) -> None:
    write_cameras(root / "cameras" / "test" / "u.txt", times(6))
    with pytest.warns(UserWarning, match="1 without frames"):
        assert data(root).survey("test").usable == ["s", "t"]
    write_frames(root / "frames" / "test" / "u", times(6))
    assert data(root).survey("test").usable == ["s", "t", "u"]


# Chunks.


@pytest.fixture
def chunks(tmp_path: Path) -> Path:
    folder = tmp_path / "chunks"
    write_chunks(
        folder / "train",
        [chunk_clip("a1", video="filmA"), chunk_clip("a2", video="filmA")],
        [chunk_clip("b1")],
    )
    write_chunks(folder / "test", [chunk_clip("s"), chunk_clip("t", 5)], [chunk_clip("u", 7)])
    return folder


def test_chunks_give_what_the_files_give(tmp_path: Path, chunks: Path) -> None:
    for name, count in (("s", 12), ("t", 5), ("u", 7)):
        write_clip(tmp_path / "files", "test", name, count)
    in_chunks, in_files = data(chunks), data(tmp_path / "files")
    in_chunks.check("test")
    in_files.check("test")
    for first, second in zip(examples(in_chunks), examples(in_files), strict=True):
        assert first["id"] == second["id"]
        for part in ("source", "novel"):
            assert rows_of(first[part]) == rows_of_cameras(first[part])
            np.testing.assert_allclose(first[part]["extrinsics"], second[part]["extrinsics"], atol=1e-6)
            np.testing.assert_allclose(first[part]["intrinsics"], second[part]["intrinsics"], atol=1e-6)
            np.testing.assert_allclose(first[part]["images"], second[part]["images"].astype(int), atol=2)
    assert in_chunks.reader("test").read("t").group == in_files.reader("test").read("t").group == "t"


def test_trap_chunks_hold_world_to_camera_like_the_files(chunks: Path) -> None:
    turned = chunk_clip("turned")
    matrix = np.float32([0.36, 0.48, -0.8, 1.25, -0.8, 0.6, 0, -2.5, 0.48, 0.64, 0.6, 3.75])
    turned["cameras"][3, 6:] = torch.from_numpy(matrix)  # type: ignore[index]
    write_chunks(chunks / "test", [turned])
    scene = data(chunks).reader("test").read("turned")
    np.testing.assert_allclose(scene.extrinsics[3, :3].ravel(), matrix)
    rotation, translation = scene.extrinsics[3, :3, :3], scene.extrinsics[3, :3, 3]
    np.testing.assert_allclose(scene.centres[3], -rotation.T @ translation, rtol=1e-6)


def test_chunks_train_and_validate_by_video(chunks: Path) -> None:
    module = data(chunks, num_workers=1, persistent_workers=False)
    module.check("fit")
    training, validation = (module.reader(part).names() for part in ("train", "val"))
    assert {*map(tuple, (training, validation))} == {("a1", "a2"), ("b1",)}
    for batch in module.train_dataloader():
        check_batch(batch)


def test_a_chunk_is_opened_once_and_only_its_pictures_are_read(
    chunks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data(chunks).check("test")
    chunk_tables.table_of.cache_clear()
    opened: list[object] = []
    load = torch.load
    monkeypatch.setattr(
        torch, "load", lambda *given, **options: opened.append(given) or load(*given, **options)
    )
    module = data(chunks)
    module.check("test")
    assert len(examples(module)) == 3 and opened == []
    os.utime(chunks / "test" / "000000.torch", (1, 1))  # another file: look again
    chunk_tables.table_of.cache_clear()
    data(chunks).check("test")
    assert len(opened) == 1


def test_the_survey_of_chunks_is_made_again_when_an_index_changes(tmp_path: Path, chunks: Path) -> None:
    """Other clips of the same chunks: neither the chunks nor their number tell."""
    (chunks / "test" / "index.json").write_text('{"s": "000000.torch"}')
    assert data(chunks).survey("test").usable == ["s"]
    (chunks / "test" / "index.json").write_text('{"t": "000000.torch"}')
    assert data(chunks).survey("test").usable == ["t"]
    content = {"t": {"context": [0, 2], "target": [1]}}
    (chunks / "test" / "index.json").write_text('{"s": "000000.torch", "t": "000000.torch"}')
    index = write_index(tmp_path / "index.json", content)
    assert data(chunks, evaluation_index=index).survey("test").usable == ["t"]
    write_index(tmp_path / "index.json", {"s": content["t"]})
    assert data(chunks, evaluation_index=index).survey("test").usable == ["s"]


def only_elsewhere(load: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse to load in this process."""
    here = os.getpid()

    def loaded(*given: object, **options: object) -> object:
        assert os.getpid() != here
        return load(*given, **options)

    return loaded


def test_many_chunks_are_looked_into_by_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [[chunk_clip(f"c{number:02d}", 4)] for number in range(20)]
    write_chunks(tmp_path / "data" / "test", *clips)
    monkeypatch.setattr(torch, "load", only_elsewhere(torch.load))
    module = data(tmp_path / "data", window=4)
    module.check("test")
    assert module.survey("test").usable == [f"c{number:02d}" for number in range(20)]
    assert len(list((tmp_path / "cache").glob("chunk-*.npz"))) == 20


@pytest.mark.filterwarnings("ignore:.*cannot be written. what it should hold is computed again")
def test_a_damaged_or_unwritable_cache_of_chunks_only_costs_time(tmp_path: Path, chunks: Path) -> None:
    data(chunks).check("test")
    for file in (tmp_path / "cache").glob("chunk-*.npz"):
        file.write_bytes(file.read_bytes()[:-40])
    chunk_tables.table_of.cache_clear()
    (tmp_path / "a file").write_text("")
    for module in (data(chunks), data(chunks, cache_dir=str(tmp_path / "a file" / "below"))):
        module.check("test")
        assert len(examples(module)) == 3


def test_memory_stays_bounded_by_what_is_read(tmp_path: Path) -> None:
    """A chunk of 64 MB of pictures, of which the table and one picture are needed."""
    clip = chunk_clip("k", 8)
    clip["images"] = [
        torch.cat([image, torch.zeros(8_000_000, dtype=torch.uint8)]) for image in clip["images"]
    ]  # type: ignore[attr-defined]
    write_chunks(tmp_path / "data" / "test", [clip])
    del clip
    before = _anonymous_memory()
    scene = data(tmp_path / "data").reader("test").read("k")
    assert _anonymous_memory() - before < 16_000_000
    assert scene.pictures[5].size() == (24, 32)


def _anonymous_memory() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


# The evaluation index.


def write_index(path: Path, content: object) -> str:
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize("kind", ["files", "chunks"])
def test_an_evaluation_index_names_the_views(tmp_path: Path, root: Path, chunks: Path, kind: str) -> None:
    index = write_index(
        tmp_path / "index.json",
        {
            "t": {"context": [4, 0], "target": [1, 2, 3], "overlap": 0.7},
            "s": {"context": [2, 7], "target": [5, 4, 3]},
            "u": None,
        },
    )
    module = data(root if kind == "files" else chunks, evaluation_index=index, mode="random")
    module.check("test")
    first, second = examples(module)
    assert (first["id"], second["id"]) == ("s", "t")
    assert rows_of_cameras(first["source"]) == rows_of(first["source"]) == [2, 7]
    assert rows_of_cameras(first["novel"]) == rows_of(first["novel"]) == [5, 4, 3]
    assert rows_of(second["source"]) == [4, 0] and rows_of(second["novel"]) == [1, 2, 3]
    assert module.protocol == (
        "RealEstate10K, test views of the index index.json, 2 clips; validation views 1 novel from 2 input views by "
        "random in a window of 10 rows, 1 per scene; 24 x 32 pixels (crop)"
    )
    # Validation is drawn as ever.
    module.check("fit")
    assert len(examples(module, "val")[0]["novel"]["images"]) == 1


def test_indices_are_rows_of_the_camera_file_also_behind_a_hole(tmp_path: Path) -> None:
    write_clip(tmp_path, "test", "k", count=12, without=(0, 3))
    index = write_index(tmp_path / "index.json", {"k": {"context": [2, 10], "target": [4]}})
    (example,) = examples(data(tmp_path, evaluation_index=index))
    assert rows_of(example["source"]) == [2, 10] and rows_of(example["novel"]) == [4]


def test_an_index_may_use_clips_that_drawing_would_drop(tmp_path: Path) -> None:
    write_clip(tmp_path, "test", "k", count=6, step=1e-8)
    index = write_index(tmp_path / "index.json", {"k": {"context": [0, 5], "target": [2]}})
    module = data(tmp_path, evaluation_index=index)
    module.check("test")
    assert len(examples(module)) == 1


@pytest.mark.filterwarnings("ignore:RealEstate10K")
def test_clips_that_lack_frames_are_left_out_by_option_and_told_with_the_figures(
    root: Path, tmp_path: Path
) -> None:
    write_clip(root, "test", "holey", without=(4,))
    entry = {"context": [0, 8], "target": [4]}
    index = write_index(tmp_path / "index.json", {"s": entry, "t": entry, "holey": entry, "absent": entry})
    with pytest.raises(
        UserError, match=r"2 of 4 clips lack frames that it names, first absent \(not on disk\)"
    ):
        data(root, evaluation_index=index).check("test")
    module = data(root, evaluation_index=index, evaluation_partial=True)
    module.check("test")
    assert [example["id"] for example in examples(module)] == ["s", "t"]
    assert "test views of the index index.json, 2 clips (2 are not usable and left out);" in module.protocol
    # The first two by name, of which one is there.
    few = data(root, evaluation_index=index, evaluation_partial=True, eval_scenes=3)
    assert [example["id"] for example in examples(few)] == ["s"]


def test_a_scene_is_read_in_little_time(tmp_path: Path) -> None:
    """A loader reads a clip for each example: far less than decoding three pictures may go into that."""
    stamps = times(280)
    write_cameras(tmp_path / "test" / "k.txt", stamps, step=0.01)
    (tmp_path / "test" / "k").mkdir()
    for stamp in stamps:
        (tmp_path / "test" / "k" / f"{stamp}.jpg").touch()
    reader = data(tmp_path).reader("test")
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        assert len(reader.read("k").pictures) == 280
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.01
