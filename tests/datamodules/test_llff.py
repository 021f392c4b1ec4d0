import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from repsynth.datamodules import colmap
from repsynth.datamodules.captures import Capture, PictureRules, is_held_out
from repsynth.datamodules.held_out import held_out_choice
from repsynth.datamodules.llff import LLFF
from repsynth.datamodules.llff_scene import LLFFCaptures, convert_rows, distortion
from repsynth.datamodules.posed_scene import PosedScene
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.views import Mode, camera_centres
from repsynth.errors import UserError
from repsynth.geometry.cameras import Cameras
from tests.datamodules.llff_folder import FULL, SMALL, write_capture, write_photographs


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    folder = tmp_path_factory.mktemp("llff") / "garden"
    return folder, write_capture(folder)


@pytest.fixture
def capture(original: tuple[Path, np.ndarray], tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(original[0], tmp_path / "garden"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path_factory.mktemp("cache")))


def llff(root: Path, **options: object) -> LLFF:
    return LLFF(str(root), **{"image_size": (48, 48), "seed": 0, **options})


def read(
    folder: Path, near: float = 1.25, size: tuple[int, int] = (48, 48), images: str | None = None
) -> Capture:
    return LLFFCaptures(near, size, images, PictureRules(False, False)).read(folder)


def held_out(scene: PosedScene) -> list[int]:
    numbers: list[int] = np.flatnonzero(is_held_out(scene)).tolist()
    return numbers


def training(scene: PosedScene) -> list[int]:
    return [view for view in range(len(scene.pictures)) if view not in held_out(scene)]


def three_checks(
    folder: Path, rows: np.ndarray, extrinsics: np.ndarray, intrinsics: np.ndarray, pictures: str
) -> tuple[float, float, float]:
    """Greatest relative error of the bounds as quantiles, share of seen points inside, colour difference."""
    points = colmap.read_points(folder / "sparse" / "0" / "points3D.bin")
    bounds_error, inside_share, colour = [], [], []
    for view, file in enumerate(sorted((folder / pictures).iterdir())):
        seen = points.seen_by(view + 1)
        camera = Cameras(torch.from_numpy(extrinsics[view]), torch.from_numpy(intrinsics))
        pixels, depth = camera.project(torch.from_numpy(points.positions[seen]))
        quantiles = np.quantile(depth.numpy(), [0.001, 0.999])
        bounds_error.append(np.abs(quantiles / rows[view, 15:] - 1).max())
        inside = ((pixels >= 0) & (pixels <= 1)).all(dim=-1).numpy()
        inside_share.append(inside.mean())
        image = np.asarray(Image.open(file).convert("RGB")).astype(float)
        places = pixels.numpy()[inside] * (image.shape[1], image.shape[0])
        columns, down = np.clip(places.astype(int), 0, (image.shape[1] - 1, image.shape[0] - 1)).T
        colour.append(np.abs(image[down, columns] - points.colours[seen][inside]).mean())
    return max(bounds_error), float(np.mean(inside_share)), float(np.mean(colour))


def test_conversion_gives_the_true_cameras(original: tuple[Path, np.ndarray]) -> None:
    folder, poses = original
    rows = np.load(folder / "poses_bounds.npy")
    extrinsics, intrinsics = convert_rows(rows)
    np.testing.assert_allclose(extrinsics, poses, atol=1e-12)
    _, inside, colour = three_checks(folder, rows, extrinsics, intrinsics, "images_8")
    assert inside == 1 and colour == 0


@pytest.mark.parametrize("axes", [[-1, 1, 1], [1, -1, 1], [-1, -1, 1]])
def test_the_checks_see_wrong_axes(original: tuple[Path, np.ndarray], axes: list[int]) -> None:
    folder, _ = original
    rows = np.load(folder / "poses_bounds.npy")
    extrinsics, intrinsics = convert_rows(rows)
    extrinsics[:, :3] *= np.array(axes)[:, None]
    mirrored = np.linalg.det(extrinsics[0, :3, :3]) < 0
    assert mirrored or three_checks(folder, rows, extrinsics, intrinsics, "images_8")[2] > 20


def test_fern_passes_the_three_checks(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "llff" / "fern"
    rows = np.load(folder / "poses_bounds.npy")
    extrinsics, intrinsics = convert_rows(rows)
    np.testing.assert_allclose(np.linalg.det(extrinsics[:, :3, :3]), 1)
    bounds, inside, colour = three_checks(folder, rows, extrinsics, intrinsics, "images_8")
    assert bounds < 1e-9 and inside == 1 and 27 < colour < 31


def test_fern_agrees_with_its_expected_numbers(shared_dir: Path) -> None:
    import json

    expected = json.loads((shared_dir / "data" / "llff" / "fern_expected.json").read_text())
    folder = shared_dir / "data" / "llff" / "fern"
    scene = read(folder, size=(256, 256)).scene
    scale = 1.25 / expected["near_far_scene"][0]
    assert len(scene.pictures) == expected["views"] and held_out(scene) == expected["holdout_every_8"]
    fx, fy, cx, cy = expected["intrinsics_normalised_fx_fy_cx_cy"]
    np.testing.assert_allclose(scene.intrinsics, [[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]] * expected["views"])
    near, far = np.array(expected["near_far_scene"]) * scale * (0.9, 1.1)
    np.testing.assert_allclose(scene.depth_range, (near, far))
    for view, matrix in expected["w2c_opencv_3x4"].items():
        pose = scene.extrinsics[int(view), :3] * [1, 1, 1, 1 / scale]
        np.testing.assert_allclose(pose, matrix, atol=1e-8)
    for sample in expected["reprojection"]:
        camera = Cameras(torch.tensor(scene.extrinsics[sample["view"]]), torch.tensor(scene.intrinsics[0]))
        pixels, depth = camera.project(torch.tensor(sample["world_xyz"], dtype=torch.float64) * scale)
        np.testing.assert_allclose(pixels, sample["uv_normalised"], atol=1e-6)
        np.testing.assert_allclose(depth / scale, sample["depth"], atol=1e-5)
    assert distortion(folder) == "SIMPLE_RADIAL 0.01975"


def transpose_rotations(capture: Capture) -> Capture:
    scene = capture.scene
    extrinsics = scene.extrinsics.copy()
    extrinsics[:, :3, :3] = extrinsics[:, :3, :3].swapaxes(1, 2)
    extrinsics[:, :3, 3:] = -extrinsics[:, :3, :3] @ camera_centres(scene.extrinsics)[..., None]
    return replace(capture, scene=replace(scene, extrinsics=extrinsics))


def reverse_pictures(capture: Capture) -> Capture:
    return replace(capture, scene=replace(capture.scene, pictures=capture.scene.pictures[::-1]))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            transpose_rotations,
            r"% of the sparse points that the view of row \d+ sees lie outside of its picture",
        ),
        (reverse_pictures, "or files and rows are in different orders"),
    ],
)
def test_fern_with_cameras_of_its_own_that_do_not_fit(
    shared_dir: Path, spoil: Callable[[Capture], Capture], sentence: str
) -> None:
    form = LLFFCaptures(1.25, (256, 256), None, PictureRules(False, False))
    capture = form.read(shared_dir / "data" / "llff" / "fern")
    form.check(capture)
    with pytest.raises(UserError, match=sentence):
        form.check(spoil(capture))


@pytest.mark.filterwarnings("ignore:LLFF. fern. the photographs are distorted")
def test_fern_gives_batches(shared_dir: Path) -> None:
    data = llff(
        shared_dir / "data" / "llff" / "fern", image_size=(96, 128), samples_per_scene=4, batch_size=2
    )
    data.check()
    assert data.describe() == {
        "train scenes": 1,
        "val scenes": 1,
        "test scenes": 1,
        "training samples": 4,
        "samples per epoch": 4,
        "validation samples": 3,
        "test samples": 3,
    }
    assert [batch["ids"] for batch in data.val_dataloader()] == [[f"fern/image0{n:02d}"] for n in (0, 8, 16)]
    assert next(iter(data.train_dataloader()))["novel"]["images"].shape == (2, 1, 3, 96, 128)


def test_depths_are_scaled_so_that_near_is_where_it_was_asked(original: tuple[Path, np.ndarray]) -> None:
    folder, poses = original
    rows = np.load(folder / "poses_bounds.npy")
    for near_depth in (1.25, 2.0):
        scene = read(folder, near_depth).scene
        scale = near_depth / rows[:, 15].min()
        np.testing.assert_allclose(camera_centres(scene.extrinsics), camera_centres(poses) * scale)
        assert scene.depth_range == pytest.approx((0.9 * near_depth, 1.1 * scale * rows[:, 16].max()))


def test_a_sparse_model_in_text_form_says_the_same(capture: Path) -> None:
    before = read(capture)
    place = capture / "sparse" / "0"
    points = colmap.read_points(place / "points3D.bin")
    lines = [
        f"{n} {' '.join(map(str, [*points.positions[n].tolist(), *points.colours[n].tolist()]))} 0.1 "
        f"{points.track_images[n]} 0"
        for n in range(len(points.positions))
    ]
    (place / "points3D.txt").write_text("\n".join(lines))
    (place / "cameras.txt").write_text("1 SIMPLE_RADIAL 512 384 400 256 192 0.02\n")
    for file in place.glob("*.bin"):
        file.unlink()
    after = read(capture)
    np.testing.assert_array_equal(after.scene.median_depth, before.scene.median_depth)
    assert distortion(capture) == "SIMPLE_RADIAL 0.02"
    change_rows(turn_cameras)(capture)
    with pytest.raises(UserError, match=r"do not show the sparse points where poses_bounds\.npy puts them"):
        llff(capture).check()


def test_median_depth_is_that_of_the_points_a_view_sees(capture: Path) -> None:
    points = colmap.read_points(capture / "sparse" / "0" / "points3D.bin")
    rows = np.load(capture / "poses_bounds.npy")
    extrinsics, _ = convert_rows(rows)
    scale = 1.25 / rows[:, 15].min()

    def medians(ids: list[int]) -> list[float]:
        camera = [Cameras(torch.tensor(pose), torch.eye(3)) for pose in extrinsics]
        seen = [torch.tensor(points.positions[points.seen_by(image)]) for image in ids]
        return [scale * float(np.median(c.to_camera(p)[:, 2])) for c, p in zip(camera, seen, strict=True)]

    np.testing.assert_allclose(read(capture).scene.median_depth, medians(list(range(1, 11))))
    # With images.bin the ids are those of the names in order.
    ids = [3, 1, 2, 10, 9, 8, 7, 6, 5, 4]
    write_photographs(capture / "sparse" / "0", extrinsics, ids)
    np.testing.assert_allclose(read(capture).scene.median_depth, medians(ids))
    # Without points: midway in inverse depth.
    shutil.rmtree(capture / "sparse")
    middle = scale * 2 / (1 / rows[:, 15] + 1 / rows[:, 16])
    np.testing.assert_allclose(read(capture).scene.median_depth, middle)


def scene_of(data: LLFF) -> PosedScene:
    return data.reader("val").read("garden")


def test_held_out_views_are_seen_from_the_nearest_training_views(original: tuple[Path, np.ndarray]) -> None:
    data = llff(original[0], source_views=3)
    scene, examples = scene_of(data), data.eval_dataset("val")
    assert held_out(scene) == [0, 8] and training(scene) == [1, 2, 3, 4, 5, 6, 7, 9]
    centres = camera_centres(scene.extrinsics)
    for index, view in enumerate(held_out(scene)):
        example: Any = examples[SampleKey(0, index)]
        assert example["id"] == f"garden/image{view:03d}"
        np.testing.assert_allclose(example["novel"]["extrinsics"][0], scene.extrinsics[view], rtol=1e-6)
        order = sorted(training(scene), key=lambda other: np.linalg.norm(centres[other] - centres[view]))
        assert held_out_choice(scene, view, data.views) == (order[:3], [view])
        expected = scene.extrinsics[order[:3]]
        np.testing.assert_allclose(example["source"]["extrinsics"], expected, rtol=1e-6, atol=1e-7)
        assert example["median_depth"] == pytest.approx(scene.median_depth[order[0]])


@pytest.mark.parametrize("mode", ["neighbours", "extrapolation", "nearest"])
def test_training_never_sees_a_held_out_view(original: tuple[Path, np.ndarray], mode: Mode) -> None:
    data = llff(original[0], mode=mode, samples_per_scene=60)
    scene = scene_of(data)
    held = scene.extrinsics[held_out(scene)].astype(np.float32)
    examples: Any = data.train_dataset()
    seen = set()
    for index in range(60):
        example = examples[SampleKey(0, index)]
        for pose in np.concatenate([example["source"]["extrinsics"], example["novel"]["extrinsics"]]):
            assert not (pose == held).all(axis=(1, 2)).any()
            seen.add(pose.tobytes())
    assert len(seen) == 8


def test_a_folder_of_scenes_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_capture(tmp_path / name, views=9, sparse=False)
    (tmp_path / "notes").mkdir()
    data = llff(tmp_path, samples_per_scene=3)
    told = r"found 2 usable train scenes .*: 1 without poses_bounds.npy. First: notes; the dropped ones are left out"
    with pytest.warns(UserWarning, match=told):
        data.check()
    assert data.survey("train").usable == data.survey("test").usable == ["a", "b"]
    examples: Any = data.train_dataset()
    assert [examples[SampleKey(0, index)]["id"] for index in (0, 2, 3)] == ["a/0000", "a/0002", "b/0000"]
    held: Any = data.eval_dataset("test")
    assert [held[SampleKey(0, i)]["id"] for i in range(4)] == [
        f"{s}/image00{n}" for s in "ab" for n in (0, 8)
    ]


def test_the_smallest_sufficient_folder_is_taken(capture: Path) -> None:
    (capture / "images_4").mkdir()
    for file in (capture / "images_8").iterdir():
        Image.open(file).resize((128, 96)).save(capture / "images_4" / file.name)
    sizes = {wanted: read(capture, size=wanted).scene.pictures[3].size() for wanted in [(48, 64), (49, 49)]}
    assert sizes == {(48, 64): SMALL, (49, 49): (96, 128)}
    assert read(capture, size=(48, 64), images="images_4").scene.pictures[0].size() == (96, 128)


def test_crops_keep_the_geometry(original: tuple[Path, np.ndarray]) -> None:
    # A point seen in the whole image is found at the same direction in the crop.
    whole: Any = llff(original[0], image_size=SMALL, fit="stretch").eval_dataset("val")[SampleKey(0, 0)]
    crop: Any = llff(original[0], image_size=(48, 48), fit="crop").eval_dataset("val")[SampleKey(0, 0)]
    np.testing.assert_array_equal(whole["novel"]["images"][..., 8:56], crop["novel"]["images"])
    point = torch.tensor([[0.2, -0.3, 4.0]])
    (wide, _), (cut, _) = (
        Cameras(torch.eye(4), torch.tensor(one["novel"]["intrinsics"][0])).project(point)
        for one in (whole, crop)
    )
    torch.testing.assert_close(wide * torch.tensor([64, 48]) - torch.tensor([8, 0]), cut * 48)


def test_the_protocol_says_what_is_held_out_and_seen(original: tuple[Path, np.ndarray]) -> None:
    assert llff(original[0], source_views=3).protocol == (
        "LLFF, views 0, 8, 16, ... of each scene from the 3 nearest other views by camera centre, the nearest as "
        "reference; 48 x 48 pixels (crop)"
    )


# What is broken, and the sentence that it gets.


def change_rows(change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        rows = np.load(folder / "poses_bounds.npy")
        changed = change(rows)
        np.save(folder / "poses_bounds.npy", rows if changed is None else changed)

    return apply


def assign(place: object, value: float) -> Callable[[Path], None]:
    return change_rows(lambda rows: rows.__setitem__(place, value))


def mirror(rows: np.ndarray) -> np.ndarray:
    rows = rows.copy()
    rows[:, 0:15:5] *= -1
    return rows


def turn_cameras(rows: np.ndarray) -> np.ndarray:
    """By 180 degrees about their axis: down and right change their signs."""
    rows = rows.copy()
    rows[:, [0, 5, 10, 1, 6, 11]] *= -1
    return rows


def look_backwards(rows: np.ndarray) -> np.ndarray:
    """Backwards taken for forwards, and right for left, so that the determinant stays +1."""
    rows = rows.copy()
    rows[:, [2, 7, 12, 1, 6, 11]] *= -1
    return rows


def resave(size: tuple[int, int], names: str = "*") -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        for file in (folder / "images_8").glob(names):
            Image.open(file).resize(size).save(file)

    return apply


def turn(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = folder / "images_8" / "image004.png"
    Image.open(file).save(file, exif=exif)


def cut(name: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) * 2 // 3])

    return apply


def write_one_photograph(folder: Path) -> None:
    entry = (
        struct.pack("<Q", 1) + struct.pack("<i7di", 1, 1, 0, 0, 0, 0, 0, 0, 1) + b"a\0" + struct.pack("<Q", 0)
    )
    (folder / "sparse" / "0" / "images.bin").write_bytes(entry)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (
        shutil.rmtree,
        r"LLFF: no folder at .*garden \(option data.root\). Expected <scene>/.* docs/data",
    ),
    "no poses": (
        lambda f: (f / "poses_bounds.npy").unlink(),
        r"LLFF: found 0 usable train scenes under .*garden: 2 without poses_bounds.npy. First: images_8. Expected <",
    ),
    "too few rows": (
        change_rows(lambda rows: rows[:9]),
        r"LLFF: garden: 10 images in .*images_8 but 9 rows in poses_bounds.npy",
    ),
    "other format": (
        change_rows(lambda rows: rows[:, :14]),
        r"garden: poses_bounds.npy is \[10, 14\], expected \[N, 17\]; a \[N, 14\] or",
    ),
    "not an array": (
        lambda f: (f / "poses_bounds.npy").write_text("hello"),
        r"garden: .*poses_bounds.npy cannot be read \(.*\); expected a NumPy file of shape \[N, 17\]",
    ),
    "cut array": (cut("poses_bounds.npy"), r"garden: .*poses_bounds.npy cannot be read"),
    "NaN": (assign((3, 2), np.nan), r"garden: poses_bounds.npy has NaN or infinite numbers in row 3"),
    "two sizes": (
        assign((3, 4), 100),
        r"garden: poses_bounds.npy has rows of different or non-positive height",
    ),
    "no focal length": (
        assign((slice(None), 14), 0),
        r"garden: poses_bounds.npy has rows of different or non-positive height, width and focal",
    ),
    "near behind": (assign((2, 15), -1), r"has the bounds -1 and .* in row 2; expected 0 < near < far"),
    "far before near": (
        assign((2, 16), 0.001),
        r"has the bounds .* and 0.001 in row 2; expected 0 < near < far",
    ),
    "mirrored": (
        change_rows(mirror),
        r"garden: rotation 0 has determinant -1, expected 1; the axes are mirrored",
    ),
    "looking backwards": (
        change_rows(look_backwards),
        r"garden: 100% of the sparse points that the view of row 0 sees lie outside of its picture or behind",
    ),
    "turned cameras": (
        change_rows(turn_cameras),
        r"garden: the pictures in .*images_8 do not show the sparse points where poses_bounds.npy puts them",
    ),
    "bounds of another scale": (
        change_rows(lambda rows: rows * np.where(np.arange(17) < 15, 1, 0.1)),
        r"garden: .* that the view of row \d sees lie outside of the bounds near and far, .* or remove the folder",
    ),
    "scaled rotation": (
        assign((4, 0), 3),
        r"garden: poses_bounds.npy: camera 4 has a rotation R whose R R\^T",
    ),
    "no pictures": (
        lambda f: shutil.rmtree(f / "images_8"),
        r"garden: no pictures under .*garden; expected images, images_4 or images_8",
    ),
    "cropped pictures": (
        resave((64, 45)),
        rf"image000.png is 64x45, which is no reduced copy of the {FULL[1]}x{FULL[0]} in poses_bounds.npy",
    ),
    "one other size": (
        resave((32, 24), "image007*"),
        r"image007.png is 32x24, but image000.png is 64x48; all",
    ),
    "small pictures": (
        resave((40, 30)),
        r"image001.png is 40x30 \(width x height\), smaller than data.image_size 48x48; lower data.image_size or set",
    ),
    "turned picture": (turn, r"image004.png: has the EXIF orientation 6, .* pixels as stored, expected 1"),
    "cut cameras": (cut("sparse/0/cameras.bin"), r"cameras.bin: is no whole COLMAP file"),
    "cut points": (cut("sparse/0/points3D.bin"), r"points3D.bin: is no whole COLMAP file"),
    "other model": (
        write_one_photograph,
        r"garden: 1 images in .*images.bin but 10 rows in poses_bounds.npy",
    ),
    "few views": (
        lambda f: [
            *(file.unlink() for file in list((f / "images_8").iterdir())[3:]),
            shutil.rmtree(f / "sparse"),
            change_rows(lambda rows: rows[:3])(f),
        ],
        r"LLFF: found 0 usable train scenes under .*garden: 1 shorter than 3. First: garden. Expected <scene>",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_gets_one_sentence(capture: Path, name: str) -> None:
    spoil, sentence = BROKEN[name]
    spoil(capture)
    with pytest.raises(UserError, match=sentence) as error:
        llff(capture).prepare_data()
    assert "\n" not in str(error.value)


def test_a_picture_that_cannot_be_decoded_is_named(capture: Path) -> None:
    cut("images_8/image008.png")(capture)
    data = llff(capture)
    data.check()  # its head is whole, and its colours are not compared
    with pytest.raises(UserError, match=r"image008.png: cannot be decoded \(.*truncated"):
        data.eval_dataset("val")[SampleKey(0, 1)]


def test_without_sparse_points_there_is_nothing_to_compare(capture: Path) -> None:
    change_rows(turn_cameras)(capture)
    with pytest.raises(UserError):
        llff(capture).check()
    shutil.rmtree(capture / "sparse")
    llff(capture).check()


def test_an_unknown_folder_of_pictures_is_named(capture: Path) -> None:
    with pytest.raises(UserError, match=r"garden: no folder .*images_2 \(option data.images\)"):
        llff(capture, images="images_2").check()


def test_distortion_is_told(capture: Path) -> None:
    path = capture / "sparse" / "0" / "cameras.bin"
    path.write_bytes(path.read_bytes()[:-8] + struct.pack("<d", 0.02))
    with pytest.warns(UserWarning, match=r"garden: the photographs are distorted \(SIMPLE_RADIAL 0.02\)"):
        llff(capture).check()


def test_impossible_options_get_one_sentence(capture: Path) -> None:
    with pytest.raises(UserError, match=r"data.near_depth is 0; expected a depth above 0"):
        llff(capture, near_depth=0)
    with pytest.raises(UserError, match=r"data.samples_per_scene is 0; expected at least 1"):
        llff(capture, samples_per_scene=0)
