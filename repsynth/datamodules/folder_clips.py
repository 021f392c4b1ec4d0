"""RealEstate10K as files: a camera file and a folder of frames per clip."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from repsynth.cache import key_of
from repsynth.datamodules.clip_options import ClipOptions
from repsynth.datamodules.frame_folders import (
    FramePictures,
    camera_files,
    frames_by_time,
    match_times,
    names_in,
)
from repsynth.datamodules.posed_scene import PosedScene, UnusableSceneError
from repsynth.datamodules.video_split import Selection, known_videos
from repsynth.datamodules.view_files import read_views, video_id, video_of
from repsynth.errors import UserError

_OPENERS = 16
"""Threads that read first lines: on a network each waits for its answer."""


@dataclass(frozen=True, eq=False)
class FolderClip:
    """What the files of a clip say: N pictures and their cameras, in units of the file."""

    video: str
    """Id of the video that it was cut from."""
    pictures: Sequence[str]
    """N file names in its folder of frames."""
    rows: np.ndarray
    """[N] int64, rising: row of each picture in the camera file."""
    extrinsics: np.ndarray
    """[N, 4, 4] float64 world to camera."""
    intrinsics: np.ndarray
    """[N, 3, 3] float64, normalised."""


@dataclass(frozen=True)
class FolderClips:
    """Reads `<cameras>/<id>.txt` and `<frames>/<id>/<time stamp>.jpg|png`."""

    cameras: Path
    """Camera files of the split."""
    frames: Path
    """Folders of frames of the split."""
    selection: Selection
    options: ClipOptions

    def names(self) -> list[str]:
        """The clips of the part, sorted."""
        return self.selection.chosen(camera_files(self.cameras), self._videos)

    def files(self, name: str) -> list[Path]:
        """Its camera file and its folder of frames, and the index that names it."""
        return [self._camera_file(name), self.frames / name, *self.selection.files]

    def rows(self, name: str) -> int:
        """Number of rows of its camera file."""
        file = read_views(self._camera_file(name), self.options.dataset, times=True)
        return len(file.rows) + file.repeated

    def read(self, name: str) -> PosedScene:
        """Cameras of the rows whose frame is there; see `posed_scene.SceneReader`."""
        return self.scene(name, self.clip(name))

    def clip(self, name: str) -> FolderClip:
        """Its files, parsed and matched; raises what `read` raises."""
        file = read_views(self._camera_file(name), self.options.dataset, times=True)
        video = video_of(file, self.options.dataset)
        present, others = frames_by_time(self.frames / name, self.options.dataset)
        times = np.fromiter(present, np.int64, len(present))
        places, found = match_times(file.times, times, self.options.within)
        if not len(places):
            self._refuse(name, file.times, [*present.values(), *others])
        names = list(present.values())
        pictures = [names[place] for place in found.tolist()]
        return FolderClip(
            video, pictures, file.rows[places], file.extrinsics[places], file.intrinsics[places]
        )

    def scene(self, name: str, clip: FolderClip) -> PosedScene:
        """The scene of a clip."""
        pictures = FramePictures(self.frames / name, clip.pictures)
        return self.options.scene(name, clip.video, pictures, clip.rows, clip.extrinsics, clip.intrinsics)

    def _camera_file(self, name: str) -> Path:
        return self.cameras / f"{name}.txt"

    def _refuse(self, name: str, times: np.ndarray, present: list[str]) -> None:
        dataset, folder = self.options.dataset, self.frames / name
        if not present:
            raise UnusableSceneError("without frames", f"{dataset}: {name}: no frames in {folder}")
        raise UserError(
            f"{dataset}: {name}: none of the {len(times)} time stamps has a frame in {folder} (first wanted: "
            f"{times[0]}.jpg; first present: {present[0]}). Were the frames cut with another naming?"
        )

    def _videos(self) -> dict[str, str]:
        """The video of each clip that has a folder of frames; the others can neither train nor validate."""
        folders = set(names_in(self.frames))
        names = [name for name in camera_files(self.cameras) if name in folders]
        key = key_of(*names, files=[self.cameras])
        return known_videos(self.options.cache, key, partial(self._read_videos, names))

    def _read_videos(self, names: list[str]) -> dict[str, str]:
        with ThreadPoolExecutor(_OPENERS) as pool:
            return dict(zip(names, pool.map(self._video, names), strict=True))

    def _video(self, name: str) -> str:
        """From the first line alone; a file that cannot be read is told of when its cameras are."""
        try:
            with self._camera_file(name).open(encoding="utf-8-sig") as file:
                return video_id(file.readline()) or name
        except (OSError, UnicodeDecodeError):
            return name
