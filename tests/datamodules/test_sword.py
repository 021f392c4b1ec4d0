"""SWORD: the real layout against LLFF's fern, small written data sets, and one test for each trap of its loader."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonargparse import ArgumentParser
from PIL import Image

from repsynth.datamodules import colmap
from repsynth.datamodules.images import read_image
from repsynth.datamodules.llff_scene import convert_rows
from repsynth.datamodules.posed_scene import UnusableSceneError
from repsynth.datamodules.posed_views import PosedExample
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.scene_points import depths_of_points
from repsynth.datamodules.sword import SWORD
from tests.datamodules.sword_folder import (
    SIZE,
    camera_row,
    level,
    write_clip,
    write_data_set,
    write_list,
    write_pictures,
    write_points,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training clips, one validation and one test clip."""
    write_data_set(tmp_path / "sword", train=2, val=1, test=1)
    return tmp_path / "sword"


def sword(root: Path, **options: Any) -> SWORD:  # noqa: ANN401
    return SWORD(
        str(root), **{"image_size": (32, 32), "seed": 0, "batch_size": 1, "num_workers": 0, **options}
    )


def relist(root: Path, part: str, *, drop: tuple[str, ...] = (), **fields: str) -> None:
    """Change fields of all rows of a list, or drop columns."""
    path = root / f"sorted_{part}.csv"
    with path.open(newline="") as file:
        rows = [{**row, **fields} for row in csv.DictReader(file)]
    write_list(path, [{key: value for key, value in row.items() if key not in drop} for row in rows])


def frames_of(example: PosedExample) -> list[tuple[float, float]]:
    """(frame by its pixels, frame by its camera) of all views; clips are written with cameras one scene unit apart."""
    found = []
    for part in ("source", "novel"):
        views = example[part]  # type: ignore[literal-required]
        for image, pose in zip(views["images"], views["extrinsics"], strict=True):
            found.append((float(image.mean()) / level(1), -float(pose[0, 3])))
    return found


# The real layout.


def fern(shared_dir: Path, **options: Any) -> SWORD:  # noqa: ANN401
    return sword(shared_dir / "data" / "sword_layout", test_csv="dataset.csv", **options)


def test_the_real_layout_has_the_cameras_of_llffs_fern_up_to_scale(shared_dir: Path) -> None:
    module = fern(shared_dir)
    module.check("test")
    scene = module.reader("test").read("fern")
    expected, intrinsics = convert_rows(np.load(shared_dir / "data" / "llff" / "fern" / "poses_bounds.npy"))
    np.testing.assert_allclose(scene.extrinsics[:, :3, :3], expected[:, :3, :3], atol=1e-8)
    scale = 1.25 / 23.249974
    np.testing.assert_allclose(scene.extrinsics[:, :3, 3], scale * expected[:, :3, 3], atol=1e-8)
    np.testing.assert_allclose(scene.intrinsics, np.tile(intrinsics, (20, 1, 1)), atol=1e-8)
    # Frame 000033 i belongs to row i, which is the i-th photograph.
    pictures = sorted((shared_dir / "data" / "llff" / "fern" / "images_8").iterdir())
    for row in (0, 7, 19):
        assert scene.pictures[row].label.endswith(f"{33 * row:06d}.jpg")
        difference = scene.pictures[row].read(False).astype(float) - read_image(pictures[row])
        assert np.abs(difference).mean() < 4


def test_a_tenth_of_the_real_points_lies_before_the_scale_constant(shared_dir: Path) -> None:
    module = fern(shared_dir, scale_constant=2.0, use_points=True)
    scene = module.reader("test").read("fern")
    points = colmap.read_points(
        shared_dir / "data" / "sword_layout" / "point_clouds" / "fern" / "points3D.bin"
    )
    positions = points.positions * (2.0 / 23.249974)
    seen = []
    for view, pose in enumerate(scene.extrinsics):
        places = positions[points.seen_by(view + 1)]
        seen.append(places @ pose[2, :3] + pose[2, 3])
    joined = np.concatenate(seen)
    assert np.quantile(joined, 0.1) == pytest.approx(2.0, rel=1e-6)
    # Without tracks the points in front and inside of the picture stand for those that a view sees.
    np.testing.assert_allclose(scene.median_depth, [np.median(depths) for depths in seen], rtol=0.08)
    rows = np.load(shared_dir / "data" / "llff" / "fern" / "poses_bounds.npy")
    bounds = np.array([rows[:, 15].min() * 0.9, rows[:, 16].max() * 1.1]) * (2.0 / 23.249974)
    np.testing.assert_allclose(scene.depth_range, bounds, rtol=0.15)


def test_the_real_layout_gives_batches(shared_dir: Path) -> None:
    module = fern(shared_dir, image_size=(256, 256), eval_draws=2)
    module.check("test")
    batches = list(module.test_dataloader())
    assert [batch["ids"] for batch in batches] == [["fern/00"], ["fern/01"]]
    assert batches[0]["source"]["images"].shape == (1, 2, 3, 256, 256)
    assert module.describe("test") == {"test scenes": 1, "test samples": 2}
    assert module.protocol == (
        "SWORD, 1 novel from 2 input views by extrapolation in a window of 10 rows, 2 per scene; 256 x 256 pixels "
        "(crop)"
    )


# Lists and parts.


def test_each_part_has_its_list(root: Path) -> None:
    module = sword(root, samples_per_scene=2)
    module.check()
    assert module.describe() == {
        "train scenes": 2,
        "val scenes": 1,
        "test scenes": 1,
        "training samples": 4,
        "samples per epoch": 4,
        "validation samples": 1,
        "test samples": 1,
    }
    example = module.train_dataset()[SampleKey(0, 3)]
    assert example["id"] == "train1/0001"
    for by_pixels, by_camera in frames_of(example):
        assert by_pixels == by_camera


def test_parts_may_share_a_list_with_names_of_scenes(root: Path) -> None:
    write_list(root / "dataset.csv", [write_clip(root, name) for name in "abcd"])
    (root / "held_out.txt").write_text("d\n\nc\n")
    lists = {f"{part}_csv": "dataset.csv" for part in ("train", "val", "test")}
    module = sword(root, **lists, train_scenes=("b", "a"), val_scenes=("c",), test_scenes="held_out.txt")
    assert [module.survey(part).usable for part in ("train", "val", "test")] == [
        ["a", "b"],
        ["c"],
        ["c", "d"],
    ]
    module.check("fit")


def test_options_come_as_the_command_line_gives_them(root: Path) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SWORD, "data")
    init = "--data.init_args."
    given = [f"--data={SWORD.__module__}.SWORD", f"{init}root={root}", f"{init}images=256", f"{init}window=5"]
    given += [f"{init}val_scenes=names.txt", f"{init}test_scenes=[a,b]"]
    module = parser.instantiate_classes(parser.parse_args(given)).data
    assert (module.images, module.views.window) == (256, 5)
    assert module.scenes == {"train": None, "val": "names.txt", "test": ("a", "b")}


def test_validation_may_lie_elsewhere_with_its_own_scale(root: Path, tmp_path: Path) -> None:
    write_data_set(tmp_path / "tablet", tablet=1)
    relist(tmp_path / "tablet", "tablet", p_1="1", p_10="2")
    module = sword(
        root,
        val_root=str(tmp_path / "tablet"),
        val_csv="sorted_tablet.csv",
        val_scale_constant=2.0,
        val_min_percentile_depth=0.0,
    )
    module.check("fit")
    assert module.survey("val").usable == ["tablet0"]
    assert module.reader("val").read("tablet0").centres[1, 0] == pytest.approx(16.0)
    assert module.reader("train").read("train0").centres[1, 0] == pytest.approx(1.0)


@pytest.mark.parametrize("column", ["scene_name", "scene_id"])
def test_either_column_names_the_scenes(root: Path, column: str) -> None:
    """Trap: scene_id is documented, scene_name is what the released loader reads."""
    rows = [write_clip(root, name) for name in ("one", "two")]
    for row in rows:
        row[column] = row.pop("scene_name")
    write_list(root / "sorted_train.csv", rows)
    assert sword(root).survey("train").usable == ["one", "two"]


def test_quoted_fields_an_index_column_and_a_byte_order_mark(root: Path) -> None:
    write_clip(root, "a, b")
    text = (
        '\ufeff,"scene_name",views_path,images_path,p_10,p_50\r\n'
        '0,"a, b","views/a, b.txt","videos/a, b",20,\r\n'
        "\r\n"
    )
    (root / "sorted_test.csv").write_bytes(text.encode())
    module = sword(root)
    module.check("test")
    assert module.survey("test").usable == ["a, b"]


def test_ids_are_names_not_paths(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap: scene ids become absolute paths in the released code, so that figures depend on the machine."""
    monkeypatch.chdir(tmp_path)
    for place in ("sword", str(root)):
        assert sword(Path(place)).eval_dataset("test")[SampleKey(0, 0)]["id"] == "test0"


def test_a_clip_in_two_lists_is_refused_by_its_name(root: Path) -> None:
    (root / "sorted_val.csv").write_bytes((root / "sorted_train.csv").read_bytes())
    with pytest.raises(
        ValueError, match=r"SWORD: 2 scenes are in two parts of the split: train0 \(train\) and train0"
    ):
        sword(root).check("fit")


# Scale and depths.


def test_lengths_are_divided_by_p_10_over_the_constant(root: Path) -> None:
    """p_10 = 20 and cameras 16 apart: with 1.25 they are one scene unit apart, with 2.5 two."""
    for constant in (1.25, 2.5):
        scene = sword(root, scale_constant=constant).reader("train").read("train0")
        np.testing.assert_allclose(scene.centres[:, 0], np.arange(6) * constant / 1.25)
        # p_1 = 18 and p_90 = 60, widened; the median is p_50 = 30.
        np.testing.assert_allclose(scene.depth_range, np.array([18 * 0.9, 60 * 1.1]) * constant / 20)
        np.testing.assert_allclose(scene.median_depth, 30 * constant / 20)


def test_without_high_percentiles_the_far_plane_is_that_of_the_released_code(root: Path) -> None:
    relist(root, "train", drop=("p_1", "p_50", "p_90"))
    scene = sword(root).reader("train").read("train0")
    near, far = scene.depth_range
    assert (near, far) == pytest.approx((0.9 * 1.25, 100.0))
    assert 1 / scene.median_depth[0] == pytest.approx((1 / 1.25 + 1.1 / 100) / 2)


def test_points_give_range_and_medians_of_what_lies_in_front(root: Path) -> None:
    depths = np.linspace(30, 50, 201)
    seen = np.stack([np.zeros(201), np.zeros(201), depths], axis=1)
    behind, aside = np.array([[0, 0, -40.0]] * 99), np.array([[1e4, 0, 35.0]] * 999)
    write_points(root / "point_clouds" / "train0" / "points3D.bin", np.concatenate([behind, seen, aside]))
    scene = sword(root, use_points=True).reader("train").read("train0")
    scale = 1.25 / 20
    # The camera of frame 0 sees 30 to 50; the quantiles are a thousandth inside.
    np.testing.assert_allclose(scene.depth_range, np.array([30.02 * 0.9, 49.98 * 1.1]) * scale)
    assert scene.median_depth[0] == pytest.approx(40 * scale)
    # Frame 5 is 80 along x: points nearer than 80 * 0.8 / 0.51 lie left of its picture, so none is inside.
    assert scene.median_depth[5] == pytest.approx(np.median(scene.median_depth[:3]))


def test_depths_of_points_against_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(500, 3)) * 3
    extrinsics = np.tile(np.eye(4), (4, 1, 1))
    extrinsics[:, :3, 3] = rng.normal(size=(4, 3))
    intrinsics = np.tile(np.array([[0.8, 0, 0.4], [0, 1.1, 0.6], [0, 0, 1]]), (4, 1, 1))
    seen: list[list[float]] = [[], [], [], []]
    for view in range(4):
        for x, y, z in positions + extrinsics[view, :3, 3]:
            if z > 0 and 0 <= 0.8 * x / z + 0.4 <= 1 and 0 <= 1.1 * y / z + 0.6 <= 1:
                seen[view].append(z)
    found = depths_of_points(positions, extrinsics, intrinsics)
    assert found is not None
    np.testing.assert_allclose(found.median, [np.median(depths) for depths in seen])
    assert found.near == pytest.approx(min(np.quantile(depths, 0.001) for depths in seen))
    assert found.far == pytest.approx(max(np.quantile(depths, 0.999) for depths in seen))
    assert depths_of_points(-np.abs(positions) - 9, extrinsics, intrinsics) is None


@pytest.mark.parametrize(
    ("column", "place"),
    [
        (None, "colmap/train0/points3D.bin"),
        (None, "point_clouds/train0/points3D.bin"),
        ({"colmap_path": "models/x"}, "models/x/points3D.bin"),
        ({"sparse_pointcloud_path": "clouds/x.bin", "colmap_path": "models/x"}, "clouds/x.bin"),
    ],
)
def test_a_point_cloud_lies_where_the_list_says_or_in_the_usual_places(
    root: Path, column: dict[str, str] | None, place: str
) -> None:
    relist(root, "train", **(column or {}))
    write_points(root / place, np.array([[0, 0, 25.0], [0, 0, 35.0]]))
    scene = sword(root, use_points=True).reader("train").read("train0")
    assert scene.median_depth[0] == pytest.approx(30 * 1.25 / 20)


def test_missing_point_clouds_matter_only_when_they_are_asked_for(root: Path) -> None:
    """Trap: the released loader skips scenes without a point cloud without a word, even when it uses none."""
    module = sword(root)
    module.check("fit")
    assert module.survey("train").usable == ["train0", "train1"]
    with pytest.raises(
        ValueError, match=r"train0: point cloud missing, needed because data\.use_points is on"
    ):
        sword(root, use_points=True).check("fit")


def test_small_depths_drop_scenes_visibly(root: Path) -> None:
    """Trap: scenes with p_10 <= 15, in raw units of COLMAP, vanish silently in the released loader."""
    rows = [{**write_clip(root, f"clip{p}"), "p_1": "1", "p_10": str(p)} for p in (14, 15, 16)]
    write_list(root / "sorted_train.csv", rows)
    with pytest.warns(
        UserWarning,
        match=r"SWORD: found 1 usable train scenes under .*: 2 with p_10 <= 15 \(data.min_percentile_depth\)\. First: "
        "clip14; the dropped ones are left out",
    ):
        assert sword(root).survey("train").usable == ["clip16"]
    assert len(sword(root, min_percentile_depth=0.0).survey("train").usable) == 3


# Frames.


def test_a_missing_frame_leaves_a_hole_and_does_not_end_the_clip(root: Path) -> None:
    """Trap: the released loader stops at the first row without a frame."""
    (root / "videos" / "train0" / "000002.png").unlink()
    scene = sword(root).reader("train").read("train0")
    assert scene.numbers.tolist() == [0, 1, 3, 4, 5]
    np.testing.assert_allclose(scene.centres[:, 0], [0, 1, 3, 4, 5])
    with pytest.warns(UserWarning, match="1 rows of train camera files have no picture, 11 have"):
        module = sword(root, window=3, mode="random", source_views=2, novel_views=1)
        dataset = module.train_dataset()
    for epoch in range(20):  # three rows in a row are never 1, 3 and 4
        drawn = frames_of(dataset[SampleKey(epoch, 0)])
        assert sorted(frame for frame, _ in drawn) == [3, 4, 5] and all(one == other for one, other in drawn)


def test_frame_names_are_compared_as_text(root: Path) -> None:
    """Trap: 000001 is not 1; and a name may hold a point that starts no suffix."""
    folder = root / "videos" / "train0"
    (folder / "000001.png").rename(folder / "1.png")
    (folder / "000002.png").rename(folder / "clip.v2.png")
    path = root / "views" / "train0.txt"
    path.write_text(path.read_text().replace("000002", "clip.v2"))
    scene = sword(root).reader("train").read("train0")
    assert scene.numbers.tolist() == [0, 2, 3, 4, 5]
    assert scene.pictures[1].label.endswith("clip.v2.png")


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".JPG", ".jpeg", ".gif", ".GIF"])
@pytest.mark.parametrize("written", [False, True])
def test_frames_may_have_any_suffix_which_the_camera_file_may_name(
    root: Path, suffix: str, written: bool
) -> None:
    write_list(root / "sorted_test.csv", [write_clip(root, "clip", suffix=suffix)])
    if written:
        rows = [camera_row(f"{frame:06d}{suffix}", 16.0 * frame) for frame in range(6)]
        (root / "views" / "clip.txt").write_text("\n".join(["# clip", *rows, ""]))
    example = sword(root).eval_dataset("test")[SampleKey(0, 0)]
    for by_pixels, by_camera in frames_of(example):
        assert by_pixels == pytest.approx(by_camera, abs=0.1)


def test_the_last_row_counts_without_a_line_end(root: Path) -> None:
    """Trap: the released parser drops the last row unless the file ends with a newline."""
    path = root / "views" / "train0.txt"
    path.write_text(path.read_text().rstrip("\n"))
    assert len(sword(root).reader("train").read("train0").pictures) == 6


def test_clips_without_frames_or_camera_file_are_left_out_and_counted(root: Path) -> None:
    rows = [write_clip(root, name) for name in ("whole", "empty", "unposed")]
    write_list(root / "sorted_train.csv", rows)
    for picture in (root / "videos" / "empty").iterdir():
        picture.rename(picture.with_name(f"frame{picture.name}"))
    (root / "views" / "unposed.txt").unlink()
    module = sword(root)
    with pytest.warns(UserWarning, match="1 without frames, 1 without a camera file. First: empty"):
        assert module.survey("train").usable == ["whole"]
    with pytest.raises(UnusableSceneError) as caught:
        module.reader("train").read("empty")
    assert str(caught.value) == (
        f"SWORD: empty: none of the 6 rows of {root}/views/empty.txt has a frame in {root}/videos/empty (first wanted: "
        "000000; first present: frame000000.png); names are compared as text: rename the frames or complete the data "
        "set"
    )


def test_half_a_picture_is_an_error(root: Path) -> None:
    """Trap: the released loader lets truncated pictures pass in the whole process: half-grey ones train silently."""
    rng = np.random.default_rng(0)
    for file in (root / "videos" / "test0").iterdir():
        Image.fromarray(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(file)
        file.write_bytes(file.read_bytes()[:4000])
    module = sword(root)
    module.check("test")
    with pytest.raises(ValueError, match=r"test0/00000\d.png: cannot be decoded \(image file is truncated"):
        module.eval_dataset("test")[SampleKey(0, 0)]


# Sizes.


def test_the_smallest_copy_that_is_large_enough_is_read(root: Path) -> None:
    write_pictures(root / "videos_24" / "train0", 6, (24, 32))
    write_pictures(root / "videos_36" / "train0", 6, (36, 48))
    write_pictures(root / "videos_old" / "train0", 6, (300, 400))

    def folder(**options: Any) -> str:  # noqa: ANN401
        scene = sword(root, **options).reader("train").read("train0")
        return Path(scene.pictures[0].label).parents[1].name

    assert folder(image_size=(24, 24)) == "videos_24"
    assert folder(image_size=(24, 33)) == "videos_36"
    assert folder(image_size=(40, 40)) == "videos"
    assert folder(image_size=(99, 99)) == "videos"  # too small too, which the check then tells
    assert folder(image_size=(24, 24), images=36) == "videos_36"
    assert folder(image_size=(24, 24), images="full") == "videos"


def test_copies_may_be_named_by_columns_and_stand_alone(root: Path) -> None:
    write_pictures(root / "small" / "test0", 6, (40, 53))
    relist(root, "test", images_path_40="small/test0", images_path_20="")
    for picture in (root / "videos" / "test0").iterdir():
        picture.unlink()
    module = sword(root)
    module.check("test")
    scene = module.reader("test").read("test0")
    assert {Path(picture.label).parent for picture in scene.pictures} == {root / "small" / "test0"}


def test_stretching_keeps_intrinsics_and_cropping_moves_the_principal_point(root: Path) -> None:
    """Trap: with an odd remainder the crop's offset is rounded down and the principal point moves by half a pixel."""
    stretched = sword(root, fit="stretch", image_size=(40, 40)).eval_dataset("test")[SampleKey(0, 0)]
    expected = np.array([[0.8, 0, 0.51], [0, 1.1, 0.49], [0, 0, 1]])
    np.testing.assert_allclose(stretched["source"]["intrinsics"], np.tile(expected, (2, 1, 1)), rtol=1e-6)
    # 48 x 64 is 36 high and 48 wide; 13 columns go, of which 6 on the left.
    cropped = sword(root, image_size=(36, 35)).eval_dataset("test")[SampleKey(0, 0)]["source"]["intrinsics"]
    np.testing.assert_allclose(cropped[:, 0, 2], (0.51 * 48 - 6) / 35, rtol=1e-6)
    np.testing.assert_allclose(cropped[:, 0, 0], 0.8 * 48 / 35, rtol=1e-6)
    np.testing.assert_allclose(cropped[:, 1, 1:], [[1.1, 0.49]] * 2, rtol=1e-6)


def test_a_changed_list_is_surveyed_anew(root: Path) -> None:
    assert len(sword(root).survey("train").usable) == 2
    write_list(
        root / "sorted_train.csv", [write_clip(root, "train0"), *(write_clip(root, name) for name in "xyz")]
    )
    assert sword(root).survey("train").usable == ["train0", "x", "y", "z"]
