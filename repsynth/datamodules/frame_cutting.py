"""Cutting the frames of clips out of one video."""

import io
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from repsynth.datamodules.images import read_size
from repsynth.datamodules.video_frames import Video
from repsynth.errors import UserError

if TYPE_CHECKING:
    from av import VideoFrame

FrameFormat = Literal["jpg", "png"]

_ENDS = {"jpg": b"\xff\xd9", "png": b"IEND\xaeB`\x82"}
_NAMED = 3
_QUALITY = 95
_SMALLEST_SIDE = 8


@dataclass(frozen=True)
class Cutting:
    """How frames are written."""

    out: Path
    """Gets <split>/<clip>/<time stamp>.<format>, as below the folder of camera files."""
    short_side: int | None = None
    """Of the pictures in pixels; smaller videos keep their size, and so does every video for None."""
    format: FrameFormat = "jpg"
    quality: int | None = None
    """Of jpg, 1 to 100; None takes 95."""

    def check(self) -> None:
        """Raise UserError for options that make no picture."""
        if self.short_side is not None and self.short_side < _SMALLEST_SIDE:
            raise UserError(f"--size is {self.short_side}; expected at least {_SMALLEST_SIDE} pixels")
        if self.quality is not None and self.format == "png":
            raise UserError(
                f"--quality {self.quality} is one of jpg, and png loses nothing; leave it out or use --format jpg"
            )
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UserError(f"--quality is {self.quality}; expected 1 to 100")


@dataclass(frozen=True)
class Clip:
    """The frames that one camera file names."""

    place: Path
    """Folder of its frames below `Cutting.out`."""
    video: str
    times: np.ndarray
    """[N] int64 microseconds, strictly rising."""


@dataclass
class Tally:
    """What became of the time stamps; tallies of videos add up."""

    written: int = 0
    kept: int = 0
    """Were there already."""
    without_frame: int = 0
    """No frame within half a frame of them: most lie beyond the end of the video."""
    clips_without: list[str] = field(default_factory=list)
    """Clips with such time stamps."""
    lost: int = 0
    """Behind the place where a video could not be decoded."""
    complaints: list[str] = field(default_factory=list)
    """A sentence for each video or camera file that could not be read."""
    missing: list[str] = field(default_factory=list)
    """Videos that are not there."""
    repeated: int = 0
    """Rows of camera files that repeat a time stamp or go back."""

    def add(self, other: "Tally") -> None:
        """Add the tally of another video."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def lines(self) -> list[str]:
        """The summary."""
        counts = [
            (self.written, "frames written"),
            (self.kept, "frames were there already"),
            (
                self.without_frame,
                f"time stamps without a frame (beyond the end?), in {some(self.clips_without)}",
            ),
            (self.lost, "time stamps in videos that cannot be read"),
            (len(self.missing), f"videos are missing: {some(self.missing)}"),
            (self.repeated, "rows of camera files repeat a time stamp or go back, and are left out"),
            (len(self.complaints), "files cannot be read, see above"),
        ]
        return [f"{count} {words}" for count, words in counts if count]


def cut_video(
    path: Path,
    clips: Sequence[Clip],
    cutting: Cutting,
    threads: int = 0,
    stop: threading.Event | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> Tally:
    """Cut the frames of all clips of one video in one pass.

    Args:
        path: of the video.
        clips: of this video; they may overlap.
        cutting: how frames are written.
        threads: of the decoder, see `Video`.
        stop: leaves early when it is set.
        advance: told how many more time stamps are done with.

    Raises:
        OSError: a frame cannot be written.
    """
    tally = Tally()
    open_times = sum(len(clip.times) for clip in clips)
    try:
        with Video(path, threads) as video:
            size = fitted_size(video.size, cutting.short_side)
            for time, places in _by_time(clips):
                if stop is not None and stop.is_set():
                    break
                targets = [cutting.out / place / f"{time}.{cutting.format}" for place in places]
                missing = [target for target in targets if not _is_good(target, size, cutting.format)]
                tally.kept += len(targets) - len(missing)
                found = video.nearest(time) if missing else None
                if found is not None:
                    _write(found.frame, size, cutting, missing)
                    tally.written += len(missing)
                elif missing:
                    tally.without_frame += len(missing)
                    names = {target.parent.name for target in missing}.difference(tally.clips_without)
                    tally.clips_without.extend(sorted(names))
                open_times -= len(targets)
                advance(len(targets))
    except UserError as error:
        tally.complaints.append(str(error))
        tally.lost = open_times
        advance(open_times)
    return tally


def fitted_size(size: tuple[int, int], short_side: int | None) -> tuple[int, int]:
    """(height, width) of a picture whose short side is to be so long; never larger than it is."""
    if short_side is None or min(size) <= short_side:
        return size
    scale = short_side / min(size)
    return round(size[0] * scale), round(size[1] * scale)


def _by_time(clips: Sequence[Clip]) -> list[tuple[int, list[Path]]]:
    """All time stamps, rising, with the folders that want them."""
    places: dict[int, list[Path]] = {}
    for clip in clips:
        for time in clip.times.tolist():
            places.setdefault(time, []).append(clip.place)
    return sorted(places.items())


def _write(frame: "VideoFrame", size: tuple[int, int], cutting: Cutting, targets: list[Path]) -> None:
    picture = frame.to_image(width=size[1], height=size[0], interpolation="AREA")
    buffer = io.BytesIO()
    if cutting.format == "jpg":
        picture.save(buffer, "JPEG", quality=cutting.quality or _QUALITY)
    else:
        picture.save(buffer, "PNG")
    for target in targets:
        write_whole(target, buffer.getvalue())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it, so that it is never there in part.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # `tempfile` would keep other users of a shared folder from reading it.
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _is_good(path: Path, size: tuple[int, int], kind: FrameFormat) -> bool:
    """Whether a frame is there, of this size and to its end."""
    end = _ENDS[kind]
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            file.seek(-len(end), os.SEEK_END)
            return file.read() == end and read_size(path) == size
    except (OSError, UserError):
        return False


def some(names: list[str]) -> str:
    """The first names of a list."""
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
