import os
import signal
import time
from pathlib import Path
from typing import Any
from unittest import mock

import lightning.pytorch as pl
import pytest
import torch
from distributed.harness import KillAt, Killed, Sends, differences, final_state
from distributed.toy import Toy, ToyGAN, build

from repsynth.callbacks.checkpoint import Checkpoint, Stopped, resume_path
from repsynth.callbacks.determinism import samples_seen
from repsynth.checkpoints import seen
from repsynth.errors import UserError


class Saves(pl.Callback):
    """The number of samples at every save."""

    def __init__(self) -> None:
        self.samples: list[int] = []

    def on_save_checkpoint(self, trainer: pl.Trainer, *_: object) -> None:
        self.samples.append(samples_seen(trainer))


def fit(root: Path, checkpoint: Checkpoint, method: type[Toy] = Toy, **options: Any) -> Saves:  # noqa: ANN401
    saves = Saves()
    trainer, module, data = build(root, method, extra=(saves,), **options)
    trainer.callbacks[-1] = checkpoint
    trainer.fit(module, datamodule=data)
    return saves


@pytest.mark.parametrize("method", [Toy, ToyGAN])
def test_cadence_in_samples(tmp_path: Path, method: type[Toy]) -> None:
    """Every 10 samples with batches of 4: at the first batch end past each multiple; and once at the end."""
    assert fit(tmp_path, Checkpoint(every_samples=10), method).samples == [12, 20, 32, 40, 40]


@pytest.mark.parametrize("method", [Toy, ToyGAN])
def test_cadence_in_minutes(tmp_path: Path, method: type[Toy]) -> None:
    """Each look at the clock takes a minute: one per batch and three per save. Also under manual optimisation."""
    clock = iter(range(0, 10**6, 60))
    with mock.patch("repsynth.callbacks.checkpoint.time.monotonic", lambda: float(next(clock))):
        saves = fit(tmp_path, Checkpoint(every_minutes=2), method)
    assert saves.samples == [8, 16, 24, 32, 40, 40]
    assert fit(tmp_path / "slow", Checkpoint(every_minutes=60), method).samples == [40]


def test_saves_only_where_an_optimiser_stepped(tmp_path: Path) -> None:
    saves = fit(tmp_path, Checkpoint(every_samples=1), accumulate_grad_batches=2)
    assert saves.samples == [8, 16, 20, 28, 36, 40, 40]


def test_last_and_the_one_before(tmp_path: Path) -> None:
    fit(tmp_path, Checkpoint(every_samples=16))
    folder = tmp_path / "checkpoints"
    kept = {path.name: seen(torch.load(path, weights_only=True)) for path in folder.iterdir()}
    assert kept == {"last.ckpt": 40, "last-1.ckpt": 32}
    assert resume_path(tmp_path) == folder / "last.ckpt"
    assert resume_path(tmp_path / "elsewhere") is None


class Scores(Toy):
    values = (1.0, 3.0, 2.0, 5.0, 4.0)

    def on_validation_epoch_end(self) -> None:
        self.log("val/score", self.values[self.current_epoch])


@pytest.mark.parametrize(("mode", "best"), [("max", 80), ("min", 20)])
def test_best_by_a_figure(tmp_path: Path, mode: Any, best: int) -> None:  # noqa: ANN401
    fit(tmp_path, Checkpoint(monitor="val/score", mode=mode), Scores, max_epochs=5)
    assert seen(torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)) == best


def test_several_best(tmp_path: Path) -> None:
    fit(tmp_path, Checkpoint(monitor="val/score", save_top_k=2), Scores, max_epochs=5)
    names = sorted(path.name for path in (tmp_path / "checkpoints").glob("best*"))
    assert names == ["best-000000000080.ckpt", "best-000000000100.ckpt"]


def test_the_best_stays_the_best_in_a_moved_run(tmp_path: Path) -> None:
    """Figures 1, 3, then 2: the third must not replace the second because the directory has another name."""
    fit(tmp_path / "here", Checkpoint(monitor="val/score"), Scores, max_epochs=2)
    root = (tmp_path / "here").rename(tmp_path / "moved")
    trainer, module, data = build(root, Scores, max_epochs=3)
    trainer.callbacks[-1] = Checkpoint(monitor="val/score")
    trainer.fit(module, datamodule=data, ckpt_path=resume_path(root))
    assert seen(final_state(root)) == 60
    assert seen(torch.load(root / "checkpoints" / "best.ckpt", weights_only=True)) == 40


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signal_ends_the_batch_saves_and_stops(
    tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    trainer, module, data = build(tmp_path / "cut", ToyGAN, extra=(Sends(number, 5),), every_samples=10**6)
    with pytest.raises(Stopped) as stopped:
        trainer.fit(module, datamodule=data)
    assert stopped.value.code == 128 + number
    assert signal.getsignal(number) == before
    assert seen(final_state(tmp_path / "cut")) == 12
    path = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    line = f"{number.name}: stopped after 12 samples, which are saved in {path}; go on with --resume\n"
    assert capsys.readouterr().err.endswith(line)
    _resumed_equals_whole(tmp_path, ToyGAN)


def test_a_fast_development_run_saves_nothing(tmp_path: Path) -> None:
    fit(tmp_path, Checkpoint(every_samples=1), fast_dev_run=2)
    assert list(tmp_path.rglob("*.ckpt")) == []


@pytest.mark.parametrize(("step", "options"), [(5, {}), (5, {"limit_val_batches": 0})])
def test_signal_in_the_last_batch_of_an_epoch(tmp_path: Path, step: int, options: dict[str, Any]) -> None:
    sends = Sends(signal.SIGTERM, step)
    trainer, module, data = build(tmp_path / "cut", extra=(sends,), every_samples=10**6, **options)
    with pytest.raises(Stopped):
        trainer.fit(module, datamodule=data)
    assert seen(final_state(tmp_path / "cut")) == 20
    _resumed_equals_whole(tmp_path, Toy, **options)


def test_signal_in_the_last_batch_of_the_run_lets_it_end(tmp_path: Path) -> None:
    """Nothing is left to do, and a run that is resumed there would never come to its end."""
    trainer, module, data = build(
        tmp_path / "cut", extra=(Sends(signal.SIGTERM, 10),), every_samples=10**6, limit_val_batches=0
    )
    trainer.fit(module, datamodule=data)
    assert seen(final_state(tmp_path / "cut")) == 40
    _resumed_equals_whole(tmp_path, Toy, limit_val_batches=0)


def _resumed_equals_whole(root: Path, method: type[Toy], **options: Any) -> None:  # noqa: ANN401
    for name in ("cut", "whole"):
        trainer, module, data = build(root / name, method, every_samples=10**6, **options)
        trainer.fit(module, datamodule=data, ckpt_path=resume_path(root / name))
    assert differences(final_state(root / "whole"), final_state(root / "cut")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signal_before_the_first_step(tmp_path: Path, number: signal.Signals) -> None:
    """A run may look its data through for minutes; the signal waits for the first step, of all ranks."""
    trainer, module, data = build(tmp_path / "cut", ToyGAN, every_samples=10**6)
    real = data.train_dataloader

    def train_dataloader() -> Any:  # noqa: ANN401
        os.kill(os.getpid(), number)
        return real()

    with mock.patch.object(data, "train_dataloader", train_dataloader), pytest.raises(Stopped) as stopped:
        trainer.fit(module, datamodule=data)
    assert stopped.value.code == 128 + number
    assert seen(final_state(tmp_path / "cut")) == 4
    _resumed_equals_whole(tmp_path, ToyGAN)


class BreaksLoading(pl.Callback):
    def on_validation_batch_start(self, *_: object) -> None:
        raise OSError("the disk is gone")


def test_exception_between_steps_saves_and_resumes_exactly(tmp_path: Path) -> None:
    trainer, module, data = build(tmp_path / "cut", extra=(BreaksLoading(),), every_samples=10**6)
    with pytest.raises(OSError, match="the disk is gone"):
        trainer.fit(module, datamodule=data)
    assert seen(final_state(tmp_path / "cut")) == 20
    _resumed_equals_whole(tmp_path, Toy)


def test_exception_inside_a_step_saves_nothing(tmp_path: Path) -> None:
    trainer, module, data = build(tmp_path, extra=(KillAt("on_before_backward", 4),), every_samples=12)
    with pytest.raises(Killed):
        trainer.fit(module, datamodule=data)
    assert seen(final_state(tmp_path)) == 12


def test_failing_save_is_told_and_not_repeated(tmp_path: Path) -> None:
    trainer, module, data = build(tmp_path, every_samples=4)
    with (
        mock.patch(
            "repsynth.checkpoints.torch.save", side_effect=OSError(28, "No space left on device")
        ) as save,
        pytest.raises(UserError, match=r"last\.ckpt could not be written \(No space left on device\)"),
    ):
        trainer.fit(module, datamodule=data)
    assert save.call_count == 1


def test_time_of_saving_is_counted(tmp_path: Path) -> None:
    checkpoint = Checkpoint(monitor="val/error", mode="min", every_samples=20)
    real = torch.save

    def slow(*arguments: Any) -> None:  # noqa: ANN401
        time.sleep(0.05)
        real(*arguments)

    with mock.patch("repsynth.checkpoints.torch.save", slow):
        saves = fit(tmp_path, checkpoint)
    assert checkpoint.seconds_saving >= 0.05 * len(saves.samples)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"every_samples": 0}, "every_samples is 0: expected a positive number"),
        ({"every_minutes": -1}, "every_minutes is -1: expected a positive number"),
        ({"save_top_k": 0}, "save_top_k is 0: expected 1 or more"),
    ],
)
def test_mistakes(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Checkpoint(**options)
