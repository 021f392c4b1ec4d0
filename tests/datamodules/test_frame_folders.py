from pathlib import Path

import numpy as np
import pytest

from repsynth.datamodules.frame_folders import (
    FramePictures,
    camera_files,
    frames_by_time,
    match_times,
    names_in,
)


@pytest.mark.parametrize("within", [0, 3, 16, 200])
def test_matching_is_that_of_brute_force(within: int) -> None:
    rng = np.random.default_rng(within)
    for _ in range(50):
        wanted = np.unique(rng.integers(0, 600, rng.integers(1, 30)))
        present = np.unique(rng.integers(0, 600, rng.integers(0, 30)))
        rows, found = match_times(wanted, present, within)
        best: dict[int, tuple[int, int]] = {}
        for row, time in enumerate(wanted.tolist()):
            distance, place = min(
                ((abs(other - time), at) for at, other in enumerate(present)), default=(999, 0)
            )
            if distance <= within and (distance, row) < best.get(place, (999, 0)):
                best[place] = (distance, row)
        assert dict(zip(found.tolist(), rows.tolist(), strict=True)) == {
            at: row for at, (_, row) in best.items()
        }
        assert (np.diff(rows) > 0).all() and (np.diff(found) > 0).all()


def test_frames_are_sorted_by_number_and_others_are_kept_apart(tmp_path: Path) -> None:
    for name in ("900.jpg", "1000.PNG", "20.jpeg", "cover.png", "0x10.jpg", ".5.jpg", "5.txt", "٣.jpg", "7"):
        (tmp_path / name).touch()
    times, others = frames_by_time(tmp_path, "R")
    assert list(times.items()) == [(20, "20.jpeg"), (900, "900.jpg"), (1000, "1000.PNG")]
    assert others == ["0x10.jpg", "cover.png", "٣.jpg"]


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file"):
        assert (names_in(path), camera_files(path), frames_by_time(path, "R")) == ([], [], ({}, []))


def test_pictures_of_a_folder_are_made_when_asked_for() -> None:
    pictures = FramePictures(Path("clip"), ["1.png", "2.png", "3.png"])
    assert [picture.label for picture in pictures] == ["clip/1.png", "clip/2.png", "clip/3.png"]
    assert (
        pictures[1:].names == ["2.png", "3.png"] and len(pictures) == 3 and pictures[-1].label == "clip/3.png"
    )
