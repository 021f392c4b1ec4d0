"""One LLFF capture on disk: photographs, poses_bounds.npy and, where it is there, the sparse COLMAP model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from repsynth.datamodules import colmap
from repsynth.datamodules.capture_fit import Suspects, check_fit, check_pictures
from repsynth.datamodules.captures import WIDEN, Capture, PictureRules, SparsePoints
from repsynth.datamodules.images import image_files, read_size
from repsynth.datamodules.posed_scene import FilePicture, PosedScene
from repsynth.errors import UserError
from repsynth.geometry.cameras import check_cameras

_MODEL = Path("sparse", "0")
_REMEDY = "make the poses anew, or remove the folder sparse if it is of another capture"


@dataclass(frozen=True)
class LLFFCaptures:
    """How LLFF captures are read; see `captures.CaptureFormat`."""

    near_depth: float
    """Depth of the nearest bound after scaling."""
    image_size: tuple[int, int]
    """(height, width) that will be asked of the pictures."""
    images: str | None
    """Name of the folder of pictures; None takes the smallest that is large enough."""

    rules: PictureRules

    dataset: ClassVar[str] = "LLFF"
    layout: ClassVar[str] = "<scene>/{poses_bounds.npy, images_8/*.png}, or such a scene itself"
    absent: str = "without poses_bounds.npy"

    def holds(self, folder: Path) -> bool:
        """Whether it has poses."""
        return (folder / "poses_bounds.npy").is_file()

    def files(self, folder: Path) -> list[Path]:
        """The poses, all pictures and the sparse model."""
        directories = [folder / self.images] if self.images else sorted(folder.glob("images*"))
        pictures = [file for one in directories if one.is_dir() for file in image_files(one)]
        model = [folder / _MODEL / name for name in colmap.model_parts(folder / _MODEL)]
        return [folder / "poses_bounds.npy", *directories, *pictures, *model]

    def read(self, folder: Path) -> Capture:
        """Cameras in scene units, files in their order; docs/data/llff.md has the sentences for what is wrong."""
        rows = _read_rows(folder)
        files = _picture_files(folder, self.images, self.image_size, len(rows))
        extrinsics, intrinsics = convert_rows(rows)
        _check_cameras(folder, extrinsics, intrinsics)
        scale = self.near_depth / rows[:, 15].min()
        extrinsics[:, :3, 3] *= scale
        points = seen_points(folder, len(rows), scale)
        scene = PosedScene(
            folder.resolve().name,
            [FilePicture(file) for file in files],
            np.arange(len(rows)),
            extrinsics,
            np.repeat(intrinsics[None], len(rows), axis=0),
            (scale * rows[:, 15].min() * WIDEN[0], scale * rows[:, 16].max() * WIDEN[1]),
            _median_depths(scale * rows[:, 15:], extrinsics, points),
        )
        full = (float(rows[0, 4]), float(rows[0, 9]))
        return Capture(folder, scene, files, [file.stem for file in files], [full] * len(files), points)

    def check(self, capture: Capture) -> None:
        """See that pictures have one size and that the poses fit them and the sparse points."""
        suspects = Suspects(
            head=f"LLFF: {capture.scene.name}",
            view="the view of row {}".format,
            sizes="in poses_bounds.npy",
            places=(
                "poses_bounds.npy (its columns down, right, backwards, or the order of its rows) does not fit "
                f"sparse/0: {_REMEDY}"
            ),
            bounds=f"poses_bounds.npy (its bounds, or the order of its rows) does not fit sparse/0: {_REMEDY}",
            pictures=(
                f"in {capture.files[0].parent} do not show the sparse points where poses_bounds.npy puts them"
            ),
            turned=f"its axes are turned, or files and rows are in different orders: {_REMEDY}",
        )
        sizes = check_pictures(capture, suspects, self.rules)
        if len(sizes) == len(capture.files):
            _check_one_size(capture, sizes)
        check_fit(capture, suspects, self.rules)


def convert_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cameras of poses_bounds.npy in the conventions of `geometry.cameras`, not scaled.

    A row is a 3 x 5 matrix [R | t | height, width, focal] and the bounds; R and t map the camera to the
    world, the columns of R are the camera's down, right and backward axes, and the sizes are those of the
    full photographs.

    Args:
        rows: [N, 17] float64.

    Returns:
        World to camera [N, 4, 4] and normalised intrinsics [3, 3].
    """
    matrices = rows[:, :15].reshape(-1, 3, 5)
    to_world = np.stack([matrices[:, :, 1], matrices[:, :, 0], -matrices[:, :, 2]], axis=2)
    extrinsics = np.tile(np.eye(4), (len(rows), 1, 1))
    extrinsics[:, :3, :3] = to_world.swapaxes(1, 2)
    extrinsics[:, :3, 3] = -np.einsum("nji,nj->ni", to_world, matrices[:, :, 3])
    height, width, focal = matrices[0, :, 4]
    return extrinsics, np.array([[focal / width, 0, 0.5], [0, focal / height, 0.5], [0, 0, 1]])


def seen_points(folder: Path, rows: int, scale: float) -> SparsePoints | None:
    """The sparse points and which of them the view of each row sees; None for a capture without points3D.

    Args:
        folder: of the capture.
        rows: number of poses.
        scale: scene units per unit of COLMAP.

    Raises:
        UserError: for a damaged model, or one of another number of images.
    """
    path = colmap.part_file(folder / _MODEL, "points3D")
    if path is None:
        return None
    points = colmap.read_points(path)
    seen = points.seen_by_each(_image_ids(folder, rows))
    return SparsePoints(scale * points.positions, points.colours, seen)


def distortion(folder: Path) -> str | None:
    """What the cameras of the sparse model have and poses_bounds.npy cannot say; None for nothing."""
    path = colmap.part_file(folder / _MODEL, "cameras")
    cameras = colmap.read_cameras(path).values() if path else ()
    return next((f"{one.model} {one.distorted}" for one in cameras if one.distorted is not None), None)


def _read_rows(folder: Path) -> np.ndarray:
    path = folder / "poses_bounds.npy"
    name = folder.resolve().name
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"LLFF: {name}: {path} cannot be read ({error}); expected a NumPy file of shape [N, 17]"
        ) from error
    where = f"LLFF: {name}: poses_bounds.npy"
    if rows.ndim != 2 or rows.shape[1] != 17 or not len(rows):
        raise UserError(
            f"{where} is {list(rows.shape)}, expected [N, 17]; a [N, 14] or [N, 20] file is another format"
        )
    rows = rows.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise UserError(f"{where} has NaN or infinite numbers in row {bad[0]}; make the poses anew")
    if np.ptp(rows[:, 4:15:5], axis=0).any() or (rows[0, 4:15:5] <= 0).any():
        raise UserError(
            f"{where} has rows of different or non-positive height, width and focal length; "
            "expected the same three numbers in each, those of the full photographs"
        )
    bad = np.flatnonzero((rows[:, 15] <= 0) | (rows[:, 16] <= rows[:, 15]))
    if len(bad):
        near, far = rows[bad[0], 15:]
        raise UserError(
            f"{where} has the bounds {near:g} and {far:g} in row {bad[0]}; expected 0 < near < far"
        )
    return rows


def _picture_files(folder: Path, images: str | None, wanted: tuple[int, int], rows: int) -> list[Path]:
    """The pictures in the order of the rows: sorted by name."""
    name = folder.resolve().name
    directory = folder / images if images else _smallest_folder(folder, wanted)
    if not directory.is_dir():
        raise UserError(
            f"LLFF: {name}: no folder {directory} (option data.images); leave the option out to take the smallest "
            "folder that is large enough"
        )
    files = image_files(directory)
    if len(files) != rows:
        raise UserError(
            f"LLFF: {name}: {len(files)} images in {directory} but {rows} rows in poses_bounds.npy; "
            "they belong together by their sorted order, so the numbers must agree: complete the folder"
        )
    return files


def _smallest_folder(folder: Path, wanted: tuple[int, int]) -> Path:
    """Of images, images_2, ... the one with the smallest pictures that reach `wanted`, else the largest."""
    sizes = {}
    for directory in sorted(folder.glob("images*")):
        files = image_files(directory) if directory.is_dir() else []
        if files:
            sizes[directory] = read_size(files[0])
    if not sizes:
        raise UserError(
            f"LLFF: {folder.resolve().name}: no pictures under {folder}; expected images, images_4 or images_8 with "
            "png or jpg files"
        )
    enough = [directory for directory, (h, w) in sizes.items() if h >= wanted[0] and w >= wanted[1]]
    return min(enough, key=lambda one: sizes[one]) if enough else max(sizes, key=lambda one: sizes[one])


def _check_one_size(capture: Capture, sizes: Sequence[tuple[int, int]]) -> None:
    for file, size in zip(capture.files, sizes, strict=True):
        if size != sizes[0]:
            raise UserError(
                f"LLFF: {capture.scene.name}: {file} is {size[1]}x{size[0]}, but {capture.files[0].name} is "
                f"{sizes[0][1]}x{sizes[0][0]}; all pictures of a folder must have one size"
            )


def _check_cameras(folder: Path, extrinsics: np.ndarray, intrinsics: np.ndarray) -> None:
    name = folder.resolve().name
    determinants = np.linalg.det(extrinsics[:, :3, :3])
    bad = np.flatnonzero(determinants < 0)
    if len(bad):
        raise UserError(
            f"LLFF: {name}: rotation {bad[0]} has determinant {determinants[bad[0]]:.3g}, expected "
            "1; the axes are mirrored or transposed: poses_bounds.npy must hold the columns down, right, "
            "backwards"
        )
    repeated = torch.from_numpy(intrinsics).expand(len(extrinsics), 3, 3)
    check_cameras(torch.from_numpy(extrinsics), repeated, f"LLFF: {name}: poses_bounds.npy")


def _median_depths(bounds: np.ndarray, extrinsics: np.ndarray, points: SparsePoints | None) -> np.ndarray:
    """[N] median depth of the points each view sees; without any, midway in 1 / depth between its bounds [N, 2]."""
    median: np.ndarray = 2 / (1 / bounds).sum(axis=1)
    for view, depths in enumerate(points.depths(extrinsics) if points else []):
        if len(depths):
            median[view] = np.median(depths)
    return median


def _image_ids(folder: Path, rows: int) -> list[int]:
    """COLMAP's image id of each row: rows are in the order of names; without images.bin ids count from 1."""
    path = colmap.part_file(folder / _MODEL, "images")
    if path is None:
        return list(range(1, rows + 1))
    photographs = colmap.read_photographs(path)
    if len(photographs) != rows:
        raise UserError(
            f"LLFF: {folder.resolve().name}: {len(photographs)} images in {path} but {rows} rows in poses_bounds.npy; "
            "remove the sparse folder or take both from the same run of COLMAP"
        )
    return sorted(photographs, key=lambda key: photographs[key].name)
