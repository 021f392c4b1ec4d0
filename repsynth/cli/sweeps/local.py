"""`repsynth sweep --local FILE`: checks a sweep and runs its trials here."""

import os
import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch

from repsynth.callbacks.preflight import check_writable
from repsynth.cli.cpu_runs import threads_for
from repsynth.cli.parsing import CommandLine
from repsynth.cli.quiet import drop_advertising, speak_plainly
from repsynth.cli.sweeps.checks import check_sweep, remarks
from repsynth.cli.sweeps.command import arguments
from repsynth.cli.sweeps.file import Sweep, read_sweep
from repsynth.cli.sweeps.outcome import (
    LOG,
    Outcome,
    State,
    last_words,
    read_outcome,
    with_metric,
    write_outcome,
)
from repsynth.cli.sweeps.plan import Trial, plan
from repsynth.cli.sweeps.processes import Job, run_jobs, shares
from repsynth.cli.sweeps.table import NAME, markdown, write_tables

_FAILED = 1
_ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Signals that ask a run to leave: an exit code of 128 + n tells that it saved before."""


def run_sweep(path: Path, root: Path | None, at_once: int, most: int | None, seed: int, dry_run: bool) -> int:
    """Run the trials of a sweep that have not finished yet, and print a table of all.

    Args:
        path: the sweep file.
        root: gets a directory for every trial and the tables; None takes runs/sweeps/NAME.
        at_once: trials at a time.
        most: most trials.
        seed: of a random draw.
        dry_run: only show the trials.

    Returns:
        0, 1 if a trial failed or was interrupted, or 128 + the signal that stopped the sweep.

    Raises:
        UserError: a mistake in the sweep, or `root` holds other trials.
    """
    speak_plainly()
    drop_advertising()
    sweep = read_sweep(path)
    command = check_sweep(sweep)
    trials = plan(sweep, most, seed)
    root = root or Path("runs") / "sweeps" / path.stem
    for remark in remarks(sweep):
        print(f"note: {remark}", file=sys.stderr)
    if dry_run:
        _show(sweep, trials, root)
        return 0
    check_writable(root)
    return _LocalSweep(sweep, trials, root).run(at_once, command)


class _LocalSweep:
    """The trials of a sweep and what has become of them so far."""

    def __init__(self, sweep: Sweep, trials: list[Trial], root: Path) -> None:
        self.sweep, self.root = sweep, root
        self.outcomes = {trial.name: read_outcome(trial, root, sweep.metric) for trial in trials}

    def run(self, at_once: int, command: CommandLine) -> int:
        """Run what has not finished, and print the table; see `run_sweep`."""
        unfinished = [each.trial for each in self.outcomes.values() if each.state != "finished"]
        if len(unfinished) < len(self.outcomes):
            _tell(f"{len(self.outcomes) - len(unfinished)} trial(s) below {self.root} have finished before")
        environments = _environments(at_once, command)
        jobs = [
            Job(
                [sys.executable, "-m", "repsynth", "fit", *_words(self.sweep, trial, self.root)],
                self._log(trial),
            )
            for trial in unfinished
        ]
        number = run_jobs(jobs, at_once, environments.__getitem__, self.started, self.ended)
        write_tables(self.sweep, list(self.outcomes.values()), self.root)
        print(markdown(self.sweep, list(self.outcomes.values())))
        _tell(f"tables: {self.root / NAME}.md, .csv, .json")
        if number:
            return 128 + number
        return 0 if all(each.state == "finished" for each in self.outcomes.values()) else _FAILED

    def started(self, job: Job) -> None:
        """Tell and keep that a trial runs."""
        outcome = self.outcomes[job.log.parent.name]
        again = " again" if outcome.state != "waiting" else ""
        _tell(f"trial {outcome.trial.number:03d} starts{again}: {job.log.parent}")
        self._keep(replace(outcome, state="running"))

    def ended(self, job: Job, code: int, seconds: float) -> None:
        """Tell and keep what became of a trial."""
        outcome = self.outcomes[job.log.parent.name]
        state = _state(code)
        reason = _reason(code, job.log) if state == "failed" else ""
        outcome = replace(outcome, state=state, seconds=outcome.seconds + seconds, reason=reason)
        outcome = with_metric(outcome, self.root, self.sweep.metric)
        self._keep(outcome)
        _tell(f"trial {outcome.trial.number:03d} {_told(self.sweep, outcome, job.log)}")

    def _keep(self, outcome: Outcome) -> None:
        self.outcomes[outcome.trial.name] = outcome
        write_outcome(outcome, self.root)
        write_tables(self.sweep, list(self.outcomes.values()), self.root)

    def _log(self, trial: Trial) -> Path:
        return self.root / trial.name / LOG


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _words(sweep: Sweep, trial: Trial, root: Path) -> list[str]:
    """What follows `repsynth fit` for a trial here: its own directory, local loggers, and from where it is."""
    words = arguments(sweep.command, trial.parameters)
    words += [
        f"--trainer.default_root_dir={root / trial.name}",
        "--trainer.logger=true",
        "--trainer.enable_progress_bar=false",
    ]
    return words if "--resume" in words else [*words, "--resume"]


def _state(code: int) -> State:
    if code == 0:
        return "finished"
    return "interrupted" if any(code in (-number, 128 + number) for number in _ASKED) else "failed"


def _reason(code: int, log: Path) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name} (SIGKILL often means that the memory was full)"
    return last_words(log)


def _told(sweep: Sweep, outcome: Outcome, log: Path) -> str:
    if outcome.state == "failed":
        return f"failed: {outcome.reason} (all it printed: {log})"
    if outcome.state == "interrupted":
        return "was interrupted; the same command goes on with it"
    if sweep.metric is None:
        return "finished"
    if outcome.measured is None:
        return f"finished without ever logging a finite {sweep.metric.name}"
    return (
        f"finished: {sweep.metric.name} {outcome.measured.best:.6g} after {outcome.measured.samples} samples"
    )


def _environments(at_once: int, command: CommandLine) -> list[dict[str, str]]:
    """The environment of each slot: its GPUs, and as many threads as leave the others theirs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = (
        [str(index) for index in range(torch.cuda.device_count())] if visible is None else visible.split(",")
    )
    own: dict[str, str] = {}
    if at_once > 1 and "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = command.config.data.get("init_args.num_workers") or 0
        own["OMP_NUM_THREADS"] = str(threads_for(cores, at_once, workers))
    return [
        {**os.environ, **own, **({} if given is None else {"CUDA_VISIBLE_DEVICES": given})}
        for given in shares([device for device in devices if device], at_once)
    ]


def _show(sweep: Sweep, trials: list[Trial], root: Path) -> None:
    print(f"{len(trials)} trial(s) of {sweep.path}, method {sweep.method}")
    for trial in trials:
        print(f"{trial.name}: repsynth fit {shlex.join(_words(sweep, trial, root))}")
