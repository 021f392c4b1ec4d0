"""The trials of a sweep as processes: run, counted, stopped and taken up again."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from repsynth.cli import main
from repsynth.cli.sweeps import local
from repsynth.cli.sweeps.file import Metric
from repsynth.cli.sweeps.outcome import Measured, measured
from repsynth.cli.sweeps.processes import Job, run_jobs, shares

COMMAND = ["${env}", "repsynth", "fit", "--config=experiments/toy_method/synthetic.yaml", "${args}"]
ROOT = Path("runs/sweeps/widths")
STUB = Path(__file__).with_name("stub.py")
PYTHON = sys.executable


@pytest.fixture
def stub(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy experiment, trained by a stand-in."""
    program = toy / "python"
    program.write_text(f'#!/bin/sh\nexec {PYTHON} -S {STUB} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(local.sys, "executable", str(program))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return toy


def write(widths: list[int], name: str = "widths", **changes: object) -> None:
    content: dict[str, Any] = {
        "command": COMMAND,
        "method": "grid",
        "metric": {"name": "val/psnr", "goal": "maximize"},
        "parameters": {"model.width": {"values": widths}, "model.kind": {"value": "tanh"}},
    }
    Path(f"{name}.yaml").write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))


def run(*words: str) -> int:
    return main(["sweep", "--local", "widths.yaml", *words])


def table() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "trials.json").read_text())
    return content


def calls(name: str) -> list[str]:
    return (ROOT / name / "calls.txt").read_text().splitlines()


def test_every_trial_runs_in_its_directory_and_the_best_is_named(
    stub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write([3, 4, 2])
    assert run() == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "| trial | width | val/psnr | at samples | last | minutes | state |",
        "|---|---|---|---|---|---|---|",
        f"| 000 | 3 | 10 | 4 | 3 | {out.splitlines()[2].split('|')[6].strip()} | finished |",
        f"| 001 | 4 | 24 | 8 | 22 | {out.splitlines()[3].split('|')[6].strip()} | finished |",
        f"| 002 | 2 | 10 | 4 | 2 | {out.splitlines()[4].split('|')[6].strip()} | finished |",
        "",
        "best: trial 001, val/psnr 24, --model.width=4 --model.kind=tanh",
    ]
    assert "trial 001 starts: runs/sweeps/widths/001-width-4\n" in err
    assert "trial 001 finished: val/psnr 24 after 8 samples\n" in err
    (words,) = calls("001-width-4")
    assert words == (
        "--config=experiments/toy_method/synthetic.yaml --model.width=4 --model.kind=tanh "
        "--trainer.default_root_dir=runs/sweeps/widths/001-width-4 --trainer.logger=true "
        "--trainer.enable_progress_bar=false --resume"
    )


def test_the_tables_say_the_same(stub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write([3, 4, 7])
    assert run() == 1
    shown = capsys.readouterr().out
    assert (ROOT / "trials.md").read_text() == shown
    found = table()
    assert found["sweep"] == "widths.yaml" and found["method"] == "grid" and found["best"] == 1
    assert found["metric"] == {"name": "val/psnr", "goal": "maximize"}
    assert [trial["state"] for trial in found["trials"]] == ["finished", "finished", "failed"]
    assert found["trials"][1]["metric"] == {"best": 24.0, "samples": 8, "last": 22.0}
    assert found["trials"][1]["parameters"] == {"model.width": 4, "model.kind": "tanh"}
    with (ROOT / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model.width"] for row in rows] == ["3", "4", "7"]
    assert [row["model.kind"] for row in rows] == ["tanh"] * 3
    assert [row["metric"] for row in rows] == ["10.0", "24.0", ""]
    assert [row["state"] for row in rows] == ["finished", "finished", "failed"]


def test_a_failed_trial_is_reported_and_the_others_go_on(
    stub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake, a crash and a kill, each with its reason; the next call tries them again and no other."""
    write([7, 6, 9, 4])
    assert run() == 1
    out, err = capsys.readouterr()
    log = "(all it printed: runs/sweeps/widths/000-width-7/trial.log)"
    assert f"trial 000 failed: error: seven is too many {log}" in err
    assert "trial 000 failed: error: seven is too many\ntrial 001 failed: ValueError: six\n" in out
    assert "trial 002 failed: killed by SIGKILL (SIGKILL often means that the memory was full)" in out
    assert "best: trial 003, val/psnr 24" in out
    assert run() == 1
    out, err = capsys.readouterr()
    assert "1 trial(s) below runs/sweeps/widths have finished before\n" in err
    assert "trial 002 starts again: " in err and "trial 003 starts" not in err
    assert [trial["state"] for trial in table()["trials"]] == ["failed", "failed", "finished", "finished"]
    assert [len(calls(f"{name}")) for name in ("000-width-7", "002-width-9", "003-width-4")] == [2, 2, 1]
    assert all("--resume" in words for words in calls("002-width-9"))


def test_a_metric_that_is_no_number_is_told_and_is_not_best(
    stub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write([5, 3])
    assert run() == 0
    out, err = capsys.readouterr()
    assert "trial 000 finished without ever logging a finite val/psnr\n" in err
    assert "| 000 | 5 | - | - | - |" in out and "best: trial 001, val/psnr 10" in out


def test_a_sweep_without_a_metric_has_no_best(stub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write([3], metric=None)
    Path("widths.yaml").write_text(Path("widths.yaml").read_text().replace("metric: null\n", ""))
    assert run() == 0
    out = capsys.readouterr().out
    assert out.startswith("| trial | minutes | state |\n") and "best" not in out
    assert table()["best"] is None


def test_an_interrupted_sweep_goes_on_where_it_was(stub: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """SIGTERM to the sweep reaches the running trial, which saves; what had not begun does not begin."""
    write([3, 8, 4])
    ready = ROOT / "001-width-8" / "ready"
    watcher = subprocess.Popen(
        [
            PYTHON,
            "-S",
            "-c",
            f"import os, time\nwhile not os.path.exists({str(ready)!r}): time.sleep(0.02)\n"
            f"os.kill({os.getpid()}, {int(signal.SIGTERM)})",
        ]
    )
    handler = signal.getsignal(signal.SIGTERM)
    assert run() == 128 + signal.SIGTERM
    watcher.wait()
    assert signal.getsignal(signal.SIGTERM) == handler
    assert [trial["state"] for trial in table()["trials"]] == ["finished", "interrupted", "waiting"]
    assert "trial 001 was interrupted; the same command goes on with it" in capfd.readouterr().err
    assert run() == 0
    assert [trial["state"] for trial in table()["trials"]] == ["finished"] * 3
    assert [len(calls(name)) for name in ("000-width-3", "001-width-8", "002-width-4")] == [1, 2, 1]


def test_a_sweep_that_was_killed_knows_what_ran(stub: Path) -> None:
    write([3, 4])
    assert run("--max-trials", "1") == 0
    record = ROOT / "000-width-3" / "trial.json"
    record.write_text(record.read_text().replace('"finished"', '"running"'))
    (ROOT / "000-width-3" / "csv" / "version_0" / "metrics.csv").unlink()
    (ROOT / "000-width-3" / "csv" / "version_0").rmdir()
    (ROOT / "000-width-3" / "csv").rmdir()
    assert run() == 0
    assert len(calls("000-width-3")) == 2


def test_another_sweep_in_the_same_folder_is_refused(stub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write([3, 4])
    assert run() == 0
    write([3, 5])
    assert run() == 2
    expected = (
        f"{ROOT}/001-width-4 holds a trial 1 with other parameters, so the sweep file or --seed has changed"
    )
    assert expected in capsys.readouterr().err
    write([3, 4], parameters={"model.width": {"values": [3, 4]}, "model.kind": {"value": "relu"}})
    assert run() == 2
    assert f"{ROOT}/000-width-3 holds a trial 0 with other parameters" in capsys.readouterr().err
    assert run("--root", "elsewhere") == 0
    assert Path("elsewhere/trials.md").is_file()


def test_a_folder_that_takes_nothing_is_refused(stub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write([3])
    assert run("--root", "widths.yaml/x") == 2
    assert "the output folder widths.yaml/x cannot be written" in capsys.readouterr().err


def test_trials_at_a_time_share_the_machine(stub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    write([2, 3])
    assert run("--jobs", "2") == 0
    cores = len(os.sched_getaffinity(0))
    found = sorted((ROOT / name / "machine.txt").read_text() for name in ("000-width-2", "001-width-3"))
    assert found == [f"{max(1, cores // 2)} 0,2", f"{max(1, cores // 2)} 1"]


def test_gpus_are_dealt_out() -> None:
    assert shares(["0", "1"], 1) == [None]
    assert shares([], 2) == [None, None]
    assert shares(["0", "1", "2", "3"], 2) == ["0,2", "1,3"]
    assert shares(["4", "6"], 3) == ["4", "6", "4"]


def test_no_more_than_asked_for_run_at_a_time(tmp_path: Path) -> None:
    words = [PYTHON, "-S", "-c", "import time; time.sleep(0.3)"]
    jobs = [Job(words, tmp_path / str(number) / "log") for number in range(4)]
    open_now: list[Path] = []
    most = 0

    def started(job: Job) -> None:
        nonlocal most
        open_now.append(job.log)
        most = max(most, len(open_now))

    def ended(job: Job, code: int, seconds: float) -> None:
        open_now.remove(job.log)
        assert code == 0 and seconds >= 0.3

    slots: list[int] = []

    def environment(slot: int) -> dict[str, str]:
        slots.append(slot)
        return dict(os.environ)

    assert run_jobs(jobs, 2, environment, started, ended) == 0
    assert most == 2 and open_now == [] and set(slots) == {0, 1}


def test_a_second_interrupt_kills_what_does_not_listen(tmp_path: Path) -> None:
    deaf = "import signal, time, pathlib; signal.signal(15, signal.SIG_IGN); pathlib.Path('up').touch(); time.sleep(60)"
    job = Job([PYTHON, "-S", "-c", deaf.replace("'up'", repr(str(tmp_path / "up")))], tmp_path / "log")
    interrupts = (
        f"import os, time\nwhile not os.path.exists({str(tmp_path / 'up')!r}): time.sleep(0.02)\n"
        f"for _ in range(2): os.kill({os.getpid()}, 2); time.sleep(0.4)"
    )
    watcher = subprocess.Popen([PYTHON, "-S", "-c", interrupts])
    codes: list[int] = []
    start = time.monotonic()
    number = run_jobs(
        [job], 1, lambda _: dict(os.environ), lambda _: None, lambda _, code, __: codes.append(code)
    )
    watcher.wait()
    assert number == signal.SIGINT and codes == [-signal.SIGKILL] and time.monotonic() - start < 30


def test_rows_that_a_resumed_run_repeats_count_once(tmp_path: Path) -> None:
    """The second start's row of the same samples replaces the first's; version_10 comes after version_9."""
    for version, rows in {"9": ["4,20", "8,30"], "10": ["8,21", "12,"]}.items():
        folder = tmp_path / "csv" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("step,val/psnr\n" + "\n".join(rows) + "\n")
    assert measured(tmp_path, Metric("val/psnr", "maximize")) == Measured(21.0, 8, 21.0)
    assert measured(tmp_path, Metric("val/psnr", "minimize")) == Measured(20.0, 4, 21.0)
    assert measured(tmp_path, Metric("val/ssim", "maximize")) is None


@pytest.mark.slow
def test_a_real_trial_trains(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = {
        "class_path": "repsynth.callbacks.evaluation.Evaluation",
        "init_args": {"metrics": ["psnr"]},
    }
    write([3], command=[*COMMAND, f"--trainer.callbacks+={json.dumps(evaluation)}"])
    monkeypatch.setenv("PYTHONPATH", str(toy))
    assert run() == 0, capsys.readouterr().out
    report = json.loads((ROOT / "000-trial" / "evaluation" / "val.json").read_text())
    assert table()["trials"][0]["metric"]["last"] == pytest.approx(
        report["figures"]["psnr"]["mean"], rel=1e-6
    )
    assert (ROOT / "000-trial" / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.slow
def test_a_real_trial_that_was_interrupted_ends_like_one_that_was_not(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(toy))
    epochs = "--trainer.max_epochs=600"
    write([3, 2], command=[*COMMAND, epochs], metric={"name": "train/l2"})
    sweep = subprocess.Popen([PYTHON, "-m", "repsynth", "sweep", "--local", "widths.yaml", "--max-trials=1"])
    begun = ROOT / "000-width-3" / "config.yaml"
    while not begun.exists():
        assert sweep.poll() is None
        time.sleep(0.02)
    sweep.send_signal(signal.SIGTERM)
    assert sweep.wait(timeout=60) == 128 + signal.SIGTERM
    state = torch.load(ROOT / "000-width-3" / "checkpoints" / "last.ckpt", weights_only=True)
    assert 0 < state["callbacks"]["Determinism"]["samples_seen"] < 3600
    assert table()["trials"][0]["state"] == "interrupted"
    assert run("--max-trials=1") == 0
    whole = ["--config", COMMAND[3].partition("=")[2], "--model.width=3", "--model.kind=tanh", epochs]
    assert main(["fit", *whole, "--trainer.default_root_dir=runs/whole"]) == 0
    ours, theirs = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (ROOT / "000-width-3", Path("runs/whole"))
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
