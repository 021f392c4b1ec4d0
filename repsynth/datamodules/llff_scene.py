"""One LLFF capture on disk: photographs, poses_bounds.npy and, where it is there, the sparse COLMAP model."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from repsynth.datamodules import colmap
from repsynth.datamodules.images import image_files, read_size, require_size
from repsynth.errors import UserError
from repsynth.geometry.cameras import check_cameras

WIDEN = (0.9, 1.1)
"""Factors of near and far: the stored bounds are quantiles, one point in a thousand lies outside."""

HOLD_OUT = 8
"""Views 0, 8, 16, ... are the test, the rest the training (the split of the NeRF release)."""


@dataclass(frozen=True)
class LLFFScene:
    """A capture of N views in COLMAP's units, scaled so that the nearest bound lies at a chosen depth."""

    folder: Path
    files: list[Path]
    image_size: tuple[int, int]
    """(height, width) of the files."""
    extrinsics: np.ndarray
    """[N, 4, 4] float64 world to camera, OpenCV axes."""
    intrinsics: np.ndarray
    """[3, 3] float64, normalised; the same for all views."""
    depth_range: tuple[float, float]
    """Nearest and farthest bound of all views, widened."""
    median_depth: np.ndarray
    """[N] of the sparse points that a view sees; without points, midway in 1 / depth between its bounds."""
    scale: float
    """Scene units per unit of COLMAP."""
    distortion: str | None
    """What the cameras of the sparse model have and poses_bounds.npy cannot say; None for nothing."""

    @property
    def name(self) -> str:
        """That of the folder."""
        return self.folder.name

    @property
    def held_out(self) -> list[int]:
        """Numbers of the views kept for evaluation."""
        return list(range(0, len(self.files), HOLD_OUT))

    @property
    def training(self) -> list[int]:
        """Numbers of the other views."""
        return [view for view in range(len(self.files)) if view % HOLD_OUT]


def read_scene(folder: Path, near_depth: float, image_size: tuple[int, int], images: str | None) -> LLFFScene:
    """Read and check everything but the pixels.

    Args:
        folder: of the scene.
        near_depth: depth of the nearest bound after scaling.
        image_size: (height, width) that will be asked of the pictures.
        images: name of the folder of pictures; None takes the smallest that is large enough.

    Raises:
        UserError: see docs/data/llff.md for the sentences.
    """
    rows = _read_rows(folder)
    full = (rows[0, 4], rows[0, 9])
    directory = folder / images if images else _smallest_folder(folder, image_size)
    files, size = _check_pictures(folder, directory, full, len(rows), image_size)
    extrinsics, intrinsics = convert_rows(rows)
    _check_cameras(folder, extrinsics, intrinsics)
    scale = near_depth / rows[:, 15].min()
    median = _median_depths(folder, rows, extrinsics) * scale
    extrinsics[:, :3, 3] *= scale
    near, far = scale * rows[:, 15].min() * WIDEN[0], scale * rows[:, 16].max() * WIDEN[1]
    return LLFFScene(
        folder, files, size, extrinsics, intrinsics, (near, far), median, scale, _distortion(folder)
    )


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


def _read_rows(folder: Path) -> np.ndarray:
    path = folder / "poses_bounds.npy"
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"LLFF: {folder.name}: {path} cannot be read ({error}); expected a NumPy file of shape [N, 17]"
        ) from error
    where = f"LLFF: {folder.name}: poses_bounds.npy"
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


def _smallest_folder(folder: Path, wanted: tuple[int, int]) -> Path:
    """Of images, images_2, ... the one with the smallest pictures that reach `wanted`, else the largest."""
    sizes = {}
    for directory in sorted(folder.glob("images*")):
        files = image_files(directory) if directory.is_dir() else []
        if files:
            sizes[directory] = read_size(files[0])
    if not sizes:
        raise UserError(
            f"LLFF: {folder.name}: no pictures under {folder}; expected images, images_4 or images_8 with "
            "png or jpg files"
        )
    enough = [directory for directory, (h, w) in sizes.items() if h >= wanted[0] and w >= wanted[1]]
    return min(enough, key=lambda one: sizes[one]) if enough else max(sizes, key=lambda one: sizes[one])


def _check_pictures(
    folder: Path, directory: Path, full: tuple[float, float], rows: int, wanted: tuple[int, int]
) -> tuple[list[Path], tuple[int, int]]:
    """The files in the order of the rows and their common (height, width)."""
    if not directory.is_dir():
        raise UserError(
            f"LLFF: {folder.name}: no folder {directory} (option data.images); leave the option out to "
            "take the smallest folder that is large enough"
        )
    files = image_files(directory)
    if len(files) != rows:
        raise UserError(
            f"LLFF: {folder.name}: {len(files)} images in {directory} but {rows} rows in poses_bounds.npy; "
            "they belong together by their sorted order, so the numbers must agree: complete the folder"
        )
    sizes = [read_size(file) for file in files]
    for file, size in zip(files, sizes, strict=True):
        if size != sizes[0]:
            raise UserError(
                f"LLFF: {folder.name}: {file} is {size[1]}x{size[0]}, but {files[0].name} is "
                f"{sizes[0][1]}x{sizes[0][0]}; all pictures of a folder must have one size"
            )
    _check_aspect(folder, files[0], sizes[0], full)
    require_size(files[0], sizes[0], wanted)
    return files, sizes[0]


def _check_aspect(folder: Path, file: Path, size: tuple[int, int], full: tuple[float, float]) -> None:
    """Smaller copies may be rounded by a pixel, not cropped."""
    across, down = size[0] * full[1] / full[0] - size[1], size[1] * full[0] / full[1] - size[0]
    if min(abs(across), abs(down)) > 1:
        raise UserError(
            f"LLFF: {folder.name}: {file} is {size[1]}x{size[0]}, which is no reduced copy of the "
            f"{full[1]:g}x{full[0]:g} in poses_bounds.npy (the aspect ratios differ by more than a pixel); "
            "use pictures that were scaled, not cropped or turned"
        )


def _check_cameras(folder: Path, extrinsics: np.ndarray, intrinsics: np.ndarray) -> None:
    determinants = np.linalg.det(extrinsics[:, :3, :3])
    bad = np.flatnonzero(determinants < 0)
    if len(bad):
        raise UserError(
            f"LLFF: {folder.name}: rotation {bad[0]} has determinant {determinants[bad[0]]:.3g}, expected "
            "1; the axes are mirrored or transposed: poses_bounds.npy must hold the columns down, right, "
            "backwards"
        )
    where = f"LLFF: {folder.name}: poses_bounds.npy"
    repeated = torch.from_numpy(intrinsics).expand(len(extrinsics), 3, 3)
    check_cameras(torch.from_numpy(extrinsics), repeated, where)


def seen_points(folder: Path, rows: int) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """The sparse points that the view of each row sees; None for a capture without points3D.bin.

    Returns:
        For each row positions [S, 3] float64 in COLMAP's world and colours [S, 3] uint8.

    Raises:
        UserError: for a damaged model, or one of another number of images.
    """
    path = folder / "sparse" / "0" / "points3D.bin"
    if not path.is_file():
        return None
    points = colmap.read_points(path)
    numbers = [points.seen_by(image) for image in _image_ids(folder, rows)]
    return [(points.positions[seen], points.colours[seen]) for seen in numbers]


def _median_depths(folder: Path, rows: np.ndarray, extrinsics: np.ndarray) -> np.ndarray:
    """[N] median depth of each view, in COLMAP's units; see `LLFFScene.median_depth`."""
    median = 2 / (1 / rows[:, 15] + 1 / rows[:, 16])
    for view, (positions, _) in enumerate(seen_points(folder, len(rows)) or []):
        depths = positions @ extrinsics[view, 2, :3] + extrinsics[view, 2, 3]
        if (depths > 0).any():
            median[view] = np.median(depths[depths > 0])
    return median


def _image_ids(folder: Path, rows: int) -> list[int]:
    """COLMAP's image id of each row: rows are in the order of names; without images.bin ids count from 1."""
    path = folder / "sparse" / "0" / "images.bin"
    if not path.is_file():
        return list(range(1, rows + 1))
    photographs = colmap.read_photographs(path)
    if len(photographs) != rows:
        raise UserError(
            f"LLFF: {folder.name}: {len(photographs)} images in {path} but {rows} rows in poses_bounds.npy; "
            "remove the sparse folder or take both from the same run of COLMAP"
        )
    return sorted(photographs, key=lambda key: photographs[key].name)


def _distortion(folder: Path) -> str | None:
    path = folder / "sparse" / "0" / "cameras.bin"
    cameras = colmap.read_cameras(path).values() if path.is_file() else ()
    for camera in cameras:
        if any(camera.distortion):
            return f"{camera.model} {', '.join(f'{value:.4g}' for value in camera.distortion)}"
    return None
