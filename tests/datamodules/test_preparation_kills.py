"""Preparations in several processes, and killed ones: the bytes of a run that is not, and no process left behind."""

import json
import os
import pkgutil
import random
import signal
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from processes import started

from repsynth.datamodules.image_preparation import prepare_images
from repsynth.datamodules.preparation_recipes import Preparation
from tests.datamodules.preparations import CONTAINERS, cut_off, tree, write_source

MANY = 150
"""More than two batches of an LMDB."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of several shapes, so that files are larger than a page of an LMDB."""
    folder, rng = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    for number in range(MANY):
        shape = (40 + number % 7, 40 + number % 11, 3)
        place = folder / f"{number % 3}" / f"{number:03d}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(place)
    return folder


@pytest.fixture(scope="module")
def whole(many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """What runs give that are not interrupted, in each container."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("REPSYNTH_CACHE", str(folder / "cache"))
        for to in CONTAINERS:
            prepare_images(many, folder / to, Preparation.of("repsynth", [16, 32], to=to))
    return {to: tree(folder / to) for to in CONTAINERS}


@pytest.mark.parametrize("to", CONTAINERS)
def test_processes_give_the_bytes_of_one(
    to: str, many: Path, whole: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    prepare_images(many, tmp_path / "out", Preparation.of("repsynth", [16, 32], to=to), workers=2)
    assert tree(tmp_path / "out") == whole[to]
    assert len(whole[to]) == (2 * MANY + 1 if to == "folder" else 3)


@dataclass(frozen=True)
class Kill:
    """SIGKILL at a call of a function below `repsynth.datamodules`, after so many calls."""

    function: str
    calls: int

    def prepare(self) -> None:
        owner, _, name = f"repsynth.datamodules.{self.function}".rpartition(".")
        original, left = getattr(pkgutil.resolve_name(owner), name), self.calls

        def last(*arguments: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **named)

        setattr(pkgutil.resolve_name(owner), name, last)


def in_child(folder: Path, *arguments: object, kill: Kill | None = None, workers: int = 0) -> BaseProcess:
    """Prepare images in a process, which may be killed; a group of its own for its workers."""
    environment = {"REPSYNTH_CACHE": str(folder / "cache")}
    return started(prepare_alone, kill, workers, *arguments, output=folder / "said", environment=environment)


def prepare_alone(kill: Kill | None, workers: int, *arguments: Any) -> None:  # noqa: ANN401
    os.setpgrp()
    if kill is not None:
        kill.prepare()
    prepare_images(*arguments, workers=workers)


KILLS = {
    "folder, at the first file": ("folder", Kill("preparation_targets.FolderTarget.accept", 0)),
    "folder, at the 100th": ("folder", Kill("preparation_targets.FolderTarget.accept", 99)),
    "folder, with a file half done": ("folder", Kill("preparation_targets.secrets.token_hex", 77)),
    "zip, among the files": ("zip", Kill("preparation_targets.FolderTarget.keep", 60)),
    "zip, while packing": ("zip", Kill("preparation_targets._add", 40)),
    "zip, in the second archive": ("zip", Kill("preparation_targets._add", MANY + 40)),
    "zip, when packed": ("zip", Kill("preparation_targets.shutil.rmtree", 1)),
    "lmdb, before the first commit": ("lmdb", Kill("lmdb_target.LmdbTarget.accept", 30)),
    "lmdb, at the first commit": ("lmdb", Kill("lmdb_target._write", 0)),
    "lmdb, between the sizes": ("lmdb", Kill("lmdb_target._write", 3)),
    "lmdb, before the end": ("lmdb", Kill("lmdb_target.LmdbTarget.finish", 0)),
    "lmdb, between the ends": ("lmdb", Kill("lmdb_target._write", 7)),
    "at the record of the end": ("lmdb", Kill("preparation_run.Record.write", 2)),
}


@pytest.mark.parametrize("name", list(KILLS))
def test_a_run_that_is_killed_and_repeated_gives_the_bytes_of_one_that_is_not(
    name: str, many: Path, whole: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    to, kill = KILLS[name]
    preparation = Preparation.of("repsynth", [16, 32], to=to)
    child = in_child(tmp_path, many, tmp_path / "killed", preparation, kill=kill)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert tree(tmp_path / "killed") != whole[to]
    prepare_images(many, tmp_path / "killed", preparation)
    assert tree(tmp_path / "killed") == whole[to]


@pytest.mark.parametrize("to", CONTAINERS)
@pytest.mark.slow
def test_runs_killed_at_any_moment_leave_nothing_wrong_and_no_process(
    to: str, many: Path, whole: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    preparation = Preparation.of("repsynth", [16, 32], to=to)
    rng, kills = random.Random(to), 0
    for attempt in range(100):
        child = in_child(tmp_path, many, tmp_path / "killed", preparation, workers=2)
        child.join(rng.uniform(0.02, 0.1 + 0.03 * attempt))
        if child.exitcode is None:
            kills += 1
            os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
        wait_for_the_end_of(child.pid or 0)
        if child.exitcode == 0:
            break
    assert kills > 0 and child.exitcode == 0
    assert tree(tmp_path / "killed") == whole[to]


def wait_for_the_end_of(group: int) -> None:
    """Wait for the orphans of a killed process, which must not wait for it without end."""
    ends = time.monotonic() + 20
    while alive(group):
        if time.monotonic() > ends:
            os.killpg(group, signal.SIGKILL)
            pytest.fail("worker processes outlive the run that started them")
        time.sleep(0.05)


def alive(group: int) -> bool:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, its_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state not in "ZX":
            return True
    return False


@pytest.mark.parametrize("calls", [1, 3, 5])
def test_what_was_left_out_is_known_after_a_kill(calls: int, tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 100)
    cut_off(source / "3.jpg")
    cut_off(source / "90.jpg")
    preparation = Preparation.of("cips", [10, 20])
    prepare_images(source, tmp_path / "whole", preparation, "skip")
    kill = Kill("lmdb_target._write", calls)
    child = in_child(tmp_path, source, tmp_path / "killed", preparation, "skip", kill=kill)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    prepare_images(source, tmp_path / "killed", preparation, "skip")
    prepare_images(source, tmp_path / "killed", preparation, "skip")
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")
    assert len(json.loads((tmp_path / "killed" / "preparation.json").read_text())["left_out"]) == 2
