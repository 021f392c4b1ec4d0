"""COLMAP's text files say the same as its binary ones."""

from pathlib import Path

import numpy as np
import pytest

from repsynth.datamodules import colmap
from repsynth.datamodules.colmap_model import MODELS, Camera, Photograph, Points
from repsynth.errors import UserError
from tests.datamodules.colmap_folder import write_binary, write_text

Model = tuple[dict[int, Camera], dict[int, Photograph], Points]


def every_model(rng: np.random.Generator) -> dict[int, Camera]:
    """A camera of each of COLMAP's models."""
    cameras = {}
    for key, (name, parameters, pinhole) in MODELS.items():
        values = (500 + key, *rng.uniform(1, 500, parameters - 1))
        cameras[key + 7] = Camera(name, 640 + key, 480, values, values[pinhole:])
    return cameras


@pytest.fixture
def model(tmp_path: Path) -> Model:
    rng = np.random.default_rng(5)
    poses = np.tile(np.eye(4), (3, 1, 1))
    for pose in poses:
        pose[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        pose[:3, :3] *= np.sign(np.linalg.det(pose[:3, :3]))
        pose[:3, 3] = rng.normal(size=3)
    names = ["left/a 1.jpg", "left/b.jpg", "right/ä.png"]
    photographs = {9 - n: Photograph(name, 7 + n, poses[n]) for n, name in enumerate(names)}
    points = Points(
        rng.normal(scale=1e3, size=(5, 3)),
        rng.integers(0, 256, (5, 3)).astype(np.uint8),
        np.array([0, 0, 0, 1, 3, 3, 4]),
        np.array([9, 7, 9, 8, 7, 8, 9]),
    )
    return every_model(rng), photographs, points


def read(folder: Path, form: str) -> Model:
    return (
        colmap.read_cameras(folder / f"cameras.{form}"),
        colmap.read_photographs(folder / f"images.{form}"),
        colmap.read_points(folder / f"points3D.{form}"),
    )


def assert_same(one: Model, other: Model) -> None:
    assert one[0] == other[0]
    assert list(one[1]) == list(other[1])
    for key, photograph in one[1].items():
        assert (photograph.name, photograph.camera) == (other[1][key].name, other[1][key].camera)
        np.testing.assert_allclose(photograph.extrinsics, other[1][key].extrinsics, atol=1e-12)
    for name in ("positions", "colours", "track_points", "track_images"):
        np.testing.assert_array_equal(getattr(one[2], name), getattr(other[2], name))


def test_both_forms_give_back_what_was_written(model: Model, tmp_path: Path) -> None:
    write_binary(tmp_path, *model)
    write_text(tmp_path, *model)
    binary, text = read(tmp_path, "bin"), read(tmp_path, "txt")
    assert_same(binary, model)
    assert_same(text, model)
    # And round again, binary from text and text from binary.
    write_binary(tmp_path / "again", *text)
    write_text(tmp_path / "again", *binary)
    assert_same(read(tmp_path / "again", "bin"), read(tmp_path / "again", "txt"))


def test_the_points_of_fern_survive_as_text(shared_dir: Path, tmp_path: Path) -> None:
    fern = shared_dir / "data" / "llff" / "fern" / "sparse" / "0"
    cameras, points = colmap.read_cameras(fern / "cameras.bin"), colmap.read_points(fern / "points3D.bin")
    few = Points(
        points.positions[:500], points.colours[:500], *(
            track[points.track_points < 500] for track in (points.track_points, points.track_images)
        )
    )  # fmt: skip
    write_text(tmp_path, cameras, {}, few)
    assert_same((cameras, {}, few), read(tmp_path, "txt"))
    assert cameras[1].distorted == "0.01975"
    assert colmap.model_files(fern) is None and colmap.model_parts(fern) == ["cameras.bin", "points3D.bin"]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace(" ", "  "),
        # As many of either: lines must not borrow numbers from one another.
        lambda text: "\n".join(
            line.replace(" ", {1: "  ", 2: "\t"}.get(number, " "), 1)
            for number, line in enumerate(text.split("\n"))
        ),
        lambda text: text.rstrip("\n"),
        lambda text: "\n# made by hand\n\n" + text,
    ],
    ids=[
        "windows",
        "byte order mark",
        "tabs",
        "two blanks",
        "blanks and tabs",
        "no last line end",
        "comments",
    ],
)
def test_ways_to_write_them(change: object, model: Model, tmp_path: Path) -> None:
    cameras, photographs, points = model
    plain = {key: Photograph(f"{key}.jpg", one.camera, one.extrinsics) for key, one in photographs.items()}
    write_text(tmp_path, cameras, plain, points)
    for file in tmp_path.iterdir():
        file.write_bytes(change(file.read_text()).encode())  # type: ignore[operator]
    assert_same((cameras, plain, points), read(tmp_path, "txt"))


def test_binary_files_come_before_text(model: Model, tmp_path: Path) -> None:
    write_text(tmp_path, *model)
    files = colmap.model_files(tmp_path)
    assert files is not None and files.points == tmp_path / "points3D.txt"
    write_binary(tmp_path, *model)
    files = colmap.model_files(tmp_path)
    assert files is not None and files.points == tmp_path / "points3D.bin"
    # Half a binary model is none.
    (tmp_path / "images.bin").unlink()
    files = colmap.model_files(tmp_path)
    assert files is not None and files.cameras == tmp_path / "cameras.txt"


def test_who_sees_what_in_one_pass(model: Model) -> None:
    points = model[2]
    ids = [8, 9, 1, 7, 100, 9]
    for image, seen in zip(ids, points.seen_by_each(ids), strict=True):
        np.testing.assert_array_equal(seen, points.seen_by(image))
    assert points.seen_by_each([9])[0].tolist() == [0, 4]


def test_intrinsics_are_fractions_of_each_cameras_own_size() -> None:
    simple = Camera("SIMPLE_RADIAL", 640, 480, (500, 300, 250, 0.1), (0.1,))
    np.testing.assert_allclose(
        simple.intrinsics, [[500 / 640, 0, 300 / 640], [0, 500 / 480, 250 / 480], [0, 0, 1]]
    )
    general = Camera("OPENCV", 64, 48, (50, 60, 30, 20, 0, 0, 0, 0), (0, 0, 0, 0))
    np.testing.assert_allclose(general.intrinsics, [[50 / 64, 0, 30 / 64], [0, 60 / 48, 20 / 48], [0, 0, 1]])


@pytest.mark.parametrize(
    ("name", "distortion", "words"),
    [
        ("PINHOLE", (), None),
        ("SIMPLE_RADIAL", (0.0,), None),
        ("SIMPLE_RADIAL", (0.02,), "0.02"),
        ("OPENCV", (0.0, 0.0, 0.0, 1e-3), "0, 0, 0, 0.001"),
        # Its projection is another one even with zeros.
        ("OPENCV_FISHEYE", (0.0, 0.0, 0.0, 0.0), "0, 0, 0, 0"),
    ],
)
def test_what_is_distorted(name: str, distortion: tuple[float, ...], words: str | None) -> None:
    assert Camera(name, 4, 4, (1, 1, 2, 2, *distortion), distortion).distorted == words


CAMERAS = "1 PINHOLE 640 480 500 500 320 240"
IMAGE = "5 1 0 0 0 0.5 0 0 1 a.jpg"
POINT = "1 0.5 0.5 3 10 20 30 0.1 5 0"
BROKEN = {
    "cameras.txt": [
        ("1 PINHOLE 640", "line 1: found 3 columns; expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS"),
        (
            f"# x\n{CAMERAS}\n2 PINHOL 640 480 500 500 320 240",
            "line 3: camera 2 has the unknown model PINHOL; expected one of SIMPLE_PINHOLE, PINHOLE, SIMPLE_RADIAL, "
            "RADIAL, OPENCV, OPENCV_FISHEYE, FULL_OPENCV, FOV, SIMPLE_RADIAL_FISHEYE, RADIAL_FISHEYE, "
            "THIN_PRISM_FISHEYE",
        ),
        (
            "1 PINHOLE 640 480 500 320 240",
            "line 1: PINHOLE has 4 parameters, found 3; expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS",
        ),
        (
            "1 PINHOLE 640 480 500 f 320 240",
            "line 1: '500 f 320 240' are not all numbers; expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS",
        ),
        (
            "1 PINHOLE 640.5 480 500 500 320 240",
            "line 1: '1 640.5 480' are not all whole numbers; expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS",
        ),
        (
            "1 PINHOLE 640 480 -500 500 320 240",
            "line 1: camera 1 is of 640x480 pixels with the parameters -500, 500, 320, 240; expected a size and focal "
            "lengths above 0 and finite numbers: make the model anew",
        ),
        (
            "1 PINHOLE 640 480 500 500 nan 240",
            "line 1: camera 1 is of 640x480 pixels with the parameters 500, 500, nan, 240; expected a size and focal "
            "lengths above 0 and finite numbers: make the model anew",
        ),
        (
            f"{CAMERAS}\n{CAMERAS}",
            "line 2: the id 1 came before; expected each once: export the model anew",
        ),
    ],
    "images.txt": [
        (
            "5 1 0 0 0 0.5 0 0 1",
            "line 1: found 9 columns; expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME",
        ),
        (
            f"{IMAGE}\n\n5 1 0 0 0 x 0 0 1 b.jpg\n",
            "line 3: the id 5 came before; expected each once: export the model anew",
        ),
        (
            "5 1 0 0 0 x 0 0 1 b.jpg\n",
            "line 1: '1 0 0 0 x 0 0' are not all numbers; expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME",
        ),
        (
            "5 0 0 0 0 1 0 0 1 b.jpg",
            "line 1: image 5 (b.jpg) has the quaternion 0, 0, 0, 0 and the translation 1, 0, 0; expected finite "
            "numbers and a quaternion w, x, y, z of length 1: make the model anew",
        ),
        (
            "5 1 0 0 0 inf 0 0 1 b.jpg",
            "line 1: image 5 (b.jpg) has the quaternion 1, 0, 0, 0 and the translation inf, 0, 0; expected finite "
            "numbers and a quaternion w, x, y, z of length 1: make the model anew",
        ),
        # Without the lines of points every second image would be lost.
        (
            f"{IMAGE}\n6 1 0 0 0 0.5 0 0 1 b.jpg\n",
            "line 2: found '6 1 0 0 0 0.5 0 0 1 b.jpg'; expected the line X Y POINT3D_ID X Y POINT3D_ID ... of the "
            "image above, which may be empty but not missing: export the model anew",
        ),
        (
            f"{IMAGE}\n6 1 0 0 0 0.5 0 0 1 my holiday b.jpg\n",
            "line 2: found '6 1 0 0 0 0.5 0 0 1 my holiday b.jpg'; expected the line X Y POINT3D_ID X Y POINT3D_ID "
            "... of the image above, which may be empty but not missing: export the model anew",
        ),
    ],
    "points3D.txt": [
        (
            f"{POINT}\n1 2 3",
            "line 2: found 3 columns; expected POINT3D_ID X Y Z R G B ERROR and pairs IMAGE_ID POINT2D_IDX",
        ),
        (
            f"{POINT} 6",
            "line 1: found 11 columns; expected POINT3D_ID X Y Z R G B ERROR and pairs IMAGE_ID POINT2D_IDX",
        ),
        (
            "1 0.5 y 3 10 20 30 0.1 5 0",
            "line 1: '1 0.5 y 3 10 20 30 0.1 5 0' are not all numbers; expected POINT3D_ID X Y Z R G B ERROR and pairs "
            "IMAGE_ID POINT2D_IDX",
        ),
        (
            f"{POINT}\n2 0.5 nan 3 10 20 30 0.1 5 0",
            "line 2 has NaN or infinite coordinates; expected finite numbers: make the model anew",
        ),
        (
            "1 0.5 0.5 3 0.1 0.2 300 0.1 5 0",
            "line 1: the colour is 0.1 0.2 300; expected R G B, whole numbers from 0 to 255",
        ),
        (
            "1 0.5 0.5 3 10 20 30 0.1 5.5 0",
            "line 1: the track names the image 5.5; expected POINT3D_ID X Y Z R G B ERROR and pairs IMAGE_ID "
            "POINT2D_IDX",
        ),
    ],
}
READ = {
    "cameras.txt": colmap.read_cameras,
    "images.txt": colmap.read_photographs,
    "points3D.txt": colmap.read_points,
}


@pytest.mark.parametrize(
    ("name", "text", "sentence"), [(name, *case) for name, cases in BROKEN.items() for case in cases]
)
def test_what_is_broken_is_named_with_its_line(name: str, text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        READ[name](path)
    assert str(caught.value) == f"{path} {sentence}"


@pytest.mark.parametrize("name", READ)
def test_files_that_are_no_text_or_not_there(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(
        UserError, match=rf"{name}: cannot be read \(No such file or directory\); expected a COLMAP"
    ):
        READ[name](path)
    path.write_bytes(b"1 \xff\xfe")
    with pytest.raises(
        UserError, match=rf"{name}: is not a text file \(byte 2\); export the model in text form"
    ):
        READ[name](path)


@pytest.mark.parametrize("name", READ)
def test_empty_files_hold_nothing(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("# nothing\n")
    found = READ[name](path)
    assert len(found.positions if isinstance(found, Points) else found) == 0
