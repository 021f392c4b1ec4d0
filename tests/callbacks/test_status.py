import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from distributed.harness import KillAt, Killed
from distributed.toy import Toy, build

from repsynth.callbacks.checkpoint import resume_path
from repsynth.callbacks.status import Status, line, read
from repsynth.errors import UserError

COLUMNS = [
    "samples",
    "elapsed",
    "seconds_per_1000",
    "maintenance",
    "host_memory",
    "device_memory_peak",
    "device_memory_reserved",
    "loss",
]


class Slow(Toy):
    """Steps of 10 ms, validation of at least 300 ms."""

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Any:  # noqa: ANN401
        time.sleep(0.01)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        time.sleep(0.1)
        super().validation_step(batch, batch_idx)


def test_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer, module, data = build(tmp_path, Slow, extra=(Status(every_samples=8),))
    trainer.fit(module, datamodule=data)
    rows = read(tmp_path / "status.jsonl")
    assert [row["samples"] for row in rows] == [8, 16, 24, 32, 40]
    assert all(list(row) == COLUMNS for row in rows)
    assert all(a["elapsed"] < b["elapsed"] for a, b in pairwise(rows))
    assert all(row["host_memory"] > 0.05 and row["loss"] > 0 for row in rows)
    assert all(row["seconds_per_1000"] >= 1000 / 4 * 0.01 for row in rows)
    after_validation = rows[2]
    assert after_validation["maintenance"] >= 0.3
    assert after_validation["seconds_per_1000"] < 300 / 8 * 1000 / 1000
    assert rows[0]["maintenance"] < 0.3
    lines = [text for text in capsys.readouterr().out.splitlines() if "k samples" in text]
    assert lines == [line(row) for row in rows]
    assert len({len(text) for text in lines}) == 1


def test_every_so_many_seconds(tmp_path: Path) -> None:
    trainer, module, data = build(tmp_path, Slow, extra=(Status(every_seconds=0.001),))
    trainer.fit(module, datamodule=data)
    assert len(read(tmp_path / "status.jsonl")) == 10


def test_a_resumed_run_leaves_no_double_rows(tmp_path: Path) -> None:
    def start(*kill: KillAt) -> None:
        trainer, module, data = build(tmp_path, extra=(Status(every_samples=4), *kill), every_samples=12)
        trainer.fit(module, datamodule=data, ckpt_path=resume_path(tmp_path))

    with pytest.raises(Killed):
        start(KillAt("on_train_batch_end", 5))
    path = tmp_path / "status.jsonl"
    before = read(path)
    assert [row["samples"] for row in before] == [4, 8, 12, 16, 20]
    path.write_text(path.read_text() + '{"samples": 2')  # the kill may come in the middle of a row
    start()
    rows = read(path)
    assert [row["samples"] for row in rows] == list(range(4, 41, 4))
    assert rows[:3] == before[:3]
    assert rows[3]["elapsed"] >= rows[2]["elapsed"]
    assert all(json.loads(text) for text in path.read_text().splitlines())


def test_line_without_device_or_loss() -> None:
    row = dict.fromkeys(COLUMNS, 1.0) | {"device_memory_peak": None, "loss": None, "elapsed": 3725.0}
    assert "1:02:05" in line(row) and "loss         -" in line(row)


@pytest.mark.parametrize("option", ["every_samples", "every_seconds"])
def test_mistakes(option: str) -> None:
    with pytest.raises(UserError, match=f"Status.{option} is 0: expected a positive number"):
        Status(**{option: 0})
