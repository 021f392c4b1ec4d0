import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from repsynth.datamodules.colmap import read_cameras, read_photographs, read_points
from repsynth.errors import UserError


def cameras_file(folder: Path) -> Path:
    path = folder / "cameras.bin"
    path.write_bytes(
        struct.pack("<Q", 2)
        + struct.pack("<iiQQ4d", 1, 1, 640, 480, 500, 501, 320, 240)
        + struct.pack("<iiQQ4d", 7, 2, 64, 48, 50, 32, 24, 0.02)
    )
    return path


def photographs_file(folder: Path) -> Path:
    path = folder / "images.bin"
    turn = Rotation.from_rotvec([0.3, -0.2, 0.5]).as_quat()[[3, 0, 1, 2]]
    path.write_bytes(
        struct.pack("<Q", 2)
        + struct.pack("<i7di", 5, *turn, 1, 2, 3, 7)
        + b"b.jpg\0"
        + struct.pack("<Q", 2)
        + struct.pack("<ddqddq", 1, 2, 3, 4, 5, -1)
        + struct.pack("<i7di", 2, 1, 0, 0, 0, 0, 0, 0, 1)
        + b"a.jpg\0"
        + struct.pack("<Q", 0)
    )
    return path


def points_file(folder: Path) -> Path:
    path = folder / "points3D.bin"
    path.write_bytes(
        struct.pack("<Q", 2)
        + struct.pack("<Q3d3BdQ", 11, 1.5, -2, 3, 10, 20, 30, 0.5, 2)
        + struct.pack("<4i", 4, 0, 9, 1)
        + struct.pack("<Q3d3BdQ", 12, 0, 0, 1, 1, 2, 255, 0.1, 1)
        + struct.pack("<2i", 9, 5)
    )
    return path


def test_cameras(tmp_path: Path) -> None:
    cameras = read_cameras(cameras_file(tmp_path))
    assert cameras[1].model == "PINHOLE" and cameras[1].distortion == ()
    assert (cameras[1].width, cameras[1].height) == (640, 480)
    assert cameras[7].model == "SIMPLE_RADIAL" and cameras[7].distortion == (0.02,)
    assert cameras[7].parameters == (50, 32, 24, 0.02)


def test_photographs(tmp_path: Path) -> None:
    photographs = read_photographs(photographs_file(tmp_path))
    assert [photographs[key].name for key in (2, 5)] == ["a.jpg", "b.jpg"]
    assert photographs[5].camera == 7
    pose = photographs[5].extrinsics
    np.testing.assert_allclose(pose[:3, :3], Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix(), atol=1e-12)
    np.testing.assert_array_equal(pose[:, 3], [1, 2, 3, 1])


def test_points(tmp_path: Path) -> None:
    points = read_points(points_file(tmp_path))
    np.testing.assert_array_equal(points.positions, [[1.5, -2, 3], [0, 0, 1]])
    np.testing.assert_array_equal(points.colours, [[10, 20, 30], [1, 2, 255]])
    assert points.seen_by(9).tolist() == [0, 1] and points.seen_by(4).tolist() == [0]
    assert points.seen_by(1).tolist() == []


FILES = [(cameras_file, read_cameras), (photographs_file, read_photographs), (points_file, read_points)]


@pytest.mark.parametrize(("write", "read"), FILES)
def test_files_cut_anywhere_are_named(
    tmp_path: Path, write: Callable[[Path], Path], read: Callable[[Path], object]
) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(UserError, match=rf"{path.name}: is no whole COLMAP file of {end} bytes"):
            read(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(UserError, match="1 bytes follow its last entry"):
        read(path)


@pytest.mark.parametrize(("write", "read"), FILES)
def test_missing_files_and_absurd_counts_are_named(
    tmp_path: Path, write: Callable[[Path], Path], read: Callable[[Path], object]
) -> None:
    path = write(tmp_path)
    path.write_bytes(struct.pack("<Q", 2**60))
    with pytest.raises(UserError, match=f"its head announces {2**60} entries"):
        read(path)
    path.unlink()
    with pytest.raises(UserError, match=rf"{path.name}: cannot be read \(No such file or directory\)"):
        read(path)


def test_unknown_camera_models_are_named(tmp_path: Path) -> None:
    path = tmp_path / "cameras.bin"
    path.write_bytes(struct.pack("<QiiQQ", 1, 3, 77, 640, 480))
    with pytest.raises(UserError, match="camera 3 has the unknown model 77; expected 0 to 10"):
        read_cameras(path)
