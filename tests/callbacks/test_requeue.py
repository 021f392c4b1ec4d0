"""A SLURM job is put back into the queue after the save, whatever `scontrol` does; a stand-in writes down its calls."""

import os
import signal
from pathlib import Path

import pytest
from distributed.harness import Sends, final_state
from distributed.toy import build

from repsynth.callbacks.checkpoint import Stopped
from repsynth.callbacks.requeue import job_id, put_back
from repsynth.checkpoints import seen

RUNNING = "   JobState=RUNNING Reason=None\n   PreemptEligibleTime=2026-11-29T20:33:20 PreemptTime={}\n"
ENDING = RUNNING.replace("RUNNING", "COMPLETING")
NOW = "2026-11-29T20:33:22"


@pytest.fixture(autouse=True)
def slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def scontrol(folder: Path, body: str) -> None:
    (folder / "scontrol").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "scontrol").chmod(0o755)


def calls(folder: Path, shown: str, number: int) -> list[str]:
    """The calls that change something, where `scontrol show job` answers `shown`."""
    called = folder / "called"
    called.touch()
    scontrol(folder, f"if [ $1 = show ]; then echo '{shown}'; else echo \"$@\" >> {called}; fi")
    put_back(number)
    return called.read_text().splitlines()


@pytest.mark.parametrize(
    ("number", "shown", "expected"),
    [
        (signal.SIGUSR1, RUNNING.format("None"), ["requeue 123"]),
        (signal.SIGTERM, RUNNING.format("None"), []),  # scancel --signal=TERM, or a plain kill
        (signal.SIGTERM, RUNNING.format(NOW), ["requeue 123"]),
        (signal.SIGTERM, ENDING.format("None"), []),  # scancel
        (signal.SIGTERM, ENDING.format(NOW), []),  # SLURM puts it back itself
    ],
)
def test_what_is_put_back(tmp_path: Path, number: int, shown: str, expected: list[str]) -> None:
    assert calls(tmp_path, shown, number) == expected


def test_outside_of_slurm_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")
    assert calls(tmp_path, RUNNING.format(NOW), signal.SIGUSR1) == []


def test_a_task_of_an_array_is_put_back_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an array 120_0 and 120_1 the last has the number 120, by which `scontrol` means both."""
    monkeypatch.setenv("SLURM_JOB_ID", "120")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "120")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    assert job_id() == "120_1"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "scontrol: No such file or directory"),
        ("echo 'Requeue is disabled for job 123' >&2; exit 1", "Requeue is disabled for job 123"),
        ("exit 3", "scontrol ended with code 3"),
    ],
)
def test_a_job_that_cannot_be_put_back_is_saved_and_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    body: str | None,
    reason: str,
) -> None:
    if body is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        scontrol(tmp_path, body)
    trainer, module, data = build(tmp_path, extra=(Sends(signal.SIGUSR1, 2),))
    with pytest.raises(Stopped) as stopped:
        trainer.fit(module, datamodule=data)
    assert stopped.value.code == 138 and seen(final_state(tmp_path)) == 8
    stopped_line, warning = capsys.readouterr().err.splitlines()[-2:]
    assert stopped_line.startswith("SIGUSR1: stopped after 8 samples")
    assert warning == (
        f"warning: job 123 could not be put back into the queue ({reason}): submit it again, everything is saved"
    )


def test_a_run_without_scontrol_leaves_quietly_at_sigterm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a container: whether the job is preempted cannot be known there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    put_back(signal.SIGTERM)
    assert capsys.readouterr().err == ""
