"""Frames of a video at given times, in one pass: seeks over long gaps, decodes from the key frame before."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from repsynth.errors import UserError

if TYPE_CHECKING:
    from av import VideoFrame

_GAP = 5_000_000
"""Microseconds to the next wanted time from which on a seek is cheaper than decoding what lies between."""
_ROUNDING = 1000
"""Microseconds: some containers count in milliseconds."""
_SECOND = 1_000_000


class TimedFrame(NamedTuple):
    """A decoded frame."""

    time: int
    """Microseconds from the start of the video."""
    frame: "VideoFrame"


class Video:
    """A video file that is played forwards.

    Times are those at which frames are shown, in microseconds from the start of the file, whatever its own clock says
    (transport streams start it anywhere). Frames need not be evenly spaced, nor stored in the order of their times.

    Args:
        path: of the file, in any container and codec of FFmpeg.
        threads: of the decoder; 0 takes one per core.

    Raises:
        UserError: no video, or one that is shown turned.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        import av

        self.path = path
        self._errors: tuple[type[Exception], ...] = (av.FFmpegError, OSError)
        try:
            self._container = av.open(str(path))
        except self._errors as error:
            raise self._unreadable(error) from error
        if not self._container.streams.video:
            self._container.close()
            raise UserError(f"{path}: has no picture track; get the video again")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = threads
        self._unit = Fraction(self._stream.time_base or Fraction(1, _SECOND)) * _SECOND
        self._start = self._container.start_time or 0
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.half_frame = round(_SECOND / rate / 2) + _ROUNDING if rate else _ROUNDING
        """Microseconds: farthest that a frame may be from the time it is wanted for."""
        self._frames = self._decoded()
        self._before: TimedFrame | None = None
        self._after: TimedFrame | None = None
        self._end: int | None = None
        """Time of the last frame, once it has been reached."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of its frames."""
        return self._stream.codec_context.height, self._stream.codec_context.width

    def nearest(self, time: int) -> TimedFrame | None:
        """The frame nearest to a time, None when there is none within half a frame; times must rise from call to call.

        Raises:
            UserError: the video cannot be decoded from here on.
        """
        if self._end is not None and time - self._end > self.half_frame:
            return None
        if time - (self._after.time if self._after else 0) > _GAP:
            self._seek(time)
        while (self._after is None or self._after.time < time) and self._step():
            pass
        near = [each for each in (self._before, self._after) if each and self._is_near(each, time)]
        return min(near, key=lambda each: abs(each.time - time), default=None)

    def _is_near(self, frame: TimedFrame, time: int) -> bool:
        return abs(frame.time - time) <= self.half_frame

    def _step(self) -> bool:
        """Go on by a frame; false at the end."""
        try:
            frame = next(self._frames, None)
        except self._errors as error:
            raise self._unreadable(error) from error
        if frame is None:
            self._end = self._after.time if self._after else None
            return False
        self._before, self._after = self._after, frame
        return True

    def _seek(self, time: int) -> None:
        """Go to a key frame before a time; containers that find one behind it, or none, are asked for earlier ones."""
        back = 0
        while True:
            target = max(time - back, 0)
            try:
                place = int((target + self._start) / self._unit)
                self._container.seek(place, stream=self._stream)
            except self._errors as error:
                raise self._unreadable(error) from error
            self._frames, self._before, self._after = self._decoded(), None, None
            if target == 0 or (self._step() and self._after is not None and self._after.time <= time):
                return
            back = back * 2 + _GAP

    def _decoded(self) -> Iterator[TimedFrame]:
        for frame in self._container.decode(self._stream):
            if getattr(frame, "rotation", 0):  # PyAV 13 cannot tell
                raise UserError(
                    f"{self.path}: is shown turned by {frame.rotation} degrees, while cameras belong to the pixels as "
                    "stored; encode it upright"
                )
            if frame.pts is not None and not frame.is_corrupt:
                yield TimedFrame(round(frame.pts * self._unit) - self._start, frame)

    def _unreadable(self, error: Exception) -> UserError:
        words = str(error).removeprefix("[Errno ").split("] ")[-1].split(":")[0]
        return UserError(f"{self.path}: cannot be decoded ({words}); get the video again")
