"""A rank that hangs ends the run of all ranks with its name; a run that works, however slowly, goes on."""

import os
import signal
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest

from distributed.ranks import exit_codes, rank
from distributed.toy import build
from repsynth.callbacks.watchdog import EXIT_CODE, Watchdog

SECONDS = 2.0
"""How long a rank may wait here."""


class Hangs(pl.Callback):
    """Does something on one rank, or on both, in the middle of the third step."""

    def __init__(self, act: Callable[[], None], ranks: tuple[int, ...] = (1,), hook: str = "") -> None:
        self.act, self.ranks, self.left = act, ranks, 3
        setattr(self, hook or "on_train_batch_start", self._hang)

    def _hang(self, trainer: pl.Trainer, *_: object) -> None:
        self.left -= 1
        if self.left == 0 and trainer.global_rank in self.ranks:
            self.act()


def sleep_long() -> None:
    time.sleep(600)


def stop_the_process() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def work_long() -> None:
    """The ranks end a second apart, half of what they may wait."""
    time.sleep((2.5 - 0.5 * rank()) * SECONDS)


def train(root: Path, callback: Hangs) -> None:
    trainer, module, data = build(root, devices=2, extra=(Watchdog(minutes=SECONDS / 60), callback))
    trainer.fit(module, datamodule=data)


def run(root: Path, act: Callable[[], None], **options: Any) -> tuple[list[int | None], str, float]:  # noqa: ANN401
    """Exit codes of two ranks, what both wrote, and the seconds it took."""
    start = time.monotonic()
    codes, output = exit_codes(2, train, root, Hangs(act, **options), seconds=60)
    return codes, output, time.monotonic() - start


def test_a_rank_that_sleeps_is_named_and_all_leave(tmp_path: Path) -> None:
    codes, errors, seconds = run(tmp_path / "run", sleep_long)
    assert codes == [EXIT_CODE, EXIT_CODE]
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "rank 0 has waited 0.0 minutes for rank 1, and the run ends: rank 1 (process " in lines[0]
    assert f"on {socket.gethostname()}) stands at test_watchdog.py:" in lines[0]
    assert "(sleep_long) since on_train_batch_start" in lines[0]
    assert seconds < 20


def test_a_stopped_process_is_named_and_killed(tmp_path: Path) -> None:
    """It can neither see the verdict nor answer SIGTERM, as one that keeps Python's lock."""
    codes, errors, _ = run(tmp_path / "run", stop_the_process)
    assert codes == [EXIT_CODE, -signal.SIGKILL]
    assert "rank 0 has waited 0.0 minutes for rank 1, and the run ends: rank 1 " in errors


def test_the_rank_that_holds_up_the_others_may_be_rank_zero(tmp_path: Path) -> None:
    """In an evaluation, where the ranks have different numbers of batches."""
    codes, errors, _ = run(tmp_path / "run", sleep_long, ranks=(0,), hook="on_validation_batch_end")
    assert codes == [EXIT_CODE, EXIT_CODE]
    assert "rank 1 has waited 0.0 minutes for rank 0, and the run ends: rank 0 " in errors


def test_work_of_all_ranks_that_takes_longer_ends_nothing(tmp_path: Path) -> None:
    codes, errors, _ = run(tmp_path / "run", work_long, ranks=(0, 1))
    assert codes == [0, 0], errors
    assert not (tmp_path / "run" / "heartbeats").exists()


def test_one_rank_alone_is_not_watched(tmp_path: Path) -> None:
    trainer, module, data = build(tmp_path, extra=(Watchdog(minutes=1e-6),))
    trainer.fit(module, datamodule=data)
    assert not (tmp_path / "heartbeats").exists()


def test_a_process_group_that_gives_up_sooner_is_told(tmp_path: Path) -> None:
    trainer = SimpleNamespace(strategy=SimpleNamespace(_timeout=timedelta(minutes=10)), is_global_zero=True)
    with pytest.warns(
        UserWarning, match=r"Watchdog\.minutes is 20, but the process group gives up after 10 minutes"
    ):
        Watchdog()._compare_limits(trainer)  # type: ignore[arg-type]
