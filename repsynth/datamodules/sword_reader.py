"""Clips of the SWORD data set as posed scenes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repsynth.datamodules import colmap
from repsynth.datamodules.base import Part
from repsynth.datamodules.captures import WIDEN
from repsynth.datamodules.posed_scene import FilePicture, PosedScene, UnusableSceneError, middle_depth
from repsynth.datamodules.relative_paths import below
from repsynth.datamodules.scene_points import depths_of_points
from repsynth.datamodules.sword_frames import Images, choose_folder, frames_in, picture_folders, stem
from repsynth.datamodules.sword_list import SceneRow, read_list
from repsynth.datamodules.view_files import ViewFile, read_views
from repsynth.errors import UserError

FARTHEST = 100.0
"""Scene units to the farthest plane of the released code, taken where the list has no p_90 or higher."""


@dataclass(frozen=True)
class SwordReader:
    """The clips of one list."""

    part: Part
    root: Path
    csv: Path
    scenes: tuple[str, ...] | None
    """Names of those to take; None for all of the list."""
    image_size: tuple[int, int]
    """(height, width) that will be asked of the pictures."""
    images: Images
    scale_constant: float
    min_percentile_depth: float
    use_points: bool

    def names(self) -> list[str]:
        """The chosen scenes of the list.

        Raises:
            UserError: the list is missing or damaged, lacks chosen scenes, or has only scenes of small depths.
        """
        rows = read_list(self.csv)
        chosen = list(rows) if self.scenes is None else list(dict.fromkeys(self.scenes))
        absent = [name for name in chosen if name not in rows]
        if absent:
            raise UserError(
                f"SWORD: data.{self.part}_scenes names {len(absent)} scenes that {self.csv} does not have, first: "
                f"{absent[0]} (the list begins with {next(iter(rows))}); correct the names"
            )
        depths = [rows[name].scale_depth for name in chosen]
        if depths and max(depths) <= self.min_percentile_depth:
            raise UserError(
                f"SWORD: all {len(depths)} scenes were dropped by p_10 > {self.min_percentile_depth:g} (their range "
                f"is {min(depths):g}..{max(depths):g}); lower {self._depth_option} if {self.csv} is in other units"
            )
        return sorted(chosen)

    def files(self, name: str) -> list[Path]:
        """List, camera file, point cloud, and the folders of pictures."""
        row = read_list(self.csv)[name]
        try:
            points = self._point_clouds(row) if self.use_points else []
            return [
                self.csv,
                self._below(row, row.views, "views_path"),
                *points,
                *self._folders(row).values(),
            ]
        except UserError:  # paths that lead elsewhere: `read` tells
            return [self.csv]

    def read(self, name: str) -> PosedScene:
        """Cameras and pictures, scaled."""
        row = read_list(self.csv)[name]
        if row.scale_depth <= self.min_percentile_depth:
            raise UnusableSceneError(
                f"with p_10 <= {self.min_percentile_depth:g} ({self._depth_option})",
                f"{row.where}: p_10 of {name} is {row.scale_depth:g}",
            )
        views = self._views(row)
        frames = self._frames(row, views)
        places = list(frames)
        extrinsics, intrinsics = views.extrinsics[places], views.intrinsics[places]
        near, far, median = self._depths(row, extrinsics, intrinsics)
        scale = self.scale_constant / row.scale_depth
        extrinsics[:, :3, 3] *= scale
        return PosedScene(
            name,
            list(frames.values()),
            views.rows[places],
            extrinsics,
            intrinsics,
            (scale * near * WIDEN[0], scale * far * WIDEN[1]),
            scale * median,
            group=name,
        )

    # Inner parts.

    @property
    def _depth_option(self) -> str:
        return f"data.{'val_' if self.part == 'val' else ''}min_percentile_depth"

    def _below(self, row: SceneRow, written: str, field: str) -> Path:
        return below(self.root, written, f"{row.where}: {field}")

    def _views(self, row: SceneRow) -> ViewFile:
        path = self._below(row, row.views, "views_path")
        if not path.is_file():
            raise UnusableSceneError(
                "without a camera file", f"SWORD: {row.name}: no camera file {path}; complete the data set"
            )
        return read_views(path, "SWORD")

    def _folders(self, row: SceneRow) -> dict[int | str, Path]:
        copies = {side: self._below(row, path, f"images_path_{side}") for side, path in row.copies}
        return picture_folders(self._below(row, row.images, "images_path"), copies)

    def _frames(self, row: SceneRow, views: ViewFile) -> dict[int, FilePicture]:
        """The frames by the places of their views; names are compared as text. Rows without a frame leave holes."""
        folder = choose_folder(self._folders(row), self.images, self.image_size, row.name)
        present = {} if folder is None else frames_in(folder)
        wanted = {place: stem(name) for place, name in enumerate(views.names)}
        found = {place: present[name] for place, name in wanted.items() if name in present}
        if folder is None or not found:
            first = f"first present: {next(iter(present.values()))[0]}" if present else "none is present"
            raise UnusableSceneError(
                "without frames",
                f"SWORD: {row.name}: none of the {len(wanted)} rows of {views.path} has a frame in "
                f"{folder or row.images} (first wanted: {views.names[0]}; {first}); names are compared as text: "
                "rename the frames or complete the data set",
            )
        for files in found.values():
            if len(files) > 1:
                raise UserError(
                    f"SWORD: {row.name}: {folder} has {len(files)} files for one frame, {' and '.join(files)}; remove "
                    "all but one"
                )
        return {place: FilePicture(folder / files[0]) for place, files in found.items()}

    def _depths(
        self, row: SceneRow, extrinsics: np.ndarray, intrinsics: np.ndarray
    ) -> tuple[float, float, np.ndarray]:
        """Near, far and medians [N] in units of the camera file."""
        if self.use_points:
            return self._depths_of_points(row, extrinsics, intrinsics)
        near = min(depth for depth in row.percentiles.values() if depth > 0)
        last, far = max(row.percentiles.items())
        if last < 90:
            far = max(far, FARTHEST / WIDEN[1] * row.scale_depth / self.scale_constant)
        median = row.percentiles.get(50.0, middle_depth((near, far)))
        return near, far, np.full(len(extrinsics), median)

    def _depths_of_points(
        self, row: SceneRow, extrinsics: np.ndarray, intrinsics: np.ndarray
    ) -> tuple[float, float, np.ndarray]:
        paths = self._point_clouds(row)
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise UserError(
                f"SWORD: {row.name}: point cloud missing, needed because data.use_points is on; expected "
                f"{' or '.join(map(str, paths))}: complete the data set or set data.use_points: false"
            )
        positions = colmap.read_points(path).positions
        depths = depths_of_points(positions, extrinsics, intrinsics)
        if depths is None:
            raise UserError(
                f"SWORD: {row.name}: none of the {len(positions)} points of {path} is seen by a camera; it belongs to "
                "another reconstruction: get it again or set data.use_points: false"
            )
        return depths.near, depths.far, depths.median

    def _point_clouds(self, row: SceneRow) -> list[Path]:
        return [self._below(row, path, "the point cloud") for path in row.points]
