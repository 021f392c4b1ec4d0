"""Figures of sets on two ranks equal those of one process; one pair of processes does all of it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from callbacks.image_sets import OFFLINE, Painter, PictureSets, means, report, report_of_test, trainer_in
from callbacks.test_set_evaluation import Noisy, Pairs

from distributed.ranks import run_ranks
from repsynth.callbacks.evaluation import Evaluation
from repsynth.errors import UserError
from repsynth.metrics.ranks import from_first, is_first, to_first

BATCHES = (7, 16, 151)
"""The last one leaves the second rank without a batch."""
RANKS: dict[str, Any] = {"devices": 2, "strategy": "ddp"}


def note(root: Path, name: str, value: object) -> None:
    (root / f"{name}.{os.environ['LOCAL_RANK']}.json").write_text(json.dumps(value))


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(UserError) as raised:
        work()
    return str(raised.value)


def fail() -> object:
    raise UserError("one sentence")


def on_each_rank(root: Path) -> None:
    for batch in BATCHES:
        # A cache of its own, so that the ranks share the work on the real set each time.
        os.environ["REPSYNTH_CACHE"] = str(root / f"cache{batch}")
        data = PictureSets(eval_batch_size=batch)
        again = PictureSets(eval_batch_size=batch)
        trainer_in(root / str(batch), **RANKS).test(Painter(), data, verbose=False)
        trainer_in(root / f"{batch} cached", **RANKS).test(Painter(), again, verbose=False)
        note(root, f"read{batch}", [data.read, again.read])
    trainer = trainer_in(
        root / "fit", Evaluation(["fid", "recall"], sets=OFFLINE), num_sanity_val_steps=1, **RANKS
    )
    trainer.fit(Painter(), PictureSets(eval_batch_size=16, batch_size=4))
    note(root, "logged", {name: value.item() for name, value in trainer.callback_metrics.items()})
    pairs = trainer_in(root / "pairs", Evaluation(["kid", "psnr"], sets=OFFLINE), **RANKS)
    pairs.test(Noisy(), Pairs(eval_batch_size=16), verbose=False)
    note(root, "refused", [refused(fail_at_the_end), refused(lambda: from_first(fail))])
    gathered = to_first(dist.get_rank())
    assert gathered == ([0, 1] if is_first() else None)
    assert from_first(dist.get_rank) == 0
    # A rank that leaves while its threads still talk to the others may abort.
    dist.barrier()


def fail_at_the_end() -> None:
    """Only rank zero computes figures and notices."""
    data = PictureSets(eval_batch_size=1, test_samples=3)
    trainer_in(Path("unused"), Evaluation(["recall"], sets=OFFLINE), **RANKS).test(
        Painter(), data, verbose=False
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(2, on_each_rank, folder)
    return folder


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def noted(root: Path, name: str) -> list[Any]:
    return [json.loads((root / f"{name}.{rank}.json").read_text()) for rank in range(2)]


def without_numbers(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != "figures"}


@pytest.mark.parametrize("batch", BATCHES)
def test_two_ranks_find_what_one_process_finds(batch: int, root: Path, one: Path) -> None:
    expected = report_of_test(one, PictureSets(eval_batch_size=batch))
    for name in (str(batch), f"{batch} cached"):
        found = report(root / name, "test")
        assert means(found) == pytest.approx(means(expected), rel=1e-9)
        assert without_numbers(found) == without_numbers(expected)


@pytest.mark.parametrize("batch", BATCHES)
def test_ranks_share_the_work_on_the_real_set_once(batch: int, root: Path) -> None:
    assert noted(root, f"read{batch}") == [[1, 0], [1, 0]]
    assert len(list((root / f"cache{batch}").glob("set-*.npz"))) >= 1


def test_every_rank_logs_the_figures(root: Path, one: Path) -> None:
    first, second = noted(root, "logged")
    assert first == second
    assert set(first) == {"val/fid_random", "val/recall_random"}
    trainer_in(one).fit(Painter(), PictureSets(eval_batch_size=16, batch_size=4))
    expected = means(report(one, "val"))
    assert first["val/fid_random"] == pytest.approx(expected["fid_random"], rel=1e-5)


def test_pairs_count_once_over_the_ranks(root: Path, one: Path) -> None:
    trainer_in(one, Evaluation(["kid", "psnr"], sets=OFFLINE)).test(
        Noisy(), Pairs(eval_batch_size=16), verbose=False
    )
    expected, found = report(one, "test"), report(root / "pairs", "test")
    assert means(found) == pytest.approx(means(expected), rel=1e-9)
    assert without_numbers(found) == without_numbers(expected)


def test_what_rank_zero_refuses_is_told_by_all(root: Path) -> None:
    first, second = noted(root, "refused")
    assert first == second
    assert first[0].startswith(
        "precision and recall look at 3 neighbours of each image and got a set of 3 images"
    )
    assert first[1] == "one sentence"
