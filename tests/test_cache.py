import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from repsynth.cache import cached, default_cache, key_of


def read(path: Path) -> str | None:
    try:
        text = path.read_text()
    except OSError:
        return None
    return text if text.startswith("result") else None


def write(result: str, file: BinaryIO) -> None:
    file.write(result.encode())


class Work:
    """Builds a new result at each call, slowly."""

    def __init__(self, seconds: float = 0) -> None:
        self.calls = 0
        self.seconds = seconds

    def __call__(self) -> str:
        self.calls += 1
        time.sleep(self.seconds)
        return f"result {self.calls}"


def test_the_folder_is_that_of_the_variable_else_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", "/given")
    assert default_cache() == Path("/given")
    monkeypatch.delenv("REPSYNTH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_cache() == Path("/xdg/repsynth")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "repsynth"


def test_a_key_changes_with_words_and_with_files(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    before = key_of(1, "set", files=[file])
    assert len(before) == 32
    assert key_of(1, "set", files=[file]) == before
    others = {key_of(2, "set", files=[file]), key_of(1, "set"), key_of(1, "set", files=[tmp_path / "b"])}
    file.write_text("longer")
    others.add(key_of(1, "set", files=[file]))
    assert len(others | {before}) == 5


def test_work_is_done_once_and_again_for_a_damaged_file(tmp_path: Path) -> None:
    path, work = tmp_path / "deep" / "result.txt", Work()
    assert [cached(path, read, work, write) for _ in range(2)] == ["result 1"] * 2
    path.write_text("half of it")
    assert [cached(path, read, work, write) for _ in range(2)] == ["result 2"] * 2
    assert sorted(file.name for file in path.parent.iterdir()) == ["result.lock", "result.txt"]


def test_of_many_at_once_one_works(tmp_path: Path) -> None:
    work = Work(0.05)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: cached(tmp_path / "result.txt", read, work, write), range(8)))
    assert (found, work.calls) == ({"result 1"}, 1)


def test_a_folder_that_cannot_be_written_costs_time_and_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path, work = tmp_path / "file" / "result.txt", Work()
    for call in (1, 2):
        with pytest.warns(
            UserWarning, match=r"file/result.txt cannot be written: what it should hold is computed"
        ):
            assert cached(path, read, work, write) == f"result {call}"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(result: str, file: BinaryIO) -> None:
        file.write(b"resul")
        raise OSError("no space left on device")

    path = tmp_path / "result.txt"
    with pytest.warns(UserWarning, match="set REPSYNTH_CACHE to a folder with room"):
        assert cached(path, read, Work(), fail) == "result 1"
    assert [file.name for file in tmp_path.iterdir()] == ["result.lock"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cached(path, read, Work(), write) == "result 1"
