"""Scenes posed by COLMAP, as data."""

import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from repsynth.datamodules import colmap
from repsynth.datamodules.captures import is_held_out, training_part
from repsynth.datamodules.colmap_model import Camera, Photograph
from repsynth.datamodules.colmap_scene import COLMAPCaptures
from repsynth.datamodules.colmap_scenes import COLMAPScenes
from repsynth.datamodules.llff import LLFF
from repsynth.datamodules.llff_scene import convert_rows
from repsynth.datamodules.posed_scene import PosedScene, UnusableSceneError, middle_depth
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.views import camera_centres
from repsynth.errors import UserError
from repsynth.geometry.cameras import Cameras
from tests.datamodules.colmap_folder import FULL, PINHOLE, write_binary, write_scene, write_text


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colmap") / "garden"
    write_scene(folder)
    return folder


@pytest.fixture
def garden(original: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(original, tmp_path / "garden"))


def data(root: Path, **options: Any) -> COLMAPScenes:  # noqa: ANN401
    return COLMAPScenes(str(root), **{"image_size": (48, 48), "seed": 0, **options})


def scene_of(root: Path, part: Any = "test", **options: Any) -> PosedScene:  # noqa: ANN401
    return data(root, **options).reader(part).read(root.name)


def model_of(folder: Path) -> tuple[Any, dict[int, Photograph], Any]:
    place = folder / "sparse" / "0"
    return (
        colmap.read_cameras(place / "cameras.bin"),
        colmap.read_photographs(place / "images.bin"),
        colmap.read_points(place / "points3D.bin"),
    )


def by_name(folder: Path) -> list[int]:
    photographs = model_of(folder)[1]
    return sorted(photographs, key=lambda key: photographs[key].name)


def test_cameras_and_pictures_are_those_of_the_model(original: Path) -> None:
    """Every point is found with its colour at the pixel that its view's camera says."""
    scene = scene_of(original)
    _, photographs, points = model_of(original)
    scale = 1.25 / depths_of(original).min_quantile
    for view, image in enumerate(by_name(original)):
        assert scene.pictures[view].label.endswith(photographs[image].name)
        seen = points.seen_by(image)
        camera = Cameras(torch.tensor(scene.extrinsics[view]), torch.tensor(scene.intrinsics[view]))
        pixels, _ = camera.project(torch.tensor(scale * points.positions[seen]))
        columns, rows = (pixels.numpy() * (64, 48)).astype(int).T
        picture = scene.pictures[view].read(convert=False)
        np.testing.assert_array_equal(picture[:, rows, columns].T, points.colours[seen])


class depths_of:  # noqa: N801  reads like a function
    """Depths that each view sees, straight from the definition."""

    def __init__(self, folder: Path) -> None:
        _, photographs, points = model_of(folder)
        self.each = []
        for image in by_name(folder):
            camera = Cameras(torch.tensor(photographs[image].extrinsics), torch.eye(3))
            world = torch.tensor(points.positions[points.seen_by(image)])
            self.each.append(camera.to_camera(world)[:, 2].numpy())
        quantiles = np.array([np.quantile(depth, [0.001, 0.999]) for depth in self.each])
        self.min_quantile, self.max_quantile = quantiles[:, 0].min(), quantiles[:, 1].max()


@pytest.mark.parametrize("near_depth", [1.25, 2.0])
def test_bounds_are_quantiles_of_what_is_seen(original: Path, near_depth: float) -> None:
    scene, depths = scene_of(original, near_depth=near_depth), depths_of(original)
    scale = near_depth / depths.min_quantile
    assert scene.depth_range == pytest.approx((0.9 * near_depth, 1.1 * scale * depths.max_quantile))
    np.testing.assert_allclose(scene.median_depth, [scale * np.median(depth) for depth in depths.each])
    photographs = model_of(original)[1]
    poses = np.stack([photographs[image].extrinsics for image in by_name(original)])
    np.testing.assert_allclose(camera_centres(scene.extrinsics), scale * camera_centres(poses), atol=1e-9)


def test_a_view_that_sees_no_point_takes_the_middle_of_the_range(garden: Path) -> None:
    cameras, photographs, points = model_of(garden)
    blind = by_name(garden)[4]
    kept = points.track_images != blind
    few = replace(points, track_points=points.track_points[kept], track_images=points.track_images[kept])
    write_binary(garden / "sparse" / "0", cameras, photographs, few)
    scene = scene_of(garden)
    assert scene.median_depth[4] == pytest.approx(middle_depth(scene.depth_range))


def test_both_forms_give_the_same_scene(garden: Path) -> None:
    before = scene_of(garden)
    model = model_of(garden)
    shutil.rmtree(garden / "sparse")
    write_text(garden / "sparse" / "0", *model)
    after = scene_of(garden)
    for name in ("extrinsics", "intrinsics", "median_depth", "depth_range"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-12, atol=1e-12)


def test_every_eighth_view_is_predicted_from_its_nearest_neighbours(original: Path) -> None:
    module = data(original, source_views=3)
    module.check()
    scene, examples = scene_of(original), module.eval_dataset("val")
    assert [examples[SampleKey(0, n)]["id"] for n in (0, 1)] == ["garden/IMG_000", "garden/IMG_008"]
    training = [view for view in range(10) if view not in (0, 8)]
    for index, view in enumerate((0, 8)):
        example: Any = examples[SampleKey(0, index)]
        np.testing.assert_allclose(example["novel"]["extrinsics"][0], scene.extrinsics[view], rtol=1e-6)
        order = sorted(training, key=lambda v: np.linalg.norm(scene.centres[v] - scene.centres[view]))
        np.testing.assert_allclose(
            example["source"]["extrinsics"], scene.extrinsics[order[:3]], rtol=1e-6, atol=1e-7
        )
    assert module.protocol == (
        "COLMAP, views 0, 8, 16, ... of each scene from the 3 nearest other views by camera centre, the nearest as "
        "reference; 48 x 48 pixels (crop)"
    )
    assert module.describe("fit") == {
        "train scenes": 1,
        "val scenes": 1,
        "training samples": 100,
        "samples per epoch": 100,
        "validation samples": 2,
    }


def test_training_never_sees_a_held_out_view(original: Path) -> None:
    whole = scene_of(original)
    held = whole.extrinsics[[0, 8]].astype(np.float32)
    examples: Any = data(original).train_dataset()
    seen = set()
    for index in range(60):
        example = examples[SampleKey(0, index)]
        reference = np.abs(whole.extrinsics - example["source"]["extrinsics"][0]).max(axis=(1, 2)).argmin()
        assert example["median_depth"] == pytest.approx(whole.median_depth[reference])
        for pose in np.concatenate([example["source"]["extrinsics"], example["novel"]["extrinsics"]]):
            assert not (pose == held).all(axis=(1, 2)).any()
            seen.add(pose.tobytes())
    assert len(seen) == 8


def test_baselines_hold_for_evaluation_too(original: Path) -> None:
    scene = scene_of(original)
    free: Any = data(original).eval_dataset("val")[SampleKey(0, 0)]
    shortest = baseline(free)
    kept: Any = data(original, min_baseline=1.01 * shortest)
    assert baseline(kept.eval_dataset("val")[SampleKey(0, 0)]) > shortest
    np.testing.assert_array_equal(
        kept.eval_dataset("val")[SampleKey(0, 0)]["source"]["extrinsics"][0],
        free["source"]["extrinsics"][0],
    )
    assert f"with baselines from {1.01 * shortest:g} to any" in kept.protocol
    spread = np.linalg.norm(scene.centres[:, None] - scene.centres, axis=-1).max()
    with pytest.raises(UserError, match=r"found 0 usable val scenes under .*: 1 without an allowed baseline"):
        data(original, min_baseline=1.1 * spread).check("validate")


def baseline(example: Any) -> float:  # noqa: ANN401
    first, second = camera_centres(example["source"]["extrinsics"].astype(np.float64))
    return float(np.linalg.norm(first - second))


def test_views_are_in_the_order_of_names_not_of_ids_and_names_may_have_folders(tmp_path: Path) -> None:
    names = ["b/1.png", "a/2.png", "a/10.png", "c.png", "b/0.png", "a/1.png"]
    write_scene(tmp_path / "walk", views=6, names=names)
    scene = scene_of(tmp_path / "walk")
    folder = tmp_path / "walk" / "images"
    assert [Path(one.label).relative_to(folder).as_posix() for one in scene.pictures] == sorted(names)
    examples: Any = data(tmp_path / "walk").eval_dataset("test")
    assert examples[SampleKey(0, 0)]["id"] == "walk/a/1"


def test_names_that_differ_in_their_suffix_keep_it(tmp_path: Path) -> None:
    names = ["0.png", "0.jpg", *(f"{n}.png" for n in range(1, 8))]
    write_scene(tmp_path / "walk", views=9, names=names)
    examples = data(tmp_path / "walk").evaluation_examples("test")
    assert [example.name for example in examples] == ["walk/0.jpg", "walk/7.png"]


@pytest.mark.parametrize("place", ["sparse/0", "sparse", ".", "dense/sparse"])
def test_the_model_is_found_where_colmap_leaves_it(place: str, tmp_path: Path) -> None:
    write_scene(tmp_path / "walk", views=9, place=place)
    data(tmp_path / "walk").check()
    data(tmp_path / "walk", model=place).check()
    with pytest.raises(
        UserError, match=r"2 without a model in colmap\. First: |1 without a model in colmap\."
    ):
        data(tmp_path / "walk", model="colmap").check()


def test_undistorted_pictures_belong_to_the_undistorted_model(tmp_path: Path) -> None:
    folder = tmp_path / "walk"
    write_scene(folder, views=9, place="dense/sparse")
    (folder / "dense" / "images").mkdir()
    for file in (folder / "images").iterdir():
        shutil.copy(file, folder / "dense" / "images")
    assert Path(scene_of(folder).pictures[0].label).parent == folder / "dense" / "images"
    assert Path(scene_of(folder, images="images").pictures[0].label).parent == folder / "images"
    # A distorted model beside it comes first; its refusal says how to name the other.
    crooked = replace(
        PINHOLE, model="RADIAL", parameters=(*PINHOLE.parameters[1:], 0.1, 0.0), distortion=(0.1, 0.0)
    )
    photographs, points = colmap.read_photographs(folder / "dense/sparse/images.bin"), None
    points = colmap.read_points(folder / "dense/sparse/points3D.bin")
    write_binary(folder / "sparse" / "0", {3: crooked}, photographs, points)
    with pytest.raises(UserError, match=r"name its result with data\.model and data\.images"):
        scene_of(folder)
    found = scene_of(folder, model="dense/sparse", images="dense/images")
    assert Path(found.pictures[0].label).parent == folder / "dense" / "images"


def test_missing_pictures_leave_holes_and_are_counted(garden: Path) -> None:
    for view in (0, 3, 9):
        (garden / "images" / f"IMG_{view:03d}.png").unlink()
    module = data(garden, mode="extrapolation", window=4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module.check("fit")
        module.check("fit")
    told = [str(warning.message) for warning in caught]
    assert (
        f"COLMAP: garden: 3 of 10 pictures of the model are not in {garden / 'images'}, first IMG_000.png; their views "
        "are left out"
    ) in told
    assert len(told) == len(set(told))
    scene = scene_of(garden)
    assert scene.numbers.tolist() == [1, 2, 4, 5, 6, 7, 8]
    # The hold-out does not move: 8 stays, and 0 is gone. Training views are numbered without them, holes kept.
    assert np.flatnonzero(is_held_out(scene)).tolist() == [6]
    assert scene_of(garden, "train").numbers.tolist() == [0, 1, 3, 4, 5, 6]
    assert [example.name for example in module.evaluation_examples("val")] == ["garden/IMG_008"]
    examples: Any = module.train_dataset()
    poses = scene_of(garden, "train").extrinsics.astype(np.float32)
    for index in range(50):
        example = examples[SampleKey(0, index)]
        used = np.concatenate([example["source"]["extrinsics"], example["novel"]["extrinsics"]])
        places = [int(np.flatnonzero((poses == pose).all(axis=(1, 2)))[0]) for pose in used]
        assert np.ptp(np.array([0, 1, 3, 4, 5, 6])[places]) < 4


def test_the_scale_does_not_depend_on_which_pictures_are_there(garden: Path) -> None:
    before = scene_of(garden)
    (garden / "images" / "IMG_004.png").unlink()
    after = scene_of(garden)
    assert after.depth_range == before.depth_range
    np.testing.assert_array_equal(after.extrinsics, np.delete(before.extrinsics, 4, axis=0))


def test_each_picture_has_the_intrinsics_of_its_own_camera(garden: Path) -> None:
    _, photographs, points = model_of(garden)
    f, (height, width) = PINHOLE.parameters[0], FULL
    # The same pictures, cut by 64 of 512 columns on the left and 96 of 384 rows at the bottom of the full photographs.
    cut = Camera("PINHOLE", width - 64, height - 96, (f, f, width / 2 - 64, height / 2), ())
    # And one of half size with one focal length.
    half = Camera("SIMPLE_PINHOLE", width // 2, height // 2, (f / 2, width / 4, height / 4), ())
    cameras = {3: PINHOLE, 4: cut, 5: half}
    ids = by_name(garden)
    names = {ids[2]: 4, ids[5]: 5}
    changed = {key: replace(one, camera=names.get(key, 3)) for key, one in photographs.items()}
    file = garden / "images" / "IMG_002.png"
    Image.open(file).crop((8, 0, 64, 36)).save(file)
    kept = np.array([inside_cut(point, photographs[ids[2]]) for point in points.positions])
    mine = points.track_images == ids[2]
    good = ~mine | kept[points.track_points]
    few = replace(points, track_points=points.track_points[good], track_images=points.track_images[good])
    write_binary(garden / "sparse" / "0", cameras, changed, few)
    scene = scene_of(garden)
    np.testing.assert_allclose(
        scene.intrinsics[2], [[f / 448, 0, 192 / 448], [0, f / 288, 192 / 288], [0, 0, 1]]
    )
    np.testing.assert_allclose(scene.intrinsics[5], scene.intrinsics[4])
    data(
        garden, image_size=(32, 32)
    ).check()  # colours and places are right with these, and would not be with others
    # In an image a point keeps its direction, whatever its picture was cut to.
    example: Any = data(garden, image_size=(36, 36), mode="random", window=10, source_views=6)
    point = torch.tensor([[0.05, 0.02, 1.0]], dtype=torch.float64)
    batch = example.train_dataset()[SampleKey(0, 0)]
    for image, intrinsics in zip(batch["source"]["images"], batch["source"]["intrinsics"], strict=True):
        pixels, _ = Cameras(torch.eye(4).double(), torch.tensor(intrinsics).double()).project(point)
        assert image.shape == (3, 36, 36) and ((pixels > 0) & (pixels < 1)).all()


def inside_cut(point: np.ndarray, photograph: Photograph) -> bool:
    x, y, z = photograph.extrinsics[:3, :3] @ point + photograph.extrinsics[:3, 3]
    f = PINHOLE.parameters[0]
    return bool(f * x / z + 256 > 72 and f * y / z + 192 < 280)


def test_scenes_below_a_folder(tmp_path: Path) -> None:
    write_scene(tmp_path / "b", views=9)
    write_scene(tmp_path / "a", views=9, text=True, seed=1)
    (tmp_path / "notes").mkdir()
    module = data(tmp_path, samples_per_scene=3)
    with pytest.warns(
        UserWarning, match=r"COLMAP: found 2 usable test scenes .*: 1 without a model. First: notes;"
    ):
        module.check("test")
    assert module.survey("test").usable == ["a", "b"]
    assert [example.name for example in module.evaluation_examples("test")] == [
        f"{scene}/IMG_00{n}" for scene in "ab" for n in (0, 8)
    ]
    assert len(data(tmp_path, eval_scenes=1).evaluation_examples("test")) == 2


def warned(module: COLMAPScenes) -> Iterator[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module.check("test")
    yield from (str(warning.message) for warning in caught)


def test_two_forms_and_several_models_are_told(garden: Path) -> None:
    model = model_of(garden)
    write_text(garden / "sparse" / "0", *model)
    write_binary(garden / "sparse" / "1", *model)
    (garden / "sparse" / "2").mkdir()
    place = garden / "sparse" / "0"
    assert list(warned(data(garden))) == [
        f"COLMAP: garden: {place} holds the model in both forms; the binary files are read, the text is not",
        f"COLMAP: garden: {place} is read, and there are 1 too, which COLMAP could not join with it; name another with "
        "data.model",
    ]
    assert len(list(warned(data(garden, model="sparse/1")))) == 0


def test_distortion_can_be_ignored_and_is_told(tmp_path: Path) -> None:
    camera = replace(
        PINHOLE,
        model="OPENCV",
        parameters=(*PINHOLE.parameters, 0.01, 0.0, 0.0, 0.0),
        distortion=(0.01, 0.0, 0.0, 0.0),
    )
    write_scene(tmp_path / "walk", views=9, camera=camera)
    with pytest.raises(UserError, match="has distortion"):
        data(tmp_path / "walk").check("test")
    assert list(warned(data(tmp_path / "walk", ignore_distortion=True))) == [
        "COLMAP: walk: the distortion of the pictures (OPENCV 0.01, 0, 0, 0) is ignored (data.ignore_distortion); "
        "expect errors that grow towards the corners"
    ]


def test_a_small_picture_anywhere_is_seen(garden: Path) -> None:
    file = garden / "images" / "IMG_005.png"
    Image.open(file).resize((32, 24)).save(file)
    with pytest.raises(UserError, match=r"IMG_005.png is 32x24 .* or set data.on_small: skip"):
        data(garden).check("test")
    with pytest.raises(
        UserError, match=r"found 0 usable test scenes under .*: 1 smaller than data.image_size"
    ):
        data(garden, on_small="skip").check("test")


def test_unreadable_pictures_are_left_to_training_where_it_may_skip_them(garden: Path) -> None:
    (garden / "images" / "IMG_005.png").write_bytes(b"hello")
    with pytest.raises(UserError, match=r"IMG_005.png: cannot be decoded"):
        data(garden).check("fit")
    module = data(garden, on_bad_image="skip", samples_per_scene=20)
    module.check("fit")
    read = 0
    examples: Any = module.train_dataset()
    with pytest.raises(UserError, match=r"of \d+ examples had unreadable pictures, more than 1%"):
        for index in range(400):
            examples[SampleKey(index // 20, index % 20)]
            read += 1
    assert read > 20


def test_a_second_start_looks_only_when_something_has_changed(
    garden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    check = COLMAPCaptures.check
    monkeypatch.setattr(COLMAPCaptures, "check", lambda form, one: (looks.append(form), check(form, one)))
    data(garden).check("fit")
    assert len(looks) == 1  # once for both parts
    data(garden).check("fit")
    assert len(looks) == 1
    data(garden, convert_colours=True).check("fit")
    assert len(looks) == 2
    file = garden / "images" / "IMG_006.png"
    Image.open(file).convert("L").rotate(180).save(file)
    data(garden).check("test")
    assert len(looks) == 3
    Image.open(file).crop((0, 0, 60, 48)).save(file)
    with pytest.raises(UserError, match="which is no reduced copy of the 512x384"):
        data(garden).check("test")


def test_a_relative_root_is_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for number, name in enumerate(("x", "y")):
        write_scene(tmp_path / name / "garden", views=9, seed=number)
        monkeypatch.chdir(tmp_path / name)
        example: Any = data(Path("garden")).eval_dataset("test")[SampleKey(0, 0)]
        seen.append(example["source"])
    assert not np.array_equal(seen[0]["images"], seen[1]["images"])
    assert not np.array_equal(seen[0]["extrinsics"], seen[1]["extrinsics"])


def test_a_scene_without_any_picture_is_left_out(tmp_path: Path) -> None:
    write_scene(tmp_path / "walk", views=1)
    (tmp_path / "walk" / "images" / "IMG_000.png").unlink()
    with pytest.raises(UnusableSceneError) as caught:
        scene_of(tmp_path / "walk")
    assert (caught.value.why, str(caught.value)) == (
        "without pictures",
        f"COLMAP: walk: none of the 1 pictures of the model is in {tmp_path / 'walk' / 'images'} (option data.images), "
        "first wanted: IMG_000.png",
    )


@pytest.fixture
def fern(shared_dir: Path, tmp_path: Path) -> Path:
    """Fern as a whole folder of COLMAP: its sample has no images.bin, which the poses give."""
    sample = shared_dir / "data" / "llff" / "fern"
    folder = tmp_path / "fern"
    (folder / "sparse").mkdir(parents=True)
    (folder / "images").symlink_to(sample / "images_8")
    poses, _ = convert_rows(np.load(sample / "poses_bounds.npy"))
    names = sorted(file.name for file in (sample / "images_8").iterdir())
    photographs = {n + 1: Photograph(name, 1, poses[n]) for n, name in enumerate(names)}
    cameras = colmap.read_cameras(sample / "sparse" / "0" / "cameras.bin")
    points = colmap.read_points(sample / "sparse" / "0" / "points3D.bin")
    few = replace(points, positions=points.positions[:0], colours=points.colours[:0])
    write_binary(folder / "sparse" / "0", cameras, photographs, few)
    shutil.copy(sample / "sparse" / "0" / "points3D.bin", folder / "sparse" / "0")
    return folder


@pytest.mark.filterwarnings("ignore:COLMAP. fern. the distortion", "ignore:LLFF. fern. the photographs")
def test_fern_is_the_same_through_both_doors(fern: Path, shared_dir: Path) -> None:
    module = data(fern, image_size=(96, 128), ignore_distortion=True)
    module.check()
    other = LLFF(str(shared_dir / "data" / "llff" / "fern"), image_size=(96, 128), seed=0)
    other.check()
    ours, theirs = (one.reader("test").read("fern") for one in (module, other))
    for name in ("extrinsics", "intrinsics", "median_depth", "depth_range"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-8, atol=1e-8)
    first, second = (next(iter(one.test_dataloader())) for one in (module, other))
    assert first["ids"] == second["ids"] == ["fern/image000"]
    torch.testing.assert_close(first["source"]["images"], second["source"]["images"])
    assert training_part(ours).numbers.tolist() == list(range(17))
    with pytest.raises(
        UserError, match=r"model SIMPLE_RADIAL has distortion 0\.01975; undistort with COLMAP's"
    ):
        data(fern).check()
