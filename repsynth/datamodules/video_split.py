"""Which clips belong to which part of RealEstate10K: it has training and test clips, but no validation."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from repsynth.cache import cached
from repsynth.datamodules.base import Part
from repsynth.datamodules.evaluation_index import read_index


@dataclass(frozen=True)
class Selection:
    """The clips of one part."""

    part: Part
    val_scenes: int
    """Clips of the training split that are kept for validation."""
    index: Path | None = None
    """An evaluation index whose clips alone are taken."""

    @property
    def files(self) -> list[Path]:
        """What the choice depends on besides the clips."""
        return [] if self.index is None else [self.index]

    def chosen(self, names: list[str], videos: Callable[[], Mapping[str, str]]) -> list[str]:
        """The names of the part.

        Args:
            names: of the split on disk, sorted.
            videos: gives the video of each clip that can be held out; asked for training and validation only.
        """
        if self.index is not None:
            wanted = read_index(self.index).entries
            return [name for name in names if name in wanted]
        if self.part == "test":
            return names
        kept = held_out(videos(), self.val_scenes)
        return [name for name in names if (name in kept) == (self.part == "val")]


def split_of(part: Part) -> str:
    """The split that a part is taken from, which names its folder."""
    return "test" if part == "test" else "train"


def held_out(videos: Mapping[str, str], count: int) -> set[str]:
    """At least `count` clips for validation, all that there are when there are fewer.

    Videos are taken whole, in the order of a hash of their ids: the choice depends neither on the order of the clips
    nor on a seed, and no video is seen in training and in validation.

    Args:
        videos: clip -> id of its video.
        count: of clips.
    """
    clips: dict[str, list[str]] = {}
    for name, video in videos.items():
        clips.setdefault(video, []).append(name)
    chosen: set[str] = set()
    for video in sorted(clips, key=lambda video: hashlib.sha256(video.encode()).digest()):
        if len(chosen) >= count:
            break
        chosen.update(clips[video])
    return chosen


def known_videos(cache: Path, key: str, look: Callable[[], dict[str, str]]) -> dict[str, str]:
    """The video of each clip, which takes opening every file, from the cache when the key is known."""
    return cached(cache / f"videos-{key}.json", _read, look, _write)


def _read(path: Path) -> dict[str, str] | None:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):  # not there, or damaged
        return None
    return content if isinstance(content, dict) else None


def _write(videos: dict[str, str], file: BinaryIO) -> None:
    file.write(json.dumps(videos).encode())
