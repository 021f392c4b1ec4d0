"""The table of RealEstate10K clips: it gives what the files give, to the bit, and sees when they change."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from repsynth.datamodules import kept_clips, scene_examples
from repsynth.datamodules.folder_clips import FolderClips
from repsynth.datamodules.kept_clips import KeptClips
from repsynth.datamodules.posed_scene import PosedScene, UnusableSceneError
from repsynth.datamodules.realestate10k import RealEstate10K
from repsynth.errors import UserError
from tests.datamodules.clip_folder import address, times, write_cameras, write_clip, write_frames


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))
    kept_clips._opened.cache_clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Clips of the test split with all that names, rows and cameras may look like."""
    folder = tmp_path / "data"
    write_clip(folder, "test", "plain")
    write_clip(folder, "test", "holes", video="filmA", without=(0, 3, 4, 11))
    write_clip(folder, "test", "Ünïcode clip", video="filmA")
    write_clip(folder, "test", "padded", count=6)
    for file in (folder / "frames" / "test" / "padded").iterdir():
        file.rename(file.with_name(f"{file.stem:>012}.PNG"))
    stamps = times(6)
    write_cameras(folder / "cameras" / "test" / "repeats.txt", [*stamps[:3], stamps[1], *stamps[3:]])
    write_frames(folder / "frames" / "test" / "repeats", [stamp + 900 for stamp in stamps])
    (folder / "frames" / "test" / "repeats" / "cover.png").touch()
    write_turning(folder, "turning")
    return folder


def write_turning(root: Path, name: str) -> None:
    """Cameras with no number that is round, and JPEG frames."""
    rng = np.random.default_rng(3)
    lines, frames = [address("film-B")], root / "frames" / "test" / name
    frames.mkdir(parents=True)
    for time in times(9):
        matrix = np.hstack([Rotation.random(rng=rng).as_matrix(), rng.normal(0, 3, (3, 1))])
        numbers = [*rng.uniform(0.3, 1.5, 4), 0, 0, *matrix.ravel()]
        lines.append(" ".join([str(time), *map(repr, map(float, numbers))]))
        Image.new("RGB", (32, 24)).save(frames / f"{time}.jpg")
    (root / "cameras" / "test" / f"{name}.txt").write_text("\n".join([*lines, ""]))


def data(root: Path, **options: Any) -> RealEstate10K:  # noqa: ANN401
    return RealEstate10K(str(root), **{"image_size": (24, 32), "seed": 0, "val_scenes": 1, **options})


def reader_of(root: Path, **options: Any) -> KeptClips:  # noqa: ANN401
    """The reader of the test split before its table is there."""
    reader = data(root, **options).reader("test")
    assert isinstance(reader, KeptClips) and reader.table is None
    return reader


def tables(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("clips-*.table"))


def assert_same(found: PosedScene, expected: PosedScene) -> None:
    for name in ("name", "group", "depth_range"):
        assert getattr(found, name) == getattr(expected, name)
    assert list(found.pictures) == list(expected.pictures)
    for name in ("numbers", "extrinsics", "intrinsics", "median_depth"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def refuse(*_: object) -> Any:  # noqa: ANN401
    raise AssertionError("no camera file is to be read")


@pytest.mark.parametrize("options", [{}, {"match_within": 1.0, "translation_scale": 1 / 3}])
def test_scenes_are_those_of_the_files_to_the_bit(
    root: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = reader_of(root, **options)
    names = [name for name in reader.names() if options or name != "repeats"]
    expected = {name: reader.clips.read(name) for name in names}
    prepared = reader.prepared()
    monkeypatch.setattr(FolderClips, "clip", refuse)
    assert len(names) >= 5 and prepared.table is not None
    for name in names:
        assert_same(prepared.read(name), expected[name])
        with pytest.raises(AssertionError, match="no camera file"):
            reader.read(name)
    assert {prepared.read(name).group for name in names} >= {"filmA", "film-B", "plain", "padded"}
    assert prepared.read("holes").numbers.tolist() == [1, 2, 5, 6, 7, 8, 9, 10]
    assert prepared.names() == reader.clips.names() and prepared.rows("holes") == 12


def test_a_scene_of_the_table_belongs_to_whoever_asked(root: Path) -> None:
    reader = reader_of(root, translation_scale=2.0).prepared()
    scene = reader.read("turning")
    kept = scene.extrinsics.copy()
    for array in (scene.numbers, scene.extrinsics, scene.intrinsics, scene.median_depth):
        array += 1
    np.testing.assert_array_equal(reader.read("turning").extrinsics, kept)


# What is wrong with a clip is told as without the table.


def without_frames(root: Path) -> None:
    (root / "frames" / "test" / "plain").rename(root / "elsewhere")


def of_another_naming(root: Path) -> None:
    for file in sorted((root / "frames" / "test" / "plain").iterdir()):
        file.rename(file.with_name(f"frame_{file.name}"))


def twice(root: Path) -> None:
    (root / "frames" / "test" / "plain" / f"{times(1)[0]}.jpg").touch()


def cut_off(root: Path) -> None:
    file = root / "cameras" / "test" / "plain.txt"
    file.write_text(file.read_text()[:-30])


def without_address(root: Path) -> None:
    file = root / "cameras" / "test" / "plain.txt"
    file.write_text("# two words\n" + "\n".join(file.read_text().splitlines()[1:]))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_frames, "no frames in"),
        (of_another_naming, "none of the 12 time stamps has a frame"),
        (twice, "for one time stamp; remove one of them"),
        (cut_off, "line 13: expected 19 numbers, found 17"),
        (without_address, "expected the address of the video"),
    ],
)
def test_a_bad_clip_is_not_in_the_table_and_told_of_as_before(
    root: Path, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(root)
    reader = reader_of(root)
    prepared = reader.prepared()
    assert prepared.table is not None
    with pytest.raises(UserError, match=words) as before:
        reader.clips.read("plain")
    with pytest.raises(UserError, match=words) as now:
        prepared.read("plain")
    assert str(now.value) == str(before.value) and type(now.value) is type(before.value)
    assert isinstance(now.value, UnusableSceneError) == (spoil is without_frames)
    assert_same(prepared.read("turning"), reader.clips.read("turning"))


def test_a_clip_that_the_system_refuses_stops_no_other(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = FolderClips.clip

    def clip(clips: FolderClips, name: str) -> Any:  # noqa: ANN401
        if name == "plain":
            raise PermissionError(13, "Permission denied")
        return read(clips, name)

    monkeypatch.setattr(FolderClips, "clip", clip)
    prepared = reader_of(root).prepared()
    assert prepared.table is not None and len(prepared.read("turning").pictures) == 9
    with pytest.raises(PermissionError):
        prepared.read("plain")


# When the table is made.


def add_a_frame(root: Path) -> None:
    Image.new("RGB", (32, 24)).save(root / "frames" / "test" / "holes" / f"{times(4)[3]}.png")


def change_cameras(root: Path) -> None:
    write_cameras(root / "cameras" / "test" / "holes.txt", times(12), "filmC", step=0.25)


def touch(root: Path) -> None:
    os.utime(root / "cameras" / "test" / "holes.txt", (1, 1))


@pytest.mark.filterwarnings("ignore:RealEstate10K. .* rows of test camera files")
@pytest.mark.parametrize("change", [add_a_frame, change_cameras])
def test_changes_are_seen(tmp_path: Path, root: Path, change: Callable[[Path], None]) -> None:
    options = {"match_within": 1.0, "min_items": 6, "mode": "random"}
    first, second = data(root, **options), data(root, **options)
    views = first.survey("test").views
    before = first.eval_dataset("test")
    (table,) = tables(tmp_path)
    change(root)
    assert second.survey("test").views == views + (change is add_a_frame)
    scene, reader = second.reader("test").read("holes"), second.reader("test")
    assert isinstance(reader, KeptClips) and reader.table not in (None, table)
    assert_same(scene, reader.clips.read("holes"))
    assert (3 in scene.numbers) == (change is add_a_frame)
    assert scene.group == ("filmC" if change is change_cameras else "filmA")
    assert before.reader != second.eval_dataset("test").reader  # type: ignore[attr-defined]


def test_the_table_is_made_and_opened_once(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = reader_of(root).prepared()
    expected = prepared.read("turning")
    (table,) = tables(tmp_path)
    written = table.stat().st_mtime_ns
    monkeypatch.setattr(FolderClips, "clip", refuse)
    misses = kept_clips._opened.cache_info().misses
    again = reader_of(root).prepared()
    assert again == prepared and hash(again) == hash(prepared)
    assert_same(again.read("turning"), expected)
    assert kept_clips._opened.cache_info().misses == misses

    kept_clips._opened.cache_clear()  # as in another process
    travelled = pickle.dumps(again)
    assert len(travelled) < 2000
    assert_same(pickle.loads(travelled).read("turning"), expected)
    assert kept_clips._opened.cache_info().misses == 1
    assert tables(tmp_path) == [table] and table.stat().st_mtime_ns == written


def test_options_that_scale_share_a_table_and_others_do_not(tmp_path: Path, root: Path) -> None:
    first = reader_of(root).prepared().table
    assert reader_of(root, translation_scale=2.0, depth_range=(2.0, 9.0)).prepared().table == first
    second = reader_of(root, match_within=1.0).prepared().table
    assert second is not None and tables(tmp_path) == sorted({first, second})  # type: ignore[type-var]


def test_a_table_that_another_takes_the_place_of_is_removed_unless_it_is_in_use(
    tmp_path: Path, root: Path
) -> None:
    first = reader_of(root).prepared()
    other = reader_of(root, match_within=1.0).prepared().table
    touch(root)
    second = reader_of(root).prepared()
    assert first.table is not None and second.table is not None and first.table != second.table
    assert tables(tmp_path) == sorted([first.table, second.table, other])  # type: ignore[type-var]
    assert len(first.read("turning").pictures) == 9
    kept_clips._opened.cache_clear()
    add_a_frame(root)
    third = reader_of(root).prepared()
    assert third.table is not None and tables(tmp_path) == sorted([third.table, other])  # type: ignore[type-var]
    # Whoever still knows a table that is gone reads the files.
    assert_same(second.read("turning"), third.read("turning"))


@pytest.mark.filterwarnings("ignore:RealEstate10K. .* (rows of test camera files|are left out)")
def test_the_survey_looks_at_the_files_once_and_again_when_they_changed(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = data(root, match_within=1.0)
    module.check("test")
    reader = module.reader("test")
    assert isinstance(reader, KeptClips) and reader.files("plain") == reader.files("holes") == [reader.table]

    reads = []
    read = KeptClips.read
    monkeypatch.setattr(KeptClips, "read", lambda self, name: reads.append(name) or read(self, name))
    data(root, match_within=1.0).check("test")
    assert reads == []
    touch(root)
    data(root, match_within=1.0).check("test")
    assert sorted(reads) == reader.names()


def test_a_damaged_table_is_made_again(tmp_path: Path, root: Path) -> None:
    reader = reader_of(root)
    table = reader.prepared().table
    assert table is not None
    whole = table.read_bytes()
    for content in (b"", whole[:5], whole[:-7], whole[:-16] + bytes(16), b"no table of clips at all"):
        table.write_bytes(content)
        kept_clips._opened.cache_clear()
        assert_same(KeptClips(reader.clips, table).read("turning"), reader.clips.read("turning"))
        assert reader.prepared().table == table and table.read_bytes() == whole


def test_an_unwritable_cache_only_costs_time(tmp_path: Path, root: Path) -> None:
    (tmp_path / "a file").write_text("")
    module = data(root, match_within=1.0, cache_dir=str(tmp_path / "a file" / "below"))
    with pytest.warns(UserWarning, match="clips-.*cannot be written.*REPSYNTH_CACHE"):
        module.check("test")
    reader = module.reader("test")
    assert isinstance(reader, KeptClips) and reader.table is None
    assert reader.files("plain") == reader.clips.files("plain")
    assert_same(reader.read("turning"), reader.clips.read("turning"))
    assert module.survey("test").usable == reader.names()


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_set_without_clips_is_told_of_as_before(tmp_path: Path, part: Any) -> None:  # noqa: ANN401
    write_clip(tmp_path / "data", "train", "only", count=2)
    with pytest.raises(UserError, match=f"found 0 usable {part} scenes"):
        data(tmp_path / "data").survey(part)


# Many clips, many processes.


def test_many_clips_are_read_by_several_processes_and_that_is_told(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(kept_clips, "rank_zero_info", told.append)
    expected = reader_of(root).prepared().table
    assert expected is not None and told == []
    content = expected.read_bytes()
    expected.unlink()
    kept_clips._opened.cache_clear()

    here, clip = os.getpid(), FolderClips.clip

    def elsewhere(clips: FolderClips, name: str) -> Any:  # noqa: ANN401
        assert os.getpid() != here
        return clip(clips, name)

    monkeypatch.setattr(kept_clips, "_MANY", 5)
    monkeypatch.setattr(FolderClips, "clip", elsewhere)
    reader_of(root).prepared()
    assert tables(tmp_path) == [expected] and expected.read_bytes() == content
    assert told == [
        f"RealEstate10K: reading the cameras of 6 clips, once; what is found is kept in {tmp_path / 'cache'}"
    ]


def test_loader_processes_read_the_table_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c", "d", "e"):
        write_clip(tmp_path / "data", "train", name, without=(5,))
    options = {"batch_size": 2, "samples_per_scene": 5, "seed": 3}
    by_files = data(tmp_path / "data", **options)
    dataset: Any = by_files.train_dataset()
    dataset.reader = KeptClips(dataset.reader.clips)
    expected = list(by_files._loader(dataset, by_files.train_dataloader().batch_sampler))  # type: ignore[arg-type]

    scene_examples._read.cache_clear()
    monkeypatch.setattr(FolderClips, "clip", refuse)
    # Not surveyed: the loader's reader has its table all the same.
    module = data(tmp_path / "data", **options, num_workers=2, persistent_workers=False)
    for found, wanted in zip(module.train_dataloader(), expected, strict=True):
        assert found["ids"] == wanted["ids"]
        for part in ("source", "novel"):
            for key in ("images", "extrinsics", "intrinsics"):
                assert found[part][key].numpy().tobytes() == wanted[part][key].numpy().tobytes()
