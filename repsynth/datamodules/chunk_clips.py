"""RealEstate10K in chunks: many clips per `.torch` file, with an index that says where each is."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from repsynth.cache import key_of
from repsynth.datamodules.camera_rows import camera_matrices
from repsynth.datamodules.chunk_tables import ChunkTable, prepare_tables, table_of
from repsynth.datamodules.clip_options import ClipOptions
from repsynth.datamodules.images import read_image, read_size
from repsynth.datamodules.named_bytes import as_path
from repsynth.datamodules.posed_scene import PosedScene, UnusableSceneError
from repsynth.datamodules.relative_paths import below
from repsynth.datamodules.video_split import Selection, known_videos
from repsynth.datamodules.view_files import rising, video_id
from repsynth.errors import UserError

INDEX = "index.json"


@dataclass(frozen=True)
class ChunkPicture:
    """A picture inside a chunk."""

    path: Path
    clip: str
    row: int
    offset: int
    """Of its first byte in the file."""
    length: int
    """Bytes."""

    @property
    def label(self) -> str:
        """The chunk, the clip and the row."""
        return f"{self.path} (clip {self.clip}, row {self.row})"

    def read(self, convert: bool) -> np.ndarray:
        """Decode it; only its own bytes are read."""
        return read_image(self._bytes(), convert=convert)

    def size(self) -> tuple[int, int]:
        """(height, width) from its head."""
        return read_size(self._bytes())

    def _bytes(self) -> Path:
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.length)
        except OSError as error:
            raise UserError(
                f"{self.label}: cannot be read ({error.strerror}); get the chunk again"
            ) from error
        return as_path(content, self.label)


@dataclass(frozen=True)
class ChunkClips:
    """Reads `<folder>/index.json` and the chunks that it names."""

    folder: Path
    """Of the split."""
    selection: Selection
    options: ClipOptions

    def names(self) -> list[str]:
        """The clips of the part, sorted."""
        return self.selection.chosen(sorted(self._index()), self._videos)

    def prepare(self) -> None:
        """Look into chunks that are new, on all cores."""
        prepare_tables(self._chunks(), self.options.dataset, self.options.cache)

    def files(self, name: str) -> list[Path]:
        """The chunk of a clip, and the indices that name it."""
        return [self.folder / self._index()[name], self.folder / INDEX, *self.selection.files]

    def rows(self, name: str) -> int:
        """Number of its pictures."""
        _, _, part = self._clip(name)
        return int(part.stop - part.start)

    def read(self, name: str) -> PosedScene:
        """Cameras of a clip; see `posed_scene.SceneReader`."""
        table, address, part = self._clip(name)
        if part.start == part.stop:
            raise UnusableSceneError("without frames", f"{self.options.dataset}: {name}: has no pictures")
        path = self.folder / self._index()[name]
        where = f"{self.options.dataset}: {path}: clip {name}"
        extrinsics, intrinsics = camera_matrices(table.cameras[part], lambda row: f"{where} row {row}")
        rows = rising(table.times[part])
        offsets, lengths = table.offsets[part].tolist(), table.lengths[part].tolist()
        pictures = [ChunkPicture(path, name, row, offsets[row], lengths[row]) for row in rows.tolist()]
        video = video_id(address) or name
        return self.options.scene(name, video, pictures, rows, extrinsics[rows], intrinsics[rows])

    def _clip(self, name: str) -> tuple[ChunkTable, str, slice]:
        path = self.folder / self._index()[name]
        table = table_of(path, self.options.dataset, self.options.cache)
        found = table.clip(name)
        if found is None:
            raise UserError(
                f"{self.options.dataset}: {self.folder / INDEX}: {name} should be in {path.name}, which does not hold "
                "it; get the index again"
            )
        return table, *found

    def _index(self) -> dict[str, str]:
        path = self.folder / INDEX
        try:
            state = path.stat()
        except OSError as error:
            raise UserError(
                f"{self.options.dataset}: {path} cannot be read ({error.strerror}); beside chunks expected an index of "
                "them, {key: name of the chunk}: get it again"
            ) from error
        return _read_index(path, self.options.dataset, state.st_mtime_ns, state.st_size)

    def _chunks(self) -> list[Path]:
        return [self.folder / name for name in sorted(set(self._index().values()))]

    def _videos(self) -> dict[str, str]:
        return known_videos(self.options.cache, key_of(files=[self.folder / INDEX]), self._read_videos)

    def _read_videos(self) -> dict[str, str]:
        videos = {}
        for path in self._chunks():
            table = table_of(path, self.options.dataset, self.options.cache)
            for key, address in zip(table.keys.tolist(), table.addresses.tolist(), strict=True):
                videos[key] = video_id(address) or key
        return {name: videos.get(name, name) for name in self._index()}


@lru_cache(maxsize=4)
def _read_index(path: Path, dataset: str, changed: int, size: int) -> dict[str, str]:
    """Read again when the file has `changed`, in nanoseconds, or has another `size`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{dataset}: {path} is no JSON file ({error}); get it again") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content.values()):
        raise UserError(f"{dataset}: {path}: expected {{key: name of the chunk}}; get it again")
    for key, name in content.items():
        below(path.parent, name, f"{dataset}: {path}: the chunk of {key}")
    return content
