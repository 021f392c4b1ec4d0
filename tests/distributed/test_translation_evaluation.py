"""Figures of translations on two ranks are those of one process."""

from pathlib import Path

import pytest
from callbacks.image_sets import means, report
from callbacks.test_translation_evaluation import evaluated, run_test

from distributed.ranks import run_ranks

BATCHES = (1, 4, 15)
"""The last one leaves the second rank without a batch."""


def on_each_rank(root: Path) -> None:
    for batch in BATCHES:
        run_test(root / str(batch), batch=batch, devices=2, strategy="ddp")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(2, on_each_rank, folder)
    return folder


@pytest.mark.parametrize("batch", BATCHES)
def test_two_ranks_find_what_one_process_finds(batch: int, root: Path, tmp_path: Path) -> None:
    expected, found = evaluated(tmp_path, batch=batch), report(root / str(batch), "test")
    assert means(found) == pytest.approx(means(expected), rel=1e-6)
    assert found["count"] == expected["count"]
