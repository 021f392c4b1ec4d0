import random
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from distributed.harness import final_state
from distributed.toy import BATCH, EPOCHS, SAMPLES, Toy, ToyGAN, build
from lightning.pytorch.loggers import Logger

from repsynth.callbacks import determinism
from repsynth.callbacks.determinism import Determinism, samples_seen
from repsynth.errors import UserError

TRAINED = SAMPLES // BATCH * BATCH * EPOCHS


class Memory(Logger):
    """A logger that keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    name = "memory"
    version = 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, *_: object, **__: object) -> None:
        pass


class Counts(pl.Callback):
    def __init__(self) -> None:
        self.in_validation: list[int] = []
        self.after_batch: list[int] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        self.after_batch.append(samples_seen(trainer))

    def on_validation_start(self, trainer: pl.Trainer, _: object) -> None:
        self.in_validation.append(samples_seen(trainer))


@pytest.mark.parametrize("method", [Toy, ToyGAN])
def test_counts_samples_not_optimiser_steps(tmp_path: Path, method: type[pl.LightningModule]) -> None:
    counts = Counts()
    trainer, module, data = build(tmp_path, method, extra=(counts,))
    trainer.callbacks.insert(
        0, trainer.callbacks.pop(2)
    )  # listed before Determinism, which moves to the front
    trainer.fit(module, datamodule=data)
    assert counts.after_batch == list(range(BATCH, TRAINED + 1, BATCH))
    assert counts.in_validation == [TRAINED // 2, TRAINED]
    assert final_state(tmp_path)["callbacks"]["Determinism"] == {"samples_seen": TRAINED}


def test_without_the_callback_the_count_is_zero() -> None:
    assert samples_seen(pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")) == 0


def test_every_logger_gets_samples_as_its_axis(tmp_path: Path) -> None:
    memory = Memory()
    trainer, module, data = build(tmp_path, logger=memory, log_every_n_steps=1)
    start = 2**24  # where float32 stops counting in ones
    trainer.callbacks[0].samples_seen = start + 1
    data.batch_size = 2
    trainer.fit(module, datamodule=data)
    training = [step for step, row in memory.rows if "train/loss" in row]
    validation = [step for step, row in memory.rows if "val/error" in row]
    assert training == [start + 1 + 2 * n for n in range(1, 2 * 11 + 1)]
    assert validation == [start + 1 + 22, start + 1 + 44]
    assert all("step" not in row for _, row in memory.rows)


def _draws() -> tuple[float, float, float]:
    return torch.rand(()).item(), float(np.random.rand()), random.random()


def test_every_generator_follows_seed_rank_and_position() -> None:
    def draws(*key: int) -> tuple[float, float, float]:
        determinism._seed_all(*key)
        return _draws()

    keys = [(0, 1, 0, 8), (0, 2, 0, 8), (0, 1, 1, 8), (0, 1, 0, 12), (2, 1, 0, 8)]
    seen = [draws(*key) for key in keys]
    assert draws(*keys[0]) == seen[0]
    for column in zip(*seen, strict=True):
        assert len(set(column)) == len(keys)


class Draws(pl.Callback):
    """Keeps the first number that each evaluation batch would draw."""

    def __init__(self) -> None:
        self.by_id: dict[str, list[float]] = {}

    def on_validation_batch_start(self, _: object, __: object, batch: Any, *___: object) -> None:  # noqa: ANN401
        self.by_id.setdefault(batch["ids"][0], []).append(torch.rand(()).item())


def test_evaluation_noise_belongs_to_the_sample(tmp_path: Path) -> None:
    draws = Draws()
    trainer, module, data = build(tmp_path, extra=(draws,))
    trainer.fit(module, datamodule=data)
    assert all(len(values) == EPOCHS and len(set(values)) == 1 for values in draws.by_id.values())
    assert len({values[0] for values in draws.by_id.values()}) == 3


def test_evaluation_does_not_change_training(tmp_path: Path) -> None:
    for name, options in {"often": {"val_check_interval": 1}, "never": {"limit_val_batches": 0}}.items():
        trainer, module, data = build(tmp_path / name, **options)
        trainer.fit(module, datamodule=data)
    often, never = (final_state(tmp_path / name)["state_dict"] for name in ("often", "never"))
    assert all(torch.equal(often[name], never[name]) for name in never)


def test_needs_a_data_module_of_ours(tmp_path: Path) -> None:
    options: dict[str, Any] = {"logger": False, "accelerator": "cpu", "default_root_dir": tmp_path}
    trainer = pl.Trainer(callbacks=[Determinism()], max_epochs=1, **options)
    with pytest.raises(UserError, match="batch_size and found none: train with a data module derived from"):
        trainer.fit(Toy(), torch.utils.data.DataLoader([0]))
