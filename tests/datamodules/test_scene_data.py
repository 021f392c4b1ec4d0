"""The base of all data sets of posed scenes, on scenes in memory."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from repsynth.datamodules.base import Part
from repsynth.datamodules.posed_scene import PosedScene, SceneReader, UnusableSceneError, middle_depth
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.scene_data import SceneData
from repsynth.datamodules.survey import default_cache
from repsynth.errors import UserError

READS: list[str] = []


@dataclass(frozen=True)
class FlatPicture:
    """A picture of one grey level, or one that is broken."""

    level: int
    shape: tuple[int, int] = (12, 16)
    broken: bool = False

    @property
    def label(self) -> str:
        return f"picture-{self.level}"

    def read(self, convert: bool) -> np.ndarray:
        if self.broken:
            raise UserError(f"{self.label}: cannot be decoded")
        return np.full((3, *self.shape), self.level, dtype=np.uint8)

    def size(self) -> tuple[int, int]:
        return self.shape


def line(name: str, frames: int = 6, step: float = 1.0, **changes: Any) -> PosedScene:  # noqa: ANN401
    """Cameras in a row along x, `step` apart."""
    extrinsics = np.tile(np.eye(4), (frames, 1, 1))
    extrinsics[:, 0, 3] = -step * np.arange(frames)
    scene = PosedScene(
        name,
        [FlatPicture(10 * number) for number in range(frames)],
        np.arange(frames),
        extrinsics,
        np.tile(np.array([[0.8, 0, 0.5], [0, 1.0, 0.5], [0, 0, 1]]), (frames, 1, 1)),
        (1.0, 100.0),
        np.full(frames, middle_depth((1.0, 100.0))),
    )
    return replace(scene, **changes)


@dataclass(frozen=True)
class MemoryReader:
    part: str
    scenes: tuple[tuple[str, object], ...]

    def names(self) -> list[str]:
        return sorted(name for name, _ in self.scenes)

    def files(self, name: str) -> list[Path]:
        return []

    def read(self, name: str) -> PosedScene:
        READS.append(name)
        found = dict(self.scenes)[name]
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, PosedScene)
        return found

    def __hash__(self) -> int:
        return id(self)


class MemoryData(SceneData):
    dataset: ClassVar[str] = "Memory"
    layout: ClassVar[str] = "scenes in memory"

    def __init__(self, parts: dict[str, dict[str, object]], **options: Any) -> None:  # noqa: ANN401
        super().__init__(**{"image_size": (8, 8), "seed": 0, "batch_size": 1, "window": 4, **options})
        self.scenes = {part: tuple(scenes.items()) for part, scenes in parts.items()}

    def reader(self, part: Part) -> SceneReader:
        return MemoryReader(part, self.scenes.get(part, ()))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))
    READS.clear()


def data(train: dict[str, object] | None = None, **options: Any) -> MemoryData:  # noqa: ANN401
    parts = {
        "train": train or {"a": line("a"), "b": line("b")},
        "val": {"v": line("v")},
        "test": {"t": line("t"), "u": line("u")},
    }
    return MemoryData(parts, **options)


def test_a_batch_holds_what_was_drawn() -> None:
    module = data(eval_draws=2)
    module.check()
    example = module.train_dataset()[SampleKey(0, 1)]
    assert example["id"] == "b/0000"
    for part, views in (("source", 2), ("novel", 1)):
        frames = example[part]
        assert frames["images"].shape == (views, 3, 8, 8)
        # The level of a picture tells which camera belongs to it.
        np.testing.assert_allclose(frames["extrinsics"][:, 0, 3], frames["images"][:, 0, 0, 0] / -10.0)
        # 12 x 16 scaled to 8 high is 11 wide, cut to 8.
        np.testing.assert_allclose(frames["intrinsics"][:, 0, 0], 0.8 * 11 / 8, rtol=1e-6)
    ids = [module.test_dataloader().dataset[SampleKey(0, index)]["id"] for index in range(4)]
    assert ids == ["t/00", "t/01", "u/00", "u/01"]


def test_evaluation_does_not_depend_on_the_seed_or_on_other_scenes() -> None:
    def drawn(module: MemoryData) -> dict[str, Any]:
        dataset = module.eval_dataset("test")
        examples = [dataset[SampleKey(0, index)] for index in range(len(dataset))]
        return {example["id"]: example["source"]["images"] for example in examples}

    few, more = data(seed=1), data(seed=2)
    more.scenes["test"] = (("s", line("s")), *more.scenes["test"])
    first, second = drawn(few), drawn(more)
    assert set(second) == {"s", "t", "u"}
    for name, images in first.items():
        np.testing.assert_array_equal(images, second[name])


def test_unusable_scenes_are_left_out_and_counted() -> None:
    module = data(
        {
            "good": line("good"),
            "still": line("still", step=0.0),
            "short": line("short", frames=2),
            "lost": UnusableSceneError("without frames", "lost: none of 9 frames is there"),
        }
    )
    with pytest.warns(
        UserWarning, match=r"Memory: found 1 usable train scenes under .*: 1 without frames, 1 "
    ):
        found = module.survey("train")
    assert found.usable == ["good"]
    assert found.dropped == {"without frames": ["lost"], "shorter than 3": ["short"], "static": ["still"]}
    assert module.describe("fit")["train scenes"] == 1


def test_nothing_usable_is_an_error_with_counts() -> None:
    module = data({"still": line("still", step=0.0)})
    with pytest.raises(UserError) as caught:
        module.check("fit")
    assert str(caught.value) == (
        "Memory: found 0 usable train scenes under the data: 1 static. First: still. Expected scenes in memory. See "
        "docs/data/memory.md"
    )
    with pytest.raises(
        UserError, match=r"found 2 usable train scenes under the data; data.min_items wants 3\."
    ):
        data(min_items=3).check("fit")


def test_bad_cameras_stop_or_are_skipped() -> None:
    scenes = {"bad": UserError("bad.txt line 3: NaN"), "good": line("good")}
    with pytest.raises(UserError, match=r"bad\.txt line 3: NaN"):
        data(scenes).check("fit")
    with pytest.warns(UserWarning, match="1 with unreadable cameras"):
        assert data(scenes, on_bad_scene="skip").survey("train").usable == ["good"]


def test_small_pictures_stop_or_are_skipped() -> None:
    small = line("small", pictures=[FlatPicture(1, (6, 16))] * 6)
    with pytest.raises(
        UserError, match=r"picture-1 is 16x6 .* lower data.image_size or set data.on_small: skip"
    ):
        data({"small": small, "good": line("good")}).check("fit")
    with pytest.warns(UserWarning, match=r"1 smaller than data\.image_size"):
        assert data({"small": small, "good": line("good")}, on_small="skip").survey("train").usable == [
            "good"
        ]


def test_a_scene_in_two_parts_is_refused_by_its_group() -> None:
    module = data({"a": line("a", group="film"), "b": line("b")})
    module.scenes["val"] = (("v", line("v", group="film")),)
    with pytest.raises(
        UserError, match=r"1 scenes are in two parts of the split: a \(train\) and v \(val\);"
    ):
        module.check("fit")
    module.check("test")


def test_a_stage_needs_only_its_parts() -> None:
    module = MemoryData({"test": {"t": line("t")}})
    module.check("test")
    assert module.describe("test") == {"test scenes": 1, "test samples": 1}
    with pytest.raises(UserError, match="found 0 usable train scenes"):
        module.check("fit")


def test_the_survey_is_made_once_and_again_when_something_changed() -> None:
    scenes = {"a": line("a"), "b": line("b")}
    first = MemoryData({"train": scenes, "val": {"v": line("v")}})
    reader = first.reader("train")
    first.reader = lambda part: reader  # type: ignore[method-assign, assignment]
    first.survey("train")
    assert sorted(READS) == ["a", "b"]
    again = MemoryData({})
    again.reader = lambda part: reader  # type: ignore[method-assign, assignment]
    assert again.survey("train").usable == ["a", "b"] and len(READS) == 2
    other = MemoryData({}, window=5)
    other.reader = lambda part: reader  # type: ignore[method-assign, assignment]
    other.survey("train")
    assert len(READS) == 4


def test_a_damaged_or_unwritable_cache_only_costs_time(tmp_path: Path) -> None:
    data().survey("train")
    for file in default_cache().glob("survey-*.json"):
        file.write_text('{"usable": ["a"')
    assert data().survey("train").usable == ["a", "b"]
    (tmp_path / "a file").write_text("")
    assert data(cache_dir=str(tmp_path / "a file" / "below")).survey("train").usable == ["a", "b"]


def test_unreadable_pictures_stop_or_are_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    broken = line("broken", pictures=[FlatPicture(1, broken=True)] * 6)
    scenes: dict[str, object] = {"broken": broken, "good": line("good")}
    with pytest.raises(UserError, match="picture-1: cannot be decoded"):
        data(scenes).train_dataset()[SampleKey(0, 0)]
    dataset = data(scenes, on_bad_image="skip").train_dataset()
    assert dataset[SampleKey(0, 0)]["id"] == "good/0000"
    dataset[SampleKey(1, 0)]
    assert capsys.readouterr().err.count("picture-1: cannot be decoded") == 1


def test_too_many_unreadable_pictures_stop_the_run() -> None:
    broken = line("broken", pictures=[FlatPicture(1, broken=True)] * 6)
    dataset = data({"broken": broken, "good": line("good")}, on_bad_image="skip").train_dataset()
    with pytest.raises(UserError, match=r"\d+ of 10\d examples had unreadable pictures, more than 1%"):
        for epoch in range(120):
            dataset[SampleKey(epoch, 0)]


@pytest.mark.parametrize(("least", "most"), [(1.5, None), (0.0, 1.5), (1.5, 2.5)])
def test_baselines_stay_in_their_bounds(least: float, most: float | None) -> None:
    dataset = data(mode="random", min_baseline=least, max_baseline=most).train_dataset()
    baselines = set()
    for epoch in range(60):
        places = dataset[SampleKey(epoch, 0)]["source"]["extrinsics"][:, 0, 3]
        baselines.add(round(float(abs(places[0] - places[1])), 6))
    possible = {distance for distance in (1, 2, 3) if least <= distance <= (most or 9)}
    assert baselines == possible


def test_windows_are_counted_in_rows_not_in_surviving_frames() -> None:
    holes = line("holes", numbers=np.array([0, 1, 2, 10, 11, 12]))
    dataset = data({"holes": holes}).train_dataset()
    for epoch in range(50):
        example = dataset[SampleKey(epoch, 0)]
        places = np.concatenate([example[part]["extrinsics"][:, 0, 3] for part in ("source", "novel")])
        assert set(-places) in ({0, 1, 2}, {3, 4, 5})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image_size": (4, 8)}, "data.image_size is 4; expected at least 8"),
        ({"samples_per_scene": 0}, "data.samples_per_scene is 0; expected at least 1"),
        ({"window": 2}, r"an example with data.window 2 cannot give 2 input and 1 novel views"),
        ({"min_baseline": 2.0, "max_baseline": 1.0}, "data.min_baseline is 2 and data.max_baseline 1.0"),
        ({"min_baseline": 9.0}, "1 without an allowed baseline"),
    ],
)
def test_impossible_options(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        data({"a": line("a")}, **options).check("fit")


@dataclass(frozen=True)
class CountedPicture(FlatPicture):
    def read(self, convert: bool) -> np.ndarray:
        READS.append(self.label)
        return super().read(convert)


@pytest.mark.parametrize(("scenes", "reads"), [(2, 1), (40, 5)])
def test_pictures_of_a_small_set_alone_are_kept(scenes: int, reads: int) -> None:
    def counted(number: int) -> PosedScene:
        pictures = [CountedPicture(3 * number + frame, (8, 8)) for frame in range(3)]
        return line(f"s{number}", frames=3, pictures=pictures)

    dataset = data({f"s{number}": counted(number) for number in range(scenes)}).train_dataset()
    examples = [dataset[SampleKey(epoch, 1)]["novel"]["images"] for epoch in range(5)]
    pictures = [name for name in READS if name.startswith("picture-")]
    assert len(pictures) == 3 * reads
    assert {int(image.max()) for image in examples} <= {int(name.partition("-")[2]) for name in pictures}


def test_the_examples_of_a_batch_are_those_of_its_keys() -> None:
    dataset = data(
        {"a": line("a"), "b": line("b"), "holes": line("holes", numbers=np.arange(6) * 9)}
    ).train_dataset()
    keys = [SampleKey(epoch, index) for epoch, index in ((0, 1), (3, 0), (0, 0))]
    for together, key in zip(dataset.__getitems__(keys), keys, strict=True):  # type: ignore[attr-defined]
        alone = dataset[key]
        assert together["id"] == alone["id"]
        for part in ("source", "novel"):
            np.testing.assert_array_equal(together[part]["images"], alone[part]["images"])
            np.testing.assert_array_equal(together[part]["extrinsics"], alone[part]["extrinsics"])
