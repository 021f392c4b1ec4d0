"""A run killed at any point and resumed equals the uninterrupted one bit for bit."""

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import lightning.pytorch as pl
import pytest
import torch

from distributed.harness import Make, differences, final_state, start, start_and_kill
from distributed.ranks import run_ranks
from distributed.toy import BATCH, Toy, ToyGAN, build
from repsynth.checkpoints import seen

KILLS = [
    ("on_train_batch_start", 1),
    ("on_before_backward", 2),
    ("on_train_batch_end", 3),
    ("on_train_batch_end", 5),
    ("on_validation_batch_start", 1),
    ("on_validation_batch_end", 1),
    ("on_validation_end", 1),
    ("on_train_epoch_end", 1),
    ("on_train_batch_start", 6),
    ("on_train_batch_end", 10),
    ("on_train_end", 1),
    ("saving", 1),
    ("saving", 2),
    ("saving", 3),
    ("saving", 5),
]


def make(options: dict[str, Any], root: Path, extra: tuple[pl.Callback, ...]) -> Any:  # noqa: ANN401
    return build(root, extra=extra, **options)


FEW_KILLS = [
    ("on_train_batch_end", 4),
    ("on_train_batch_end", 5),
    ("on_validation_batch_start", 1),
    ("saving", 2),
]


def check(make: Make, root: Path, kills: list[tuple[str, int]]) -> None:
    start(make, root / "whole")
    for hook, count in kills:
        killed = root / f"{hook}-{count}"
        start_and_kill(make, killed, hook, count)
        start(make, killed)
        found = differences(final_state(root / "whole"), final_state(killed))
        if hook == "on_train_end":
            # Every step was done: a resumed run has nothing to do, and keeps the counters of the last save.
            found = [name for name in found if not name.startswith(("/loops", "/epoch"))]
        assert found == [], (hook, count)


@pytest.mark.parametrize("method", [Toy, ToyGAN])
def test_one_rank(tmp_path: Path, method: type[pl.LightningModule]) -> None:
    check(partial(make, {"method": method}), tmp_path, KILLS)


@pytest.mark.slow
def test_validation_inside_epochs_and_accumulation(tmp_path: Path) -> None:
    options = {"val_check_interval": 2, "accumulate_grad_batches": 2, "every_samples": 1}
    kills = [("on_train_batch_start", n) for n in range(2, 11)]
    kills += [("on_validation_batch_start", n) for n in (2, 4, 8)] + [("on_validation_end", 2), ("saving", 4)]
    check(partial(make, options), tmp_path, kills)


@pytest.mark.parametrize("limit", [{"max_steps": 8, "max_epochs": -1}, {"limit_val_batches": 0}])
def test_other_ends_of_epoch(tmp_path: Path, limit: dict[str, Any]) -> None:
    """Runs counted in steps, and epochs without validation, take other ways through Lightning's loops."""
    kills = [("on_train_batch_start", n) for n in range(2, 8)] + [
        ("on_train_epoch_end", 1),
        ("on_train_end", 1),
    ]
    check(partial(make, {"every_samples": 1} | limit), tmp_path, kills)


class StopAt(pl.Callback):
    """Ends the run after so many steps, as `max_time` and early stopping do."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step == self.step


@pytest.mark.parametrize("step", [3, 5, 7])
@pytest.mark.parametrize("by_steps", [True, False])
def test_an_ended_run_goes_on(tmp_path: Path, step: int, by_steps: bool) -> None:
    """Inside an epoch and at its end, a run that was over is extended: no sample is skipped or repeated."""
    whole = {"max_steps": 8, "max_epochs": -1} if by_steps else {}
    start(partial(make, whole), tmp_path / "whole")
    if by_steps:
        start(partial(make, whole | {"max_steps": step}), tmp_path / "parts")
    else:
        start(partial(make, whole), tmp_path / "parts", (StopAt(step),))
    assert seen(final_state(tmp_path / "parts")) == step * BATCH
    start(partial(make, whole), tmp_path / "parts")
    found = differences(final_state(tmp_path / "whole"), final_state(tmp_path / "parts"))
    # Where the run ended it validated once more, and Lightning's counter of log lines is one on.
    counters = ("_batches_that_stepped", "val_loop.batch_progress")
    assert [name for name in found if not any(counter in name for counter in counters)] == []


def test_two_workers(tmp_path: Path) -> None:
    check(partial(make, {"workers": 2}), tmp_path, FEW_KILLS)


@pytest.mark.slow
@pytest.mark.parametrize("method", [Toy, ToyGAN])
def test_two_workers_at_every_point(tmp_path: Path, method: type[pl.LightningModule]) -> None:
    check(partial(make, {"method": method, "workers": 2}), tmp_path, KILLS)


@pytest.mark.slow
@pytest.mark.parametrize("method", [Toy, ToyGAN])
def test_two_ranks_at_every_point(tmp_path: Path, method: type[pl.LightningModule]) -> None:
    options = {"devices": 2, "method": method, "workers": 2}
    run_ranks(2, check, partial(make, options), tmp_path, KILLS)


@pytest.mark.slow
def test_sigkill_of_the_process(tmp_path: Path) -> None:
    """The real signal, in a process of its own; it may come in the middle of a file."""
    start(partial(make, {}), tmp_path / "whole")
    # A fork saves ten seconds of imports; after CUDA was used only a new interpreter works.
    processes = torch.multiprocessing.get_context("spawn" if torch.cuda.is_initialized() else "fork")
    for delay in (1, 4, 7):
        killed = tmp_path / str(delay)
        process = processes.Process(target=_train_and_die, args=(killed, delay))
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
        start(partial(make, {}), killed)
        assert differences(final_state(tmp_path / "whole"), final_state(killed)) == []


def _train_and_die(root: Path, writes: int) -> None:
    """Dies at the given call of fsync: of a file (its name is still the temporary one) or of the folder."""
    torch.set_num_threads(1)
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal writes
        writes -= 1
        if writes == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    os.fsync = fsync
    start(partial(make, {}), root)


def test_damaged_newest_falls_back_and_still_ends_equal(tmp_path: Path) -> None:
    start(partial(make, {}), tmp_path / "whole")
    start_and_kill(partial(make, {}), tmp_path / "killed", "on_train_batch_start", 10)
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    with pytest.warns(UserWarning, match=r"last\.ckpt is damaged"):
        start(partial(make, {}), tmp_path / "killed")
    assert differences(final_state(tmp_path / "whole"), final_state(tmp_path / "killed")) == []


def test_the_harness_sees_a_wrong_resume(tmp_path: Path) -> None:
    """Without seeds from the counter the noise of a resumed run is another one, and the comparison tells."""
    with mock.patch("repsynth.callbacks.determinism._seed_all"):
        start(partial(make, {}), tmp_path / "whole")
        start_and_kill(partial(make, {}), tmp_path / "killed", "on_train_batch_start", 4)
        start(partial(make, {}), tmp_path / "killed")
    found = differences(final_state(tmp_path / "whole"), final_state(tmp_path / "killed"))
    assert any(name.startswith("/state_dict/network") for name in found)
    assert any(name.startswith("/callbacks/EMA/averages") for name in found)
