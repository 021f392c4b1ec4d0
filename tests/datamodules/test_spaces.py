"""Spaces: the real calibration against SciPy, small written scenes, and one test for each trap of the data set."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from PIL import Image
from scipy.spatial.transform import Rotation

from repsynth.datamodules.posed_views import PosedExample
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.spaces import GROUPS, TEST_SCENES, VAL_SCENES, Spaces
from repsynth.datamodules.spaces_rig import read_rig, rotations
from repsynth.geometry.cameras import Cameras
from tests.datamodules.spaces_folder import WIDTH, height, level, write_scene


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training scenes, one of validation, two of test."""
    repository = tmp_path_factory.mktemp("spaces")
    for number in (1, 2, 5, 9, 73):
        write_scene(repository / "data" / "800" / f"scene_{number:03d}")
    return repository


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def repository(original: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(original, tmp_path / "spaces"))


def spaces(root: Path, **options: Any) -> Spaces:  # noqa: ANN401
    given = {"image_size": (32, 32), "seed": 0, "batch_size": 1, "val_scenes": (5,), "test_scenes": (9, 73)}
    return Spaces(str(root), **{**given, **options})


def cameras_of(example: PosedExample, part: str) -> list[float]:
    """Which cameras took the pictures."""
    return [float(image.mean()) / level(1) for image in example[part]["images"]]  # type: ignore[literal-required]


# The real calibration.


def test_real_cameras_against_scipy(shared_dir: Path) -> None:
    path = shared_dir / "data" / "spaces" / "models_excerpt.json"
    rig = read_rig(path, cameras=4)
    assert rig.positions == 2 and rig.pictures[1][3] == "cam_03/image_001.JPG"
    for position, entries in enumerate(json.loads(path.read_text())):
        for camera, entry in enumerate(entries):
            pose = np.eye(4)
            pose[:3, :3] = Rotation.from_rotvec(entry["orientation"]).as_matrix().T
            pose[:3, 3] = entry["position"]
            # SciPy's matrix turns the world into the camera, so its transpose and the position map back.
            np.testing.assert_allclose(rig.extrinsics[position, camera], np.linalg.inv(pose), atol=1e-12)
            focal, aspect = entry["focal_length"], entry["pixel_aspect_ratio"]
            intrinsics = [
                [focal / 800, 0, entry["principal_point"][0] / 800],
                [0, focal * aspect / entry["height"], entry["principal_point"][1] / entry["height"]],
                [0, 0, 1],
            ]
            np.testing.assert_allclose(rig.intrinsics[position, camera], intrinsics, rtol=1e-12)
    assert rig.sizes[0].tolist() == [[481, 800], [471, 800], [478, 800], [484, 800]]


def test_the_real_rig_is_rigid(shared_dir: Path) -> None:
    """The four cameras keep their places to one another while the rig moves; with inverted rotations they do not."""
    rig = read_rig(shared_dir / "data" / "spaces" / "models_excerpt.json", cameras=4)

    def relative(extrinsics: np.ndarray) -> np.ndarray:
        """Cameras 1 to 3 as camera 0 sees them."""
        return extrinsics[:, :1] @ np.linalg.inv(extrinsics[:, 1:])

    first, second = relative(rig.extrinsics)
    np.testing.assert_allclose(first, second, atol=1e-3)
    inverted = rig.extrinsics.copy()
    inverted[..., :3, :3] = inverted[..., :3, :3].swapaxes(-1, -2)
    centres = -np.einsum("pcji,pcj->pci", rig.extrinsics[..., :3, :3], rig.extrinsics[..., :3, 3])
    inverted[..., :3, 3] = -np.einsum("pcij,pcj->pci", inverted[..., :3, :3], centres)
    first, second = relative(inverted)
    assert np.abs(first - second).max() > 3e-3


def test_real_numbers_project_as_pixels(shared_dir: Path) -> None:
    """K [R | t] in pixels, from the numbers of the file, lands where the normalised cameras do."""
    path = shared_dir / "data" / "spaces" / "models_excerpt.json"
    rig = read_rig(path, cameras=4)
    entry = json.loads(path.read_text())[1][2]
    points = np.random.default_rng(0).normal(size=(20, 3)) + np.array([0, 0, 5])
    turned = Rotation.from_rotvec(entry["orientation"]).apply(points - entry["position"])
    across = entry["focal_length"] * turned[:, 0] / turned[:, 2] + entry["principal_point"][0]
    down = entry["focal_length"] * entry["pixel_aspect_ratio"] * turned[:, 1] / turned[:, 2]
    camera = Cameras(torch.from_numpy(rig.extrinsics[1, 2]), torch.from_numpy(rig.intrinsics[1, 2]))
    pixels, depth = camera.project(torch.from_numpy(points))
    np.testing.assert_allclose(pixels[:, 0] * 800, across)
    np.testing.assert_allclose(pixels[:, 1] * entry["height"], down + entry["principal_point"][1])
    np.testing.assert_allclose(depth, turned[:, 2])


def test_wide_lenses(shared_dir: Path) -> None:
    """Trap: 121 degrees across: what is far from the axis of one camera lies outside the pictures of others."""
    rig = read_rig(shared_dir / "data" / "spaces" / "models_excerpt.json", cameras=4)
    focal = rig.intrinsics[..., 0, 0]
    angles = np.degrees(2 * np.arctan(0.5 / focal))
    assert angles.min() > 119 and angles.max() < 122


def test_rotations_of_all_angles_against_scipy() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 2, 3)) * rng.uniform(0, 4, size=(50, 2, 1))
    expected = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(50, 2, 3, 3)
    np.testing.assert_allclose(rotations(vectors), expected, atol=1e-12)


@pytest.mark.parametrize("length", [0.0, 1e-12, 0.9e-7])
def test_the_shortest_vectors_turn_nothing(length: float) -> None:
    """|v| < 1e-7 is the identity, exactly: a division by the length would give NaN for 0."""
    np.testing.assert_array_equal(rotations(np.array([[0.0, length, 0.0]])), np.eye(3)[None])
    assert rotations(np.array([0.0, 1.1e-7, 0.0]))[0, 2] == pytest.approx(1.1e-7)


# Evaluation.


def test_evaluation_has_the_cameras_of_the_groups(repository: Path) -> None:
    module = spaces(repository)
    module.check("test")
    dataset = module.eval_dataset("test")
    examples = [dataset[SampleKey(0, index)] for index in range(len(dataset))]
    names = [example["id"] for example in examples]
    assert names == sorted(names) and len(set(names)) == 2 * (3 + 6 + 9)
    inputs = {"small": [2, 1, 11, 10], "medium": [3, 1, 12, 10], "large": [3, 0, 12, 9]}
    novel: dict[str, set[int]] = {}
    for example in examples:
        scene, position, group, camera = example["id"].split("/")
        assert scene in ("scene_009", "scene_073") and position == "0"
        assert cameras_of(example, "source") == inputs[group]
        assert cameras_of(example, "novel") == [int(camera)]
        novel.setdefault(group, set()).add(int(camera))
    assert novel == {
        "small": {5, 6, 7},
        "medium": {2, 4, 5, 6, 7, 11},
        "large": {1, 2, 4, 5, 6, 7, 8, 10, 11},
    }
    assert names[0] == "scene_009/0/large/01" and names[-1] == "scene_073/0/small/07"


def test_groups_and_number_of_scenes_are_options(repository: Path) -> None:
    module = spaces(repository, groups=("small",), eval_scenes=1, eval_batch_size=3)
    (batch,) = module.test_dataloader()
    assert batch["ids"] == ["scene_009/0/small/05", "scene_009/0/small/06", "scene_009/0/small/07"]
    assert batch["source"]["images"].shape == (3, 4, 3, 32, 32)
    assert module.protocol == (
        "Spaces, rig position 0, each novel camera from the quad of its group: small (2, 1, 11, 10) -> (5, 6, 7); "
        "32 x 32 pixels (crop)"
    )


def test_without_groups_evaluation_is_drawn(repository: Path) -> None:
    module = spaces(repository, groups=(), source_views=2, eval_draws=2)
    names = [example.name for example in module.evaluation_examples("val")]
    assert names == ["scene_005/0/00", "scene_005/0/01", "scene_005/1/00", "scene_005/1/01"]
    assert module.eval_dataset("val")[SampleKey(0, 3)]["source"]["images"].shape == (2, 3, 32, 32)
    assert "2 input views by random" in module.protocol


def test_groups_ask_for_no_baselines(repository: Path) -> None:
    """Options that draw training examples do not take scenes away from the evaluation."""
    module = spaces(repository, min_baseline=5.0)
    assert module.survey("test").usable == ["scene_009/0", "scene_073/0"]
    with pytest.raises(
        ValueError, match=r"found 0 usable train scenes under .*: 4 without an allowed baseline"
    ):
        module.survey("train")


# Parts.


def test_the_split_goes_by_numbers(repository: Path) -> None:
    module = spaces(repository)
    module.check()
    assert module.survey("train").usable == ["scene_001/0", "scene_001/1", "scene_002/0", "scene_002/1"]
    assert module.survey("val").usable == ["scene_005/0"]
    assert module.describe()["test samples"] == 36
    chosen = spaces(repository, train_scenes=(2, 73), test_scenes=(9,))
    assert chosen.survey("train").usable == ["scene_002/0", "scene_002/1", "scene_073/0", "scene_073/1"]
    with pytest.raises(
        ValueError, match=r"1 scenes are in two parts of the split: scene_005/0 \(train\) and scene_005"
    ):
        spaces(repository, train_scenes=(5,)).check("fit")
    with pytest.raises(
        ValueError, match=r"in two parts of the split: scene_005 \(train\) and scene_005/0 \(val\)"
    ):
        spaces(repository, train_scenes=(5,), draw_over="sequence").check("fit")


def test_the_default_parts_do_not_meet() -> None:
    assert len(set(TEST_SCENES)) == 10 and not set(TEST_SCENES) & set(VAL_SCENES)
    assert all(not set(inputs) & set(novel) for inputs, novel in GROUPS.values())


def test_listed_scenes_that_are_not_there_are_counted(repository: Path) -> None:
    with pytest.warns(
        UserWarning,
        match="found 2 usable test scenes under .*: 8 without models.json. First: scene_000/0; the",
    ):
        spaces(repository, test_scenes=TEST_SCENES).check("test")


@pytest.mark.parametrize("below", [".", "data", "data/800"])
def test_the_root_may_be_the_repository_or_below(repository: Path, below: str) -> None:
    assert spaces(repository / below).survey("test").usable == ["scene_009/0", "scene_073/0"]


def test_the_root_may_be_one_scene(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "data" / "800" / "scene_009")
    module = spaces(Path())
    module.check("test")
    assert module.eval_dataset("test")[SampleKey(0, 0)]["id"] == "scene_009/0/large/01"


def test_larger_pictures_lie_beside(repository: Path) -> None:
    write_scene(repository / "data" / "2k" / "scene_009", positions=1)
    module = spaces(repository, resolution="2k", test_scenes=(9,))
    scene = module.reader("test").read("scene_009/0")
    assert scene.pictures[0].label == str(
        repository / "data" / "2k" / "scene_009" / "cam_00" / "image_000.png"
    )


def test_options_come_as_the_command_line_gives_them(repository: Path) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Spaces, "data")
    init = "--data.init_args."
    given = [f"--data={Spaces.__module__}.Spaces", f"{init}root={repository}", f"{init}groups=[large]"]
    given += [f"{init}val_scenes=[5]", f"{init}test_scenes=[9]", f"{init}image_size=[32,32]"]
    module = parser.instantiate_classes(parser.parse_args(given)).data
    assert module.evaluation_examples("test")[0].name == "scene_009/0/large/01"
    assert module.views.sources == 4 and module.scenes["train"] is None


# Training.


def test_training_stays_at_one_position_of_the_rig(repository: Path) -> None:
    module = spaces(repository, samples_per_scene=2)
    dataset = module.train_dataset()
    assert len(dataset) == 4 * 2  # type: ignore[arg-type]
    for epoch in range(6):
        for index in range(8):
            example = dataset[SampleKey(epoch, index)]
            position = index // 2 % 2
            assert example["id"] == f"scene_00{1 + index // 4}/{position}/000{index % 2}"
            for part in ("source", "novel"):
                poses = example[part]["extrinsics"]
                centres = -np.einsum("vji,vj->vi", poses[:, :3, :3], poses[:, :3, 3])
                np.testing.assert_allclose(centres[:, 2], 0.05 * position, atol=1e-6)
                cameras = np.array(cameras_of(example, part))
                np.testing.assert_allclose(centres[:, 0], 0.1 * (cameras % 4), atol=1e-6)
                np.testing.assert_allclose(centres[:, 1], 0.1 * (cameras // 4), atol=1e-6)


def test_training_may_mix_the_positions_of_a_scene(repository: Path) -> None:
    module = spaces(repository, draw_over="sequence", window=32)
    assert module.survey("train").usable == ["scene_001", "scene_002"]
    scene = module.reader("train").read("scene_001")
    assert scene.numbers.tolist() == list(range(32)) and len(scene.pictures) == 32
    np.testing.assert_allclose(scene.centres[[3, 19], 2], [0, 0.05], atol=1e-12)
    assert Path(scene.pictures[19].label).parts[-2:] == ("cam_03", "image_001.png")
    assert module.survey("test").usable == [
        "scene_009/0",
        "scene_073/0",
    ]  # evaluation stays at the first position


def test_windows_count_cameras(repository: Path) -> None:
    dataset = spaces(repository, window=5, mode="extrapolation").train_dataset()
    for epoch in range(30):
        example = dataset[SampleKey(epoch, 0)]
        cameras = cameras_of(example, "source") + cameras_of(example, "novel")
        assert max(cameras) - min(cameras) == 4


# Lengths.


def test_lengths_are_metres_with_planes_from_1_to_100(repository: Path) -> None:
    """Trap: the data set gives no depths: near and far are chosen."""
    scene = spaces(repository).reader("test").read("scene_009/0")
    np.testing.assert_allclose(scene.centres[5], [0.1, 0.1, 0], atol=1e-12)
    assert scene.depth_range == (1, 100)
    np.testing.assert_allclose(scene.median_depth, 2 / (1 + 0.01))
    scaled = spaces(repository, scale=3.0, near=0.5, far=60.0).reader("test").read("scene_009/0")
    np.testing.assert_allclose(scaled.centres, 3 * scene.centres, atol=1e-12)
    np.testing.assert_allclose(scaled.extrinsics[:, :3, :3], scene.extrinsics[:, :3, :3])
    assert scaled.depth_range == (0.5, 60)


def test_simplis_rule_measures_in_the_distance_of_cameras_4_and_8(repository: Path) -> None:
    module = spaces(repository, scale=0.5, scale_per="rig")
    for name in ("scene_001/0", "scene_001/1"):
        centres = module.reader("train").read(name).centres
        assert np.linalg.norm(centres[4] - centres[8]) == pytest.approx(0.5)


# Pictures.


def test_intrinsics_follow_each_picture(repository: Path) -> None:
    """Trap: heights differ per camera, so that one crop for all would be wrong."""
    module = spaces(repository, image_size=(36, 36), groups=("large",))
    example = module.eval_dataset("test")[SampleKey(0, 0)]
    for camera, intrinsics in zip((3, 0, 12, 9), example["source"]["intrinsics"], strict=True):
        # Scaled to 36 high, then the middle cut out of the width.
        tall, scaled = height(camera), round(WIDTH * 36 / height(camera))
        left = (scaled - 36) // 2
        assert intrinsics[0, 0] == pytest.approx((20 + camera) / WIDTH * scaled / 36)
        assert intrinsics[0, 2] == pytest.approx((31 / WIDTH * scaled - left) / 36)
        assert intrinsics[1, 1] == pytest.approx((20 + camera) * 0.998 / tall)
        assert intrinsics[1, 2] == pytest.approx(19.5 / tall)


def test_the_lowest_picture_counts(repository: Path) -> None:
    """Trap: the first camera is 43 high here, others 40: the first picture does not tell of all."""
    for scene in (repository / "data" / "800").iterdir():
        models = json.loads((scene / "models.json").read_text())
        for position in models:
            position[0], position[3] = position[3], position[0]
        (scene / "models.json").write_text(json.dumps(models))
    spaces(repository, image_size=(40, 40)).check("test")
    with pytest.raises(
        ValueError, match=r"scene_009/cam_00/image_000.png is 64x40 \(width x height\), smaller than"
    ):
        spaces(repository, image_size=(41, 41)).check("test")
    with pytest.raises(
        ValueError, match=r"found 0 usable test scenes under .*: 2 smaller than data\.image_size"
    ):
        spaces(repository, image_size=(41, 41), on_small="skip").check("test")


def test_reduced_copies_fit_and_whole_numbers_are_numbers(repository: Path) -> None:
    """Trap: width and height are written as floats; whole numbers and smaller pictures must do as well."""
    folder = repository / "data" / "800" / "scene_009"
    expected = spaces(repository).reader("test").read("scene_009/0")
    models = json.loads((folder / "models.json").read_text())
    for position in models:
        for entry in position:
            entry["width"], entry["height"] = int(entry["width"]), int(entry["height"])
            path = folder / entry["relative_path"]
            picture = Image.open(path)
            picture.resize((picture.width // 2, round(picture.height / 2))).save(path)
    (folder / "models.json").write_text(json.dumps(models))
    module = spaces(repository, image_size=(16, 16))
    module.check("test")
    scene = module.reader("test").read("scene_009/0")
    np.testing.assert_array_equal(scene.intrinsics, expected.intrinsics)


def test_a_changed_calibration_is_read_anew(repository: Path) -> None:
    module = spaces(repository)
    before = module.reader("train").read("scene_001/0").centres
    path = repository / "data" / "800" / "scene_001" / "models.json"
    models = json.loads(path.read_text())
    models[0][0]["position"] = [7, 7, 7]
    path.write_text(json.dumps(models))
    after = module.reader("train").read("scene_001/0").centres
    assert before[0].tolist() != after[0].tolist()
    np.testing.assert_allclose(after[0], 7)
