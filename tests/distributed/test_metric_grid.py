"""Figures on several ranks are those of one process, for all sizes of sets and batches, and for every method.

By default every size of a set meets one size of batches on two ranks; the slow test goes through all of both on two and
three, in validation and in test.
"""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from distributed.experiments import SYNTHETIC, counts, method, words
from distributed.metric_grid import (
    BATCHES,
    RANKS,
    SIZES,
    STAGES,
    Bench,
    Cell,
    Figures,
    evaluate_all,
    kinds,
    place,
)
from distributed.ranks import rank, run_ranks
from repsynth.cli import main

TOLERANCE = 1e-6
EVERY: list[Cell] = [(stage, size, batch) for stage in STAGES for size in SIZES for batch in BATCHES]
SOME: list[Cell] = [(STAGES[size % 2], size, size % 4 + 1) for size in SIZES]


def evaluate_as_rank(root: Path, world: int, cells: list[Cell]) -> None:
    os.environ["REPSYNTH_CACHE"] = str(root / "cache")  # so that the ranks share the work on the real sets
    found = evaluate_all([Bench(kind) for kind in kinds()], root, world, cells)
    (root / f"{rank()}.json").write_text(json.dumps(found))


def evaluated(root: Path, world: int, cells: list[Cell]) -> list[dict[str, Figures]]:
    """What each rank finds in every cell."""
    root.mkdir()
    run_ranks(world, evaluate_as_rank, root, world, cells, seconds=1000)
    return [json.loads((root / f"{number}.json").read_text()) for number in range(world)]


def check_equal(found: Figures, expected: Figures, where: str) -> None:
    if isinstance(found, str) or isinstance(expected, str):
        assert found == expected, where
        return
    assert found.keys() == expected.keys(), where
    for name, value in expected.items():
        assert abs(found[name] - value) <= TOLERANCE * max(1, abs(value)), f"{where}: {name}"


Cells = dict[int, list[Cell]]
"""By number of ranks."""


@pytest.fixture(
    scope="module",
    params=[{2: SOME}, pytest.param(dict.fromkeys(RANKS[1:], EVERY), marks=pytest.mark.slow)],
    ids=["some", "every"],
)
def one_process(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Cells, dict[str, Figures]]:
    """The cells, and the figures of one process, which are those that no Trainer and no batches lead to."""
    cells: Cells = request.param
    every = sorted({cell for some in cells.values() for cell in some})
    benches = [Bench(kind) for kind in kinds()]
    with pytest.MonkeyPatch.context() as monkeypatch:
        root = tmp_path_factory.mktemp("one")
        monkeypatch.setenv("REPSYNTH_CACHE", str(root / "cache"))
        found = evaluate_all(benches, root, 1, every)
    for bench in benches:
        for cell in every:
            stage, size, _ = cell
            name = place(bench, cell)
            check_equal(found[name], bench.directly(stage, size), f"one process, {name}")
    refused = [figures for figures in found.values() if isinstance(figures, str)]
    assert len(refused) < len(found) / 4
    return cells, found


@pytest.mark.timeout(1200)
def test_figures_are_those_of_one_process(
    one_process: tuple[Cells, dict[str, Figures]], tmp_path: Path
) -> None:
    """Where a figure cannot be had of so few images, all ranks refuse it with the same sentence."""
    cells, expected = one_process
    for world, wanted in cells.items():
        for number, found in enumerate(evaluated(tmp_path / f"{world} ranks", world, wanted)):
            assert len(found) == len(kinds()) * len(wanted)
            for name, figures in found.items():
                check_equal(figures, expected[name], f"rank {number} of {world}, {name}")


# The methods themselves, by the command line.


def given(path: Path, root: Path, ranks: int = 1) -> list[str]:
    """The words after the verb: five samples by two, so that ranks have unequal shares."""
    strategy = "ddp_find_unused_parameters_true" if ranks > 1 else "auto"
    placed = [
        f"--trainer.default_root_dir={root}",
        f"--trainer.devices={ranks}",
        f"--trainer.strategy={strategy}",
    ]
    return words(path, *counts(path, 5), "--data.batch_size=2", "--data.eval_batch_size=2", *placed)


def trained(root: Path, path: Path) -> str:
    return f"--ckpt_path={root / method(path) / 'trained' / 'checkpoints' / 'last.ckpt'}"


def figures_as_rank(root: Path) -> None:
    os.environ["REPSYNTH_CACHE"] = str(root / "cache of two")
    for path in SYNTHETIC:
        assert main(["test", *given(path, root / method(path) / "two", ranks=2), trained(root, path)]) == 0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every method after a step of training, tested by one process and by two ranks."""
    folder = tmp_path_factory.mktemp("methods")
    short = [
        f"--trainer.{limit}" for limit in ("limit_train_batches=1", "limit_val_batches=0", "max_epochs=1")
    ]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("REPSYNTH_CACHE", str(folder / "cache"))
        for path in SYNTHETIC:
            own = folder / method(path)
            assert main(["fit", *given(path, own / "trained"), *short]) == 0
            assert main(["test", *given(path, own / "one"), trained(folder, path)]) == 0
        run_ranks(2, figures_as_rank, folder)
        yield folder


def check_reports(found: Path, expected: Path) -> None:
    """The report files of two run directories, and their tables of single images where there are any."""
    folders = [root / "evaluation" for root in (found, expected)]
    reports = [json.loads((folder / "test.json").read_text()) for folder in folders]
    means = [{name: figure["mean"] for name, figure in report.pop("figures").items()} for report in reports]
    check_equal(*means, "test.json")
    assert reports[0] == reports[1], "what is said of the figures"
    assert reports[0]["count"] == 5
    tables = [rows(folder / "test.csv") for folder in folders]
    assert tables[0].keys() == tables[1].keys()
    for name, row in tables[1].items():
        check_equal(tables[0][name], row, name)


def rows(table: Path) -> dict[str, dict[str, float]]:
    """Figures of single images by id; nothing where a method has no pairs."""
    if not table.exists():
        return {}
    with table.open() as file:
        return {
            row.pop("id"): {name: float(value) for name, value in row.items()} for row in csv.DictReader(file)
        }


@pytest.mark.parametrize("path", SYNTHETIC, ids=method)
def test_a_method_has_the_same_figures_on_two_ranks(path: Path, root: Path) -> None:
    check_reports(root / method(path) / "two", root / method(path) / "one")


@pytest.mark.slow
def test_torchrun_writes_the_report_of_one_process(root: Path, tmp_path: Path) -> None:
    path = SYNTHETIC[-1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launched = subprocess.run(
        [*torchrun, "-m", "repsynth", "test", *given(path, tmp_path, ranks=2), trained(root, path)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=280,
        text=True,
        check=False,
    )
    assert launched.returncode == 0, launched.stdout
    assert "test: 2 x CPU" in launched.stdout
    check_reports(tmp_path, root / method(path) / "one")
