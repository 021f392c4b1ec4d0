"""How far each rank of a run is: files that the ranks write for one another, and who holds up whom."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import repsynth

Place = tuple[int, int, int]
"""Training batches begun, 0 in training / 1 in an evaluation / 2 after it, hooks since then (0 in an evaluation)."""

_PACKAGES = str(Path(repsynth.__file__).parent)
_NAMED = 8  # more ranks than this in one sentence are not read
_SILENT = 30.0
"""Seconds for which clocks of machines and slow disks may be apart."""


@dataclass(frozen=True)
class Heartbeat:
    """What a rank tells of itself.

    Attributes:
        rank: Its number over all nodes.
        host: Name of its machine.
        pid: Of its process there.
        born: When the process began, in seconds since 1970: numbers of processes are used again.
        place: How far it is; the same place means the same on every rank.
        hook: The last hook that it entered.
        still: Seconds since then.
        waiting: Seconds for which its main thread has been seen inside a collective, or a backward pass, which has
            some; None while it works.
        line: What its main thread is doing, as `file.py:12 (function)`.
        written: When it wrote this, in seconds since 1970.
    """

    rank: int
    host: str
    pid: int
    born: float
    place: Place
    hook: str
    still: float
    waiting: float | None
    line: str
    written: float

    def still_for(self, now: float) -> float:
        """Seconds without progress at `now`, by the clock of this machine."""
        return self.still + max(0.0, now - self.written)


def write(beat: Heartbeat, folder: Path) -> None:
    """Put a heartbeat into its rank's file.

    Raises:
        OSError: it cannot be written.
    """
    path = _file(folder, beat.rank)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(beat)))
    partial.replace(path)


def read(folder: Path, world: int) -> dict[int, Heartbeat]:
    """The heartbeats of the ranks that have written one."""
    found = {}
    for rank in range(world):
        try:
            told = json.loads(_file(folder, rank).read_text())
            found[rank] = Heartbeat(**{**told, "place": tuple(told["place"])})
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return found


def holding_up(
    beats: Mapping[int, Heartbeat], rank: int, world: int, limit: float, now: float | None = None
) -> list[int]:
    """The ranks for which `rank` has waited longer than `limit`; empty while it works or somebody makes progress.

    Those are behind the foremost rank and do not move. At equal places they are those that are not waiting; all of
    them, if each waits for another. There the wait counts from where it began: before it, all may have worked for long.

    Args:
        beats: of the ranks that have written; who has not is behind.
        rank: who asks.
        world: number of ranks.
        limit: seconds.
        now: seconds since 1970; None asks the clock.
    """
    now = time.time() if now is None else now
    mine = beats[rank]
    stuck = [r for r in range(world) if r not in beats or beats[r].still_for(now) >= limit]
    if rank not in stuck:
        return []
    front = max(beat.place for beat in beats.values())
    behind = [r for r in stuck if r not in beats or beats[r].place < front]
    if behind:
        # Of those behind, one may wait for another: the foremost judges.
        return behind if mine.place == front else []
    waits = [beats[r].waiting for r in stuck]
    if mine.waiting is None or mine.waiting < limit or len(stuck) < world:
        return []
    working = [r for r, waited in zip(stuck, waits, strict=True) if waited is None]
    return working or (stuck if all(waited >= limit for waited in waits if waited is not None) else [])


def sentence(beats: Mapping[int, Heartbeat], hung: list[int], rank: int, world: int, folder: Path) -> str:
    """What is told when a run ends for ranks that hold it up."""
    now = time.time()
    minutes = beats[rank].still_for(now) / 60
    if len(hung) == world:
        head = f"all {world} ranks have waited for one another for {minutes:.1f} minutes"
    else:
        head = f"rank {rank} has waited {minutes:.1f} minutes for rank{'s' if len(hung) > 1 else ''} "
        head += ", ".join(map(str, hung[:_NAMED])) + (" and more" if len(hung) > _NAMED else "")
    details = "; ".join(_detail(beats.get(r), r, now, folder) for r in hung[:_NAMED])
    return (
        f"{head}, and the run ends: {details} (a longer wait is allowed by the option minutes of the callback "
        "Watchdog; go on with --resume)"
    )


def _detail(beat: Heartbeat | None, rank: int, now: float, folder: Path) -> str:
    if beat is None:
        return f"rank {rank} has left no sign in {folder} (is the run directory shared by all nodes?)"
    silent = now - beat.written
    sign = f", last sign of life {silent:.0f} s ago" if silent > _SILENT else ""
    return f"rank {rank} (process {beat.pid} on {beat.host}) stands at {beat.line} since {beat.hook}{sign}"


def is_waiting(frame: FrameType | None) -> bool:
    """Whether a thread that executes this frame waits for other ranks, as far as Python can see.

    A device's queue hides more: work that NCCL waits for returns at once, and the wait shows at the next number read.
    """
    if frame is None:
        return False
    path, name = frame.f_code.co_filename, frame.f_code.co_name
    return (
        "/torch/distributed/" in path
        or path.endswith("/torch/nn/parallel/distributed.py")
        or name == "_engine_run_backward"
        or path.endswith("/repsynth/callbacks/ranks.py")
    )


def line_of(frame: FrameType | None) -> str:
    """Where a thread is: the innermost line outside of installed packages, and the innermost of all if another."""
    if frame is None:
        return "an unknown line"
    own: FrameType | None = frame
    while own is not None and not _is_own(own.f_code.co_filename):
        own = own.f_back
    if own is None or own is frame:
        return _line(frame)
    return f"{_line(own)}, in {_line(frame)}"


def _is_own(path: str) -> bool:
    installed = "site-packages" in path or path.startswith("<") or f"{os.sep}lib{os.sep}python" in path
    return path.startswith(_PACKAGES) or not installed


def _line(frame: FrameType) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} ({frame.f_code.co_name})"


def _file(folder: Path, rank: int) -> Path:
    return folder / f"rank-{rank:05d}.json"
