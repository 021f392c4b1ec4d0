"""One scene posed by COLMAP: its model, binary or text, and the pictures that the model names."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from repsynth.datamodules import colmap
from repsynth.datamodules.capture_fit import Suspects, check_fit, check_pictures
from repsynth.datamodules.captures import WIDEN, Capture, PictureRules, SparsePoints
from repsynth.datamodules.colmap import Camera, ModelFiles, Photograph
from repsynth.datamodules.posed_scene import FilePicture, PosedScene, UnusableSceneError, middle_depth
from repsynth.datamodules.relative_paths import below
from repsynth.datamodules.scene_points import QUANTILES
from repsynth.errors import UserError

_PLACES = ("sparse/0", "sparse", ".", "dense/sparse")
"""Where COLMAP's programs leave a model, in the order of looking."""

_WHOLE = "cameras, images and points3D, all as .bin or all as .txt"


@dataclass(frozen=True)
class _Model:
    """The cameras of a model, in the order of the names of its images."""

    files: ModelFiles
    ids: list[int]
    photographs: list[Photograph]
    cameras: list[Camera]


@dataclass(frozen=True)
class COLMAPCaptures:
    """How folders of COLMAP are read; see `captures.CaptureFormat`."""

    near_depth: float
    """Depth of the nearest bound after scaling."""
    model: str | None
    """Folder of the model in each scene; None looks in `_PLACES`."""
    images: str | None
    """Folder of the pictures in each scene; None takes `images` beside a model in `sparse`, else in the scene."""
    ignore_distortion: bool
    """Take distorted cameras for pinhole ones."""

    rules: PictureRules

    dataset: ClassVar[str] = "COLMAP"
    layout: ClassVar[str] = (
        "<scene>/{images/*.jpg, sparse/0/{cameras, images, points3D}.bin or .txt}, or such a scene itself"
    )

    @property
    def absent(self) -> str:
        """What a folder that is no scene lacks."""
        return "without a model" if self.model is None else f"without a model in {self.model}"

    def holds(self, folder: Path) -> bool:
        """Whether it has a model, or a part of one."""
        return self._model_folder(folder) is not None

    def files(self, folder: Path) -> list[Path]:
        """The model, and everything below the folder of pictures."""
        model = self._model_folder(folder) or folder
        pictures = self.pictures_folder(folder)
        return [
            *(model / name for name in colmap.model_parts(model)),
            pictures,
            *sorted(pictures.rglob("*")),
        ]

    def pictures_folder(self, folder: Path) -> Path:
        """Where the names of the model's images begin."""
        if self.images is not None:
            return folder / self.images
        model = self._model_folder(folder)
        beside = model.parent / "images" if model and model.name == "sparse" else folder / "images"
        return beside if beside.is_dir() else folder / "images"

    def read(self, folder: Path) -> Capture:
        """Cameras in scene units, those whose pictures are there; docs/data/colmap.md has the sentences."""
        head = f"COLMAP: {folder.resolve().name}"
        model = self._read_model(head, folder)
        self._check_distortion(head, model)
        extrinsics = np.stack([one.extrinsics for one in model.photographs])
        points = colmap.read_points(model.files.points)
        sparse = SparsePoints(points.positions, points.colours, points.seen_by_each(model.ids))
        depths = sparse.depths(extrinsics)
        near, far = _bounds(head, model.files, depths)
        scale = self.near_depth / near
        extrinsics[:, :3, 3] *= scale
        depth_range = (self.near_depth * WIDEN[0], scale * far * WIDEN[1])
        middle = middle_depth(depth_range)
        median = np.array([scale * np.median(seen) if len(seen) else middle for seen in depths])
        files, kept = self._present(head, folder, model)
        scene = PosedScene(
            folder.resolve().name,
            [FilePicture(file) for file in files],
            kept,
            extrinsics[kept],
            np.stack([model.cameras[view].intrinsics for view in kept]),
            depth_range,
            median[kept],
        )
        return Capture(
            folder,
            scene,
            files,
            _view_names([model.photographs[view].name for view in kept]),
            [(model.cameras[view].height, model.cameras[view].width) for view in kept],
            SparsePoints(scale * points.positions, points.colours, [sparse.seen[view] for view in kept]),
        )

    def check(self, capture: Capture) -> None:
        """See that pictures have the shapes of their cameras and show the points."""
        files = self._model_files(f"COLMAP: {capture.scene.name}", capture.folder)
        model = files.cameras.parent
        suspects = Suspects(
            head=f"COLMAP: {capture.scene.name}",
            view=lambda view: str(capture.files[view]),
            sizes=f"of its camera in {files.cameras}",
            places=f"the cameras in {model} do not fit its points: export the whole model anew",
            bounds=f"the poses in {model} do not fit its points: export the whole model anew",
            pictures=f"in {self.pictures_folder(capture.folder)} do not show the sparse points where {model} puts them",
            turned="they are turned, or have the names of others: use the pictures that COLMAP was given",
        )
        check_pictures(capture, suspects, self.rules)
        check_fit(capture, suspects, self.rules)

    def remarks(self, folder: Path) -> Iterator[str]:
        """What a user should know of a usable scene, a sentence each."""
        head = f"COLMAP: {folder.resolve().name}"
        model = self._read_model(head, folder)
        where = model.files.cameras.parent
        distorted = {
            f"{one.model} {one.distorted}": one for one in model.cameras if one.distorted is not None
        }
        if distorted:
            yield (
                f"{head}: the distortion of the pictures ({next(iter(distorted))}) is ignored "
                "(data.ignore_distortion); expect errors that grow towards the corners"
            )
        pictures = self.pictures_folder(folder)
        missing = [one.name for one in model.photographs if not (pictures / one.name).is_file()]
        if missing:
            yield (
                f"{head}: {len(missing)} of {len(model.ids)} pictures of the model are not in {pictures}, first "
                f"{missing[0]}; their views are left out"
            )
        if len(set(colmap.model_parts(where))) > len(colmap.PARTS):
            yield f"{head}: {where} holds the model in both forms; the binary files are read, the text is not"
        others = _other_models(where) if self.model is None else []
        if others:
            yield (
                f"{head}: {where} is read, and there are {', '.join(others)} too, which COLMAP could not join with it; "
                "name another with data.model"
            )

    def _model_folder(self, folder: Path) -> Path | None:
        """The first place with a whole model, else the first with a part of one."""
        places = [folder / place for place in (_PLACES if self.model is None else [self.model])]
        whole = (place for place in places if colmap.model_files(place))
        return next(whole, None) or next((place for place in places if colmap.model_parts(place)), None)

    def _model_files(self, head: str, folder: Path) -> ModelFiles:
        place = self._model_folder(folder)
        assert place is not None, "only folders with a part of a model are read"
        files = colmap.model_files(place)
        if files is None:
            raise UserError(
                f"{head}: {place} has only {', '.join(colmap.model_parts(place))}; expected {_WHOLE}: export the whole "
                "model"
            )
        return files

    def _read_model(self, head: str, folder: Path) -> _Model:
        files = self._model_files(head, folder)
        cameras, photographs = colmap.read_cameras(files.cameras), colmap.read_photographs(files.images)
        if not photographs:
            raise UnusableSceneError("with an empty model", f"{head}: {files.images} has no images")
        ids = sorted(photographs, key=lambda key: photographs[key].name)
        for key, after in zip(ids, [*ids[1:], None], strict=True):
            one = photographs[key]
            below(self.pictures_folder(folder), one.name, f"{head}: {files.images}: the name of image {key}")
            if after is not None and photographs[after].name == one.name:
                raise UserError(
                    f"{head}: {files.images} names {one.name} twice (images {key} and {after}); expected each picture "
                    "once: remove one and export the model anew"
                )
            if one.camera not in cameras:
                raise UserError(
                    f"{head}: {files.images}: image {key} ({one.name}) has the camera {one.camera}, which "
                    f"{files.cameras.name} lacks; take both files from the same model"
                )
        ordered = [photographs[key] for key in ids]
        return _Model(files, ids, ordered, [cameras[one.camera] for one in ordered])

    def _check_distortion(self, head: str, model: _Model) -> None:
        for camera in model.cameras:
            if camera.distorted is not None and not self.ignore_distortion:
                raise UserError(
                    f"{head}: {model.files.cameras}: model {camera.model} has distortion {camera.distorted}; undistort "
                    "with COLMAP's image_undistorter and name its result with data.model and data.images, or set "
                    "data.ignore_distortion: true"
                )

    def _present(self, head: str, folder: Path, model: _Model) -> tuple[list[Path], np.ndarray]:
        """The pictures that are there, and their places [N] in the order of all names."""
        pictures = self.pictures_folder(folder)
        files = [pictures / one.name for one in model.photographs]
        kept = [view for view, file in enumerate(files) if file.is_file()]
        if not kept:
            raise UnusableSceneError(
                "without pictures",
                f"{head}: none of the {len(files)} pictures of the model is in {pictures} (option data.images), first "
                f"wanted: {model.photographs[0].name}",
            )
        return [files[view] for view in kept], np.array(kept)


def _bounds(head: str, files: ModelFiles, depths: list[np.ndarray]) -> tuple[float, float]:
    """Least and greatest of the views' depth quantiles, as LLFF takes them."""
    quantiles = [np.quantile(seen, QUANTILES) for seen in depths if len(seen)]
    if not quantiles:
        raise UserError(
            f"{head}: no image of {files.images} sees a point of {files.points} in front of it; near and far bounds "
            "come from them: take all files from the same model"
        )
    near, far = np.array(quantiles).T
    return float(near.min()), float(far.max())


def _view_names(names: list[str]) -> list[str]:
    """Names of pictures without their suffixes, unless that makes two the same."""
    short = [str(Path(name).with_suffix("")) for name in names]
    return short if len(set(short)) == len(names) else names


def _other_models(where: Path) -> list[str]:
    """Numbered folders with models beside a numbered one."""
    if not where.name.isdigit():
        return []
    beside = sorted(path for path in where.parent.iterdir() if path.name.isdigit() and path != where)
    return [path.name for path in beside if colmap.model_files(path)]
