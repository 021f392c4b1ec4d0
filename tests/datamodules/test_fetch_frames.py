"""`repsynth data fetch-frames` on small H.264 videos whose frames carry their number in the pixels."""

import os
import threading
from pathlib import Path

import pytest
from PIL import Image

from repsynth.cli import main
from repsynth.datamodules import fetch_frames as fetching
from repsynth.datamodules.frame_cutting import Cutting, cut_video, fitted_size, write_whole
from repsynth.datamodules.realestate10k import RealEstate10K
from tests.datamodules.clip_folder import write_cameras
from tests.datamodules.videos import number_in, write_video

STAMPS = [round(number * 1_001_000_000 / 30_000) for number in range(300)]
"""29.97 frames per second, 10 seconds."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "train" / "filmA.mp4", STAMPS)
    write_video(folder / "test" / "-film_B.mkv", STAMPS)
    (folder / "train" / "filmA.en.vtt").write_text("subtitles")
    (folder / "train" / "filmA.jpg").write_bytes(b"a thumbnail")
    (folder / "filmC.mp4.part").write_bytes(b"half a download")
    return folder


@pytest.fixture
def cameras(tmp_path: Path) -> Path:
    """Two overlapping clips of one video, one of another."""
    folder = tmp_path / "cameras"
    write_cameras(folder / "train" / "a1.txt", STAMPS[10:20], video="filmA", step=0.5)
    write_cameras(folder / "train" / "a2.txt", STAMPS[15:280:20], video="filmA")
    write_cameras(folder / "test" / "b1.txt", STAMPS[200:208], video="-film_B")
    return folder


def run(cameras: Path, videos: Path, out: Path, *options: str) -> int:
    return main(
        [
            "data",
            "fetch-frames",
            f"--cameras={cameras}",
            f"--videos={videos}",
            f"--out={out}",
            "--workers=2",
            *options,
        ]
    )


def numbers_in(folder: Path) -> dict[int, int]:
    return {int(file.stem): number_in(file) for file in folder.iterdir()}


def expected(numbers: range) -> dict[int, int]:
    return {STAMPS[number]: number for number in numbers}


def test_frames_of_all_clips_are_those_of_their_time_stamps(
    cameras: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "frames"
    assert run(cameras, videos, out) == 0
    assert capsys.readouterr().out == "32 frames written\n"
    assert numbers_in(out / "train" / "a1") == expected(range(10, 20))
    assert numbers_in(out / "train" / "a2") == expected(range(15, 280, 20))
    assert numbers_in(out / "test" / "b1") == expected(range(200, 208))
    assert {file.suffix for file in out.rglob("*.*")} == {".jpg"}  # and no temporary files
    # The data set reads what was cut.
    data = RealEstate10K(str(tmp_path), image_size=(48, 80), cache_dir=str(tmp_path / "cache"), val_scenes=1)
    assert data.survey("test").usable == ["b1"]


def test_a_flat_folder_of_camera_files_gives_a_flat_folder_of_clips(
    cameras: Path, videos: Path, tmp_path: Path
) -> None:
    assert run(cameras / "test", videos, tmp_path / "flat") == 0
    assert numbers_in(tmp_path / "flat" / "b1") == expected(range(200, 208))


def test_a_second_run_keeps_whole_frames_and_mends_the_rest(
    cameras: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "frames"
    run(cameras, videos, out)
    kept, cut_off, gone, small, empty = sorted((out / "train" / "a1").iterdir())[:5]
    os.utime(kept, (1, 1))
    cut_off.write_bytes(cut_off.read_bytes()[:-20])
    gone.unlink()
    Image.open(small).resize((40, 24)).save(small)
    empty.write_bytes(b"")
    capsys.readouterr()
    assert run(cameras, videos, out) == 0
    assert capsys.readouterr().out == "4 frames written\n28 frames were there already\n"
    assert kept.stat().st_mtime == 1
    assert numbers_in(out / "train" / "a1") == expected(range(10, 20))
    assert run(cameras, videos, out) == 0
    assert capsys.readouterr().out == "32 frames were there already\n"


def test_nothing_is_decoded_when_all_is_there(
    cameras: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(cameras, videos, tmp_path / "frames")
    monkeypatch.setattr("repsynth.datamodules.video_frames.Video.nearest", lambda video, time: pytest.fail())
    assert run(cameras, videos, tmp_path / "frames") == 0


def test_clips_of_one_video_share_one_pass(
    cameras: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av

    opened = []
    opening = av.open
    monkeypatch.setattr(
        av, "open", lambda path, *rest: opened.append(Path(path).name) or opening(path, *rest)
    )
    assert run(cameras, videos, tmp_path / "frames") == 0
    assert sorted(opened) == ["-film_B.mkv", "filmA.mp4"]


def test_sizes_and_formats(cameras: Path, videos: Path, tmp_path: Path) -> None:
    assert run(cameras, videos, tmp_path / "small", "--size=24", "--format=png") == 0
    files = list((tmp_path / "small" / "train" / "a1").iterdir())
    assert {file.suffix for file in files} == {".png"}
    assert {Image.open(file).size for file in files} == {(40, 24)}
    assert numbers_in(tmp_path / "small" / "train" / "a1") == expected(range(10, 20))
    assert run(cameras, videos, tmp_path / "coarse", "--quality=20") == 0
    assert run(cameras, videos, tmp_path / "fine", "--quality=98") == 0
    steps = [
        Image.open(next((tmp_path / name).rglob("*.jpg"))).quantization[0][0]  # type: ignore[attr-defined]
        for name in ("coarse", "fine")
    ]
    assert steps[0] > 20 and steps[1] == 1


@pytest.mark.parametrize(
    ("size", "short", "fitted"),
    [
        ((360, 640), 256, (256, 455)),
        ((640, 360), 256, (455, 256)),
        ((240, 320), 256, (240, 320)),
        ((9, 9), None, (9, 9)),
    ],
)
def test_pictures_are_scaled_down_by_their_short_side_and_never_up(
    size: tuple[int, int], short: int | None, fitted: tuple[int, int]
) -> None:
    assert fitted_size(size, short) == fitted


def test_what_cannot_be_cut_is_counted_and_the_rest_goes_on(
    cameras: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cameras(cameras / "train" / "c1.txt", STAMPS[:5], video="filmC")
    write_cameras(cameras / "train" / "d1.txt", STAMPS[:5], video="filmD")
    write_cameras(
        cameras / "train" / "end.txt", [STAMPS[290], 20_000_000, 20_033_367, 20_033_367], video="filmA"
    )
    (cameras / "train" / "broken.txt").write_text("https://www.youtube.com/watch?v=x\n1 2 3\n")
    more = tmp_path / "videos"
    more.mkdir()
    for file in videos.rglob("*.m*"):
        (more / file.name).write_bytes(file.read_bytes())
    (more / "filmD.mp4").write_bytes((more / "filmA.mp4").read_bytes()[:4000])
    assert run(cameras, more, tmp_path / "frames") == 0
    told = capsys.readouterr().out
    broken = cameras / "train" / "broken.txt"
    assert f"RealEstate10K: {broken} line 2: expected 19 numbers, found 3;" in told
    assert f"{more / 'filmD.mp4'}: cannot be decoded (" in told and told.count("get the video again") == 1
    assert told.endswith(
        "33 frames written\n2 time stamps without a frame (beyond the end?), in end\n5 time stamps in videos "
        "that cannot be read\n1 videos are missing: filmC\n1 rows of camera files repeat a time stamp or go back, and "
        "are left out\n2 files cannot be read, see above\n"
    )
    assert numbers_in(tmp_path / "frames" / "train" / "end") == expected(range(290, 291))


def test_an_interrupted_run_leaves_early_and_whole_frames_only(
    videos: Path, tmp_path: Path, cameras: Path
) -> None:
    stop = threading.Event()
    tally = fetching.Tally()
    clips = list(fetching._clips(cameras, tally, print))
    done = []

    def advance(count: int) -> None:
        done.append(count)
        if len(done) == 3:
            stop.set()

    wanted = [clip for clip in clips if clip.video == "filmA"]
    cut = cut_video(
        videos / "train" / "filmA.mp4", wanted, Cutting(tmp_path / "out"), stop=stop, advance=advance
    )
    assert cut.written == 3 and len(list((tmp_path / "out").rglob("*.*"))) == 3


def test_a_file_is_never_there_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "frame.jpg"
    write_whole(target, b"old")
    monkeypatch.setattr(
        Path, "replace", lambda self, other: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(OSError, match="No space left"):
        write_whole(target, b"new")
    assert target.read_bytes() == b"old" and [file.name for file in tmp_path.iterdir()] == ["frame.jpg"]


def test_files_can_be_read_by_whom_the_user_lets(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


WRONG: dict[str, tuple[list[str], str]] = {
    "size": (["--size=4"], "--size is 4; expected at least 8 pixels"),
    "quality": (["--quality=0"], "--quality is 0; expected 1 to 100"),
    "quality of png": (
        ["--quality=90", "--format=png"],
        "--quality 90 is one of jpg, and png loses nothing; leave it out or use --format jpg",
    ),
    "workers": (["--workers=0"], "--workers is 0; expected at least 1"),
    "no cameras": (
        ["--cameras=nowhere"],
        "no folder at nowhere (option --cameras); expected camera files, in splits or not",
    ),
    "empty cameras": (
        ["--cameras=empty"],
        "no camera files in empty (option --cameras); expected <id>.txt or <split>/<id>.txt",
    ),
    "no videos": (
        ["--videos=nowhere"],
        "no folder at nowhere (option --videos); expected videos named by their ids",
    ),
    "other videos": (
        ["--videos=empty"],
        "empty: none of the 2 videos is there, first -film_B, filmA; expected files named by the id of the video, such "
        "as <id>.mp4",
    ),
    "beyond the end": (
        ["--cameras=late"],
        "nothing could be cut out of videos: 2 time stamps without a frame (beyond the end?), in late",
    ),
    "bad camera files": (["--cameras=bad"], "bad: none of the 1 camera files can be read, see above"),
    "unwritable": (
        ["--out=a file"],
        "a file cannot be written (Not a directory): choose another folder with --out or make room, then start "
        "again: frames that are there are kept",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_gets_its_sentence(
    name: str,
    videos: Path,
    cameras: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("videos").symlink_to(videos)
    Path("empty").mkdir()
    Path("a file").write_text("")
    write_cameras(Path("late/late.txt"), [60_000_000, 70_000_000], video="filmA")
    Path("bad").mkdir()
    Path("bad/x.txt").write_text("")
    options, sentence = WRONG[name]
    assert run(Path("cameras"), Path("videos"), Path("out"), *options) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {sentence}"
    assert not Path("out").exists()
