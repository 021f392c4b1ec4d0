"""Shared set-up of the tests. `repsynth` is imported before anything that could look for torchvision."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import repsynth  # noqa: F401  isort: skip
import pytest
import torch

_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    # Two cores are shared with worker processes and ranks: more threads only wait for each other.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    # The command line leaves its seed in the environment for the ranks it starts, where data modules read it.
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.delenv("PL_GLOBAL_SEED")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    if not _SHARED.is_dir():
        pytest.skip("no ../shared folder beside the checkout")
    return _SHARED
