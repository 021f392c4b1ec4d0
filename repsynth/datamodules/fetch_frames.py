"""Cut the frames that camera files name out of videos that the user has, for `repsynth data fetch-frames`."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from repsynth.datamodules.frame_cutting import Clip, Cutting, Tally, cut_video, some
from repsynth.datamodules.view_files import read_views, video_of
from repsynth.errors import UserError

_DATASET = "RealEstate10K"
_UNFINISHED = frozenset({".part", ".ytdl"})
"""What downloads leave behind that broke off."""


def fetch_frames(
    cameras: Path, videos: Path, cutting: Cutting, workers: int, complain: Callable[[str], None] = print
) -> Tally:
    """Cut frames out of videos; those that are there and whole are kept, so that a broken run can be repeated.

    Args:
        cameras: folder of camera files, or of splits with them.
        videos: folder, searched in depth, of files named by the id of the video, in any container.
        cutting: how frames are written.
        workers: videos that are cut at the same time.
        complain: gets a sentence for each file that cannot be read; the others go on.

    Raises:
        UserError: no camera files or videos, nothing could be cut, or nothing can be written.
    """
    cutting.check()
    if workers < 1:
        raise UserError(f"--workers is {workers}; expected at least 1")
    tally = Tally()
    work = _work(cameras, videos, tally, complain)
    try:
        for done in _all_cut(work, cutting, workers):
            for sentence in done.complaints:
                complain(sentence)
            tally.add(done)
    except OSError as error:
        raise UserError(
            f"{cutting.out} cannot be written ({error.strerror}): choose another folder with "
            "--out or make room, then start again: frames that are there are kept"
        ) from error
    if not tally.written + tally.kept:
        raise UserError(f"nothing could be cut out of {videos}: {'; '.join(tally.lines())}")
    return tally


def _work(
    cameras: Path, videos: Path, tally: Tally, complain: Callable[[str], None]
) -> list[tuple[Path, list[Clip]]]:
    """The videos that are there, and the clips that each is wanted for."""
    files = video_files(videos)
    by_video: dict[str, list[Clip]] = {}
    for clip in _clips(cameras, tally, complain):
        by_video.setdefault(clip.video, []).append(clip)
    if not by_video:
        raise UserError(f"{cameras}: none of the {len(tally.complaints)} camera files can be read, see above")
    tally.missing = sorted(set(by_video) - set(files))
    if len(tally.missing) == len(by_video):
        raise UserError(
            f"{videos}: none of the {len(by_video)} videos is there, first {some(tally.missing)}; expected files "
            "named by the id of the video, such as <id>.mp4"
        )
    return [(files[video], by_video[video]) for video in sorted(set(by_video) & set(files))]


def video_files(folder: Path) -> dict[str, Path]:
    """The files of a folder by their stems, the largest of each: subtitles and thumbnails may lie beside a video.

    Raises:
        UserError: no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"no folder at {folder} (option --videos); expected videos named by their ids")
    found: dict[str, Path] = {}
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(place, name)
            if name.startswith(".") or path.suffix in _UNFINISHED:
                continue
            other = found.setdefault(path.stem, path)
            if other != path and path.stat().st_size > other.stat().st_size:
                found[path.stem] = path
    return found


def _clips(folder: Path, tally: Tally, complain: Callable[[str], None]) -> Iterator[Clip]:
    """The clips of a folder of camera files, or of its subfolders."""
    if not folder.is_dir():
        raise UserError(f"no folder at {folder} (option --cameras); expected camera files, in splits or not")
    paths = sorted([*folder.glob("*.txt"), *folder.glob("*/*.txt")])
    if not paths:
        raise UserError(
            f"no camera files in {folder} (option --cameras); expected <id>.txt or <split>/<id>.txt"
        )
    for path in paths:
        try:
            file = read_views(path, _DATASET, times=True)
            video = video_of(file, _DATASET)
        except UserError as error:
            tally.complaints.append(str(error))
            complain(str(error))
            continue
        tally.repeated += file.repeated
        yield Clip(path.relative_to(folder).with_suffix(""), video, file.times)


def _all_cut(work: Sequence[tuple[Path, list[Clip]]], cutting: Cutting, workers: int) -> Iterator[Tally]:
    """The tallies of all videos as they are done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    stop = threading.Event()
    columns = (TextColumn("frames"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    total = sum(len(clip.times) for _, clips in work for clip in clips)
    # Decoding, scaling and encoding all leave Python's lock: threads are enough.
    with (
        Progress(*columns, console=Console(stderr=True)) as progress,
        ThreadPoolExecutor(workers) as pool,
    ):
        task = progress.add_task("", total=total)
        cut = partial(
            cut_video, threads=1 if workers > 1 else 0, stop=stop, advance=partial(progress.advance, task)
        )
        futures = [pool.submit(cut, path, clips, cutting) for path, clips in work]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
