"""A run killed at any point and resumed equals the uninterrupted one bit for bit."""

from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from harness import Make, differences, final_state, start, start_and_kill
from toy import Toy, ToyGAN, build

KILLS = [
    ("on_train_batch_start", 1),
    ("on_before_backward", 2),
    ("on_train_batch_end", 3),
    ("on_train_batch_end", 5),
    ("on_validation_batch_start", 2),
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


def check(make: Make, root: Path, kills: list[tuple[str, int]]) -> None:
    start(make, root / "whole")
    for hook, count in kills:
        killed = root / f"{hook}-{count}"
        start_and_kill(make, killed, hook, count)
        start(make, killed)
        assert differences(final_state(root / "whole"), final_state(killed)) == [], (hook, count)


@pytest.mark.parametrize("method", [Toy, ToyGAN])
def test_one_rank(tmp_path: Path, method: type[pl.LightningModule]) -> None:
    check(partial(make, {"method": method}), tmp_path, KILLS)


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
