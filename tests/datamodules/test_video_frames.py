"""Frames at given times, on videos whose frames carry their number in the pixels."""

import struct
from pathlib import Path

import numpy as np
import pytest

from repsynth.datamodules.video_frames import Video
from repsynth.errors import UserError
from tests.datamodules.videos import number_in, write_video

EVEN = [round(number * 1_001_000_000 / 30_000) for number in range(400)]
"""29.97 frames per second, 13 seconds."""


def uneven() -> list[int]:
    """Gaps of 10 to 70 ms."""
    return np.cumsum(np.random.default_rng(3).integers(10_000, 70_000, 300)).tolist()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "even.mp4", EVEN)
    write_video(folder / "even.mkv", EVEN)
    write_video(folder / "even.ts", EVEN)
    write_video(folder / "rare_keys.mp4", EVEN, key_frames=250)
    write_video(folder / "uneven.mp4", [0, *uneven()])
    write_video(folder / "uneven.mkv", [0, *uneven()])
    write_video(folder / "late.mp4", [stamp + 500_000 for stamp in EVEN[:60]])
    return folder


def shown(video: Video, time: int, scratch: Path) -> int | None:
    """The number in the frame at a time."""
    found = video.nearest(time)
    if found is None:
        return None
    found.frame.to_image().save(scratch / "frame.png")
    return number_in(scratch / "frame.png")


@pytest.mark.parametrize("name", ["even.mp4", "even.mkv", "even.ts", "rare_keys.mp4"])
@pytest.mark.parametrize(
    "numbers",
    [range(0, 30), [0, 399], [5, 6, 190, 191, 399], [250, 251, 252], [399], range(100, 400, 33)],
    ids=["start", "ends", "gaps", "middle", "last", "thin"],
)
def test_each_frame_is_the_one_of_its_time(
    name: str, numbers: list[int], videos: Path, tmp_path: Path
) -> None:
    with Video(videos / name) as video:
        for number in numbers:
            assert shown(video, EVEN[number], tmp_path) == number


@pytest.mark.parametrize("name", ["uneven.mp4", "uneven.mkv"])
def test_frames_of_a_variable_rate_are_found_by_their_times(name: str, videos: Path, tmp_path: Path) -> None:
    stamps = np.array([0, *uneven()])
    wanted = np.sort(np.random.default_rng(4).integers(0, stamps[-1] + 200_000, 150))
    tested = 0
    with Video(videos / name) as video:
        for time in wanted.tolist():
            distance = np.sort(np.abs(stamps - time))
            expected = int(np.abs(stamps - time).argmin()) if distance[0] <= video.half_frame else None
            if distance[1] - distance[0] < 3000 or abs(distance[0] - video.half_frame) < 3000:
                continue  # within the container's rounding of a tie
            assert shown(video, time, tmp_path) == expected
            tested += 1
    assert tested > 100


def test_half_a_frame_is_the_limit(videos: Path, tmp_path: Path) -> None:
    with Video(videos / "even.mp4") as video:
        assert 16_683 <= video.half_frame <= 17_700
        assert shown(video, EVEN[10] + 14_000, tmp_path) == 10
        assert shown(video, EVEN[12] - 14_000, tmp_path) == 12
        assert shown(video, EVEN[399] + 16_000, tmp_path) == 399
        assert shown(video, EVEN[399] + 19_000, tmp_path) is None
        assert shown(video, EVEN[399] + 60_000_000, tmp_path) is None


def test_times_count_from_the_start_of_the_file(videos: Path, tmp_path: Path) -> None:
    """A transport stream's own clock starts anywhere."""
    import av

    with av.open(str(videos / "even.ts")) as container:
        assert container.start_time > 0
    with Video(videos / "even.ts") as video:
        assert shown(video, 0, tmp_path) == 0


def test_long_gaps_are_skipped_and_not_decoded(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    step = Video._step
    monkeypatch.setattr(Video, "_step", lambda video: steps.append(1) or step(video))
    with Video(videos / "even.mp4") as video:
        assert video.nearest(EVEN[3]) and video.nearest(EVEN[390])
        assert len(steps) < 40
        assert video.nearest(EVEN[399] + 20_000) is None
        before = len(steps)
        assert [video.nearest(EVEN[399] + 10_000_000 * number) for number in range(1, 50)] == [None] * 49
    assert len(steps) == before


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("text.mp4", b"no video", r"text\.mp4: cannot be decoded \(.+\); get the video again"),
        ("empty.mp4", b"", r"empty\.mp4: cannot be decoded \(.+\); get the video again"),
        (
            "gone.mp4",
            None,
            r"gone\.mp4: cannot be decoded \(No such file or directory\); get the video again",
        ),
    ],
)
def test_what_is_no_video_is_told(tmp_path: Path, name: str, content: bytes | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        Video(tmp_path / name)


def test_a_download_that_broke_off_is_told(videos: Path, tmp_path: Path) -> None:
    whole = (videos / "even.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"half\.mp4: cannot be decoded"):
        Video(tmp_path / "half.mp4")


def test_a_video_that_is_shown_turned_is_refused(videos: Path, tmp_path: Path) -> None:
    content = (videos / "rare_keys.mp4").read_bytes()
    track = content.index(b"tkhd")
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    assert upright in content[track : track + 100]
    (tmp_path / "turned.mp4").write_bytes(content[:track] + content[track:].replace(upright, turned, 1))
    with (
        Video(tmp_path / "turned.mp4") as video,
        pytest.raises(
            UserError, match=r"turned\.mp4: is shown turned by -?90 degrees, while cameras belong to the"
        ),
    ):
        video.nearest(0)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(UserError, match=r"sound\.mp4: has no picture track; get the video again"):
        Video(path)
