"""Every part of a step gets the time that it took, and all of them together the step's."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor

from repsynth.callbacks.checkpoint import Checkpoint
from repsynth.callbacks.determinism import Determinism
from repsynth.callbacks.evaluation import Evaluation
from repsynth.callbacks.status import Status
from repsynth.cli.profiling.actions import part_of
from repsynth.cli.profiling.clock import PARTS, Lap, PartClock
from repsynth.cli.profiling.measure import Experiment, profile
from repsynth.cli.profiling.report import as_json, text
from repsynth.cli.profiling.results import Loader, Memory, Profile, Steps
from repsynth.errors import UserError

from .slow import BATCH, SECONDS, Blind, Slow, SlowByHand, SlowCallback, SlowPictures


def ticking(*times: float) -> PartClock:
    remaining = iter(times)
    return PartClock(now=lambda: next(remaining))


def test_time_belongs_to_the_innermost_part() -> None:
    clock = ticking(0, 1, 3, 6, 10, 15)
    with clock.inside("optimiser"):
        clock.enter("forward")
        clock.leave()
    assert clock.lap() == {**dict.fromkeys(PARTS, 0), "other": 6, "optimiser": 6, "forward": 3}


def test_a_lap_inside_of_a_part_goes_on_in_it() -> None:
    clock = ticking(0, 1, 3, 6, 10)
    clock.enter("callbacks")
    assert clock.lap()["callbacks"] == 2
    clock.leave()
    assert clock.lap() == {**dict.fromkeys(PARTS, 0), "callbacks": 3, "other": 4}


def test_a_part_that_fails_is_left() -> None:
    clock = ticking(0, 1, 2, 3)
    with pytest.raises(ZeroDivisionError), clock.inside("forward"):
        raise ZeroDivisionError
    assert clock.lap() == {**dict.fromkeys(PARTS, 0), "forward": 1, "other": 2}


def test_the_device_is_waited_for_at_every_border_and_only_if_wanted() -> None:
    waited: list[None] = []
    clock = PartClock(lambda: waited.append(None))
    with clock.inside("forward"):
        pass
    clock.lap()
    assert len(waited) == 3
    clock.synchronised = False
    with clock.inside("forward"):
        pass
    assert len(waited) == 3


@pytest.mark.parametrize(
    ("action", "part"),
    [
        ("[_TrainingEpochLoop].train_dataloader_next", "data"),
        ("[_EvaluationLoop].val_next", "data"),
        ("[Strategy]DDPStrategy.batch_to_device", "transfer"),
        ("[Strategy]DDPStrategy.training_step", "forward"),
        ("[LightningModule]CIPS.on_before_optimizer_step", "optimiser"),
        ("[Callback]Checkpoint{'monitor': 'val/psnr.x'}.on_train_batch_end", "callbacks"),
        ("[Callback]Evaluation.on_validation_batch_end", "figures"),
        ("run_training_epoch", None),
        ("run_training_batch", None),
    ],
)
def test_actions_of_lightning_are_known(action: str, part: str | None) -> None:
    assert part_of(action) == part


def profiled(model: LightningModule, root: Path, data: SlowPictures | None = None, **changes: Any) -> Profile:  # noqa: ANN401
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "default_root_dir": root,
        "max_epochs": 1,
        "use_distributed_sampler": False,
        "callbacks": [Determinism(), SlowCallback(), *changes.pop("callbacks", [])],
        **changes,
    }
    experiment = Experiment(
        model, data or SlowPictures(), settings, lambda given: Trainer(**given), lambda model, trainer: None
    )
    return profile(experiment, 5, 1)


@pytest.mark.parametrize("method", [Slow, SlowByHand])
def test_parts_are_what_they_took_with_one_optimiser_and_with_two(method: type[Slow], tmp_path: Path) -> None:
    """Four batches an epoch, so the six steps also begin another epoch than the one that was asked for."""
    found = profiled(method(), tmp_path, callbacks=[Evaluation(["psnr"])])
    assert len(found.steps.laps) == 5
    for part, seconds in SECONDS.items():
        # Not less: what is missing here was given to another part. More, only a busy machine adds.
        assert found.steps.mean_of(part) >= seconds, part  # type: ignore[arg-type]
    assert found.steps.mean_of("other") < 0.1 * found.steps.mean and found.steps.mean_of("figures") == 0
    assert found.samples_per_second == BATCH / found.steps.mean
    assert found.steps.mean == pytest.approx(sum(as_json(found)["parts"].values()))
    assert 0 < found.loader.rate <= 1 / SECONDS["data"]
    evaluation = as_json(found)["evaluation"]
    per_sample = evaluation["seconds_per_sample"]
    for part in ("data", "transfer", "forward"):
        assert BATCH * per_sample[part] >= SECONDS[part], part
    assert per_sample["figures"] > 0 and evaluation["samples_per_batch"] == BATCH
    assert found.memory.process > 2**26 and found.memory.loaders == 0
    assert list(tmp_path.iterdir()) == []


def test_callbacks_that_would_write_or_end_the_run_are_left_out(tmp_path: Path) -> None:
    callbacks: list[Callback] = [
        Checkpoint(every_samples=1),
        Status(every_samples=1),
        EarlyStopping("val/never"),
        LearningRateMonitor("step"),
    ]
    found = profiled(Slow(), tmp_path, callbacks=callbacks, max_steps=2, limit_val_batches=1)
    assert len(found.steps.laps) == 5
    assert list(tmp_path.iterdir()) == []


def test_loader_processes_are_waited_for_only_when_they_are_late(tmp_path: Path) -> None:
    found = profiled(Blind(), tmp_path, SlowPictures(num_workers=1))
    assert found.steps.mean_of("data") < SECONDS["data"]
    assert found.loader.workers == 1 and found.loader.rate < 1.1 / SECONDS["data"]
    assert found.memory.loaders > 2**26
    assert found.evaluated == "Blind has no validation_step"
    report = text(found)
    assert "| waiting for data " in report and "| other " in report
    assert "evaluation: not measured (Blind has no validation_step)" in report
    assert "the loader alone, in 1 process(es): " in report


def reported(step: float, loader_step: float, workers: int) -> list[str]:
    """The lines about a training and a loader that take so many seconds for a batch of 4."""
    lap: Lap = {**dict.fromkeys(PARTS, 0.0), "forward": 0.75 * step, "figures": 0.25 * step}
    steps, loader = Steps([lap, lap]), Loader(10, 10 * loader_step, workers)
    memory = Memory(2**30, 2**29, 2**31, 2**32)
    found = Profile(0, "1 x CUDA", "bf16-mixed", 1, 4, 3, step, steps, memory, loader, "no reason")
    return text(found).splitlines()


def test_the_report_shows_what_has_no_name_as_other() -> None:
    lines = reported(0.2, 0.05, 2)
    assert lines[0] == "1 x CUDA, precision bf16-mixed, batch 4 over 1 rank; 2 steps after 3 of warm-up"
    assert "| forward               | 150.00 |  75.0% |" in lines
    assert "| other                 |  50.00 |  25.0% |" in lines
    assert "| step                  | 200.00 | 100.0% |" in lines
    assert "training: 20 samples/s; a step takes 200.00 to 200.00 ms, median 200.00 ms" in lines
    alone = "the loader alone, in 2 process(es): 20 batches/s, 80 samples/s, 4.0 times what training takes"
    assert alone in lines
    peak = "peak memory: process 1.00 GiB, loaders 0.50 GiB, device 2.00 GiB (4.00 GiB reserved)"
    assert peak in lines


@pytest.mark.parametrize(
    ("workers", "advice"), [(0, "data.num_workers above 0"), (3, "more data.num_workers")]
)
def test_a_loader_that_limits_training_is_called_so(workers: int, advice: str) -> None:
    assert f"1.0 times what training takes: it limits training; try {advice}" in "\n".join(
        reported(0.2, 0.2, workers)
    )


def test_an_evaluation_that_is_refused_does_not_hide_the_training(tmp_path: Path) -> None:
    refused = Evaluation(["lpips"], lpips_weights=str(tmp_path / "no.pth"))
    found = profiled(Slow(), tmp_path, callbacks=[refused])
    assert isinstance(found.evaluated, str) and "no.pth" in found.evaluated
    assert len(found.steps.laps) == 5


def test_a_run_without_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training step was measured"):
        profiled(Slow(), tmp_path, limit_train_batches=0)
