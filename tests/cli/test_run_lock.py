"""Two processes on one run directory: the second is refused, and a killed holder holds nothing."""

import errno
import fcntl
import json
import multiprocessing
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

import psutil
import pytest
import torch

from repsynth.cli import main
from repsynth.cli.run_lock import NAME, RunLock
from repsynth.errors import UserError

from .conftest import YAML

RUN = Path("runs/toy-synthetic")


def train(*words: str) -> None:
    torch.set_num_threads(1)
    os._exit(main(["fit", "--config", YAML, *words]))


@contextmanager
def holder(*words: str) -> Iterator[BaseProcess]:
    """Another process that trains for long in the run directory."""
    # A fork saves ten seconds of imports; after CUDA was used only a new interpreter works.
    processes = multiprocessing.get_context("spawn" if torch.cuda.is_initialized() else "fork")
    process = processes.Process(target=train, args=("--trainer.max_epochs=1000000", *words))
    process.start()
    try:
        wait_for(process, lambda: (RUN / NAME).exists() and (RUN / NAME).read_text())
        yield process
    finally:
        if process.is_alive():
            process.kill()
        process.join()


def wait_for(process: BaseProcess, condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert process.is_alive() and time.monotonic() < end
        time.sleep(0.05)


def test_the_second_is_refused_with_the_name_of_the_first(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with holder() as process:
        for words in ([], ["--resume"]):
            assert main(["fit", "--config", YAML, *words]) == 2
            sentence = capsys.readouterr().err
            assert re.fullmatch(
                rf"(.*\n)?error: another run writes into {RUN}: process {process.pid} on {socket.gethostname()}, since "
                r"(.{25}); wait for it, end it, or choose another folder \(trainer\.default_root_dir\)\n",
                sentence,
            ), sentence
        told = json.loads((RUN / NAME).read_text())
        age = datetime.now().astimezone() - datetime.fromisoformat(told["since"])
        assert told["pid"] == process.pid and 0 <= age.total_seconds() < 60
        # Reading beside a run is allowed.
        assert main(["validate", "--config", YAML, "--ckpt_path=none"]) == 0
        assert main(["fit", "--config", YAML, "--dry-run"]) == 0


def test_a_killed_holder_holds_nothing_while_its_loaders_still_run(toy: Path) -> None:
    every = '--trainer.callbacks+={"class_path": "repsynth.callbacks.checkpoint.Checkpoint", "init_args": '
    with holder("--data.num_workers=2", every + '{"every_samples": 6}}') as process:
        wait_for(process, lambda: (RUN / "checkpoints" / "last.ckpt").exists())
        wait_for(process, lambda: len(psutil.Process(process.pid).children()) >= 2)
        loaders = psutil.Process(process.pid).children()
        assert process.pid is not None
        for loader in loaders:
            loader.suspend()  # or they might see at once that their parent is gone
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        try:
            assert all(loader.is_running() for loader in loaders)
            with RunLock(RUN, wanted=True) as lock:
                lock.before_reading()
                assert json.loads((RUN / NAME).read_text())["pid"] == os.getpid()
        finally:
            for loader in loaders:
                loader.kill()
    assert main(["fit", "--config", YAML, "--resume", "--trainer.max_epochs=1"]) == 0


def test_the_lock_is_given_back_after_an_error(toy: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunLock(RUN, wanted=True) as lock:
        lock.before_writing(first_rank=True)
        raise ZeroDivisionError
    with RunLock(RUN, wanted=True) as lock:
        lock.before_writing(first_rank=True)
        lock.before_writing(first_rank=True)


def refused(root: Path) -> bool:
    try:
        with RunLock(root, wanted=True) as lock:
            lock.before_writing(first_rank=True)
    except UserError:
        return True
    return False


def test_a_new_directory_is_locked_when_it_is_written_and_not_before(tmp_path: Path) -> None:
    with RunLock(tmp_path / "new", wanted=True) as lock:
        lock.before_reading()
        assert not (tmp_path / "new").exists()
        lock.before_writing(first_rank=True)
        assert refused(tmp_path / "new")
    assert not refused(tmp_path / "new")


@pytest.mark.parametrize("variable", ["RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK"])
def test_other_ranks_take_no_lock(tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkpoints").mkdir()
    monkeypatch.setenv(variable, "1")
    with RunLock(tmp_path, wanted=True) as lock:
        lock.before_reading()
        lock.before_writing(first_rank=False)
        assert not (tmp_path / NAME).exists()
        lock.before_writing(first_rank=True)  # the trainer knows better
        assert refused(tmp_path)


def test_a_file_system_without_locks_is_told(tmp_path: Path) -> None:
    nfs = OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    with (
        mock.patch.object(fcntl, "flock", side_effect=nfs),
        pytest.warns(
            UserWarning, match=r"has no locks \(No locks available\): nothing keeps a second run out"
        ),
        RunLock(tmp_path, wanted=True) as lock,
    ):
        lock.before_writing(first_rank=True)


def test_a_lock_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with (
        pytest.raises(
            UserError, match=r"the lock .*run\.lock cannot be opened \(Is a directory\): change its"
        ),
        RunLock(tmp_path, wanted=True) as lock,
    ):
        lock.before_writing(first_rank=True)


def test_a_holder_that_does_not_tell_its_name(tmp_path: Path) -> None:
    with RunLock(tmp_path, wanted=True) as first:
        first.before_writing(first_rank=True)
        (tmp_path / NAME).write_text("")
        with (
            pytest.raises(
                UserError, match=r"writes into .*: a process that does not tell its name; wait for it"
            ),
            RunLock(tmp_path, wanted=True) as second,
        ):
            second.before_writing(first_rank=True)


def test_nothing_is_left_of_the_lock_of_a_start_that_ended_or_was_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ZeroDivisionError), RunLock(tmp_path, wanted=True) as lock:
        lock.before_reading()
        assert refused(tmp_path)
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
        raise ZeroDivisionError
    assert not (tmp_path / NAME).exists()


def test_a_lock_on_a_file_that_was_removed_meanwhile_does_not_count(tmp_path: Path) -> None:
    """Between opening and locking, the holder ends and takes its file away."""
    first = RunLock(tmp_path, wanted=True)
    (tmp_path / "checkpoints").mkdir()
    first.before_reading()
    real, calls = fcntl.flock, []

    def late(descriptor: int, operation: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            first.__exit__()
        real(descriptor, operation)

    with mock.patch.object(fcntl, "flock", late), RunLock(tmp_path, wanted=True) as second:
        second.before_reading()
        assert len(calls) == 2
        assert refused(tmp_path)
