from types import SimpleNamespace
from typing import Any

import pytest
import torch

from repsynth.cli import cpu_runs
from repsynth.cli.cpu_runs import threads_for


@pytest.mark.parametrize(
    ("cores", "ranks", "workers", "threads"),
    [(2, 1, 0, 2), (2, 1, 1, 1), (2, 2, 2, 1), (16, 1, 4, 12), (16, 4, 2, 2), (1, 1, 0, 1)],
)
def test_loaders_and_ranks_keep_their_cores(cores: int, ranks: int, workers: int, threads: int) -> None:
    assert threads_for(cores, ranks, workers) == threads


@pytest.mark.parametrize(("device", "kept"), [("cpu", [cpu_runs.KEPT_BYTES]), ("cuda", [])])
def test_only_runs_on_a_cpu_keep_their_memory(
    device: str, kept: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(cpu_runs, "keep_freed_memory", asked.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(device)), num_devices=1)
    cpu_runs.prepare(trainer, SimpleNamespace(num_workers=0))  # type: ignore[arg-type]
    assert asked == kept
