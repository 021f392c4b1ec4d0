"""What became of a trial, kept beside its run so that the next call knows."""

import csv
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from repsynth.cli.sweeps.file import Metric
from repsynth.cli.sweeps.plan import Trial
from repsynth.errors import UserError
from repsynth.exports.files import write_json

State = Literal["waiting", "running", "finished", "interrupted", "failed"]
_RECORD = "trial.json"
LOG = "trial.log"
"""What a trial prints."""


@dataclass(frozen=True)
class Measured:
    """A metric over the evaluations of a trial.

    Attributes:
        best: its best value.
        samples: seen when it was best.
        last: its last value.
    """

    best: float
    samples: int
    last: float


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        trial: which.
        state: of it.
        seconds: that it ran, over all starts.
        reason: why it failed, in a line; else empty.
        measured: its metric; None where the sweep has none, or nothing was logged.
    """

    trial: Trial
    state: State = "waiting"
    seconds: float = 0.0
    reason: str = ""
    measured: Measured | None = None


def read_outcome(trial: Trial, root: Path, metric: Metric | None) -> Outcome:
    """What the directory of a trial says of it.

    Raises:
        UserError: it holds another trial.
    """
    others = [path for path in root.glob(f"{trial.number:03d}-*") if path.name != trial.name]
    record = root / trial.name / _RECORD
    if others or not record.is_file():
        if others:
            raise UserError(_another(root, others[0].name, trial))
        return Outcome(trial)
    content = json.loads(record.read_text())
    if content["parameters"] != json.loads(json.dumps(trial.parameters)):
        raise UserError(_another(root, trial.name, trial))
    state: State = "interrupted" if content["state"] == "running" else content["state"]
    outcome = Outcome(trial, state, content["seconds"], content["reason"])
    return with_metric(outcome, root, metric) if state == "finished" else outcome


def write_outcome(outcome: Outcome, root: Path) -> None:
    """Keep what became of a trial in its directory."""
    content = {**asdict(outcome), "number": outcome.trial.number, "parameters": outcome.trial.parameters}
    for key in ("trial", "measured"):
        del content[key]
    write_json(root / outcome.trial.name / _RECORD, content)


def with_metric(outcome: Outcome, root: Path, metric: Metric | None) -> Outcome:
    """The outcome with what the trial's CSV files say of the metric."""
    if metric is None:
        return outcome
    return replace(outcome, measured=measured(root / outcome.trial.name, metric))


def measured(run: Path, metric: Metric) -> Measured | None:
    """The metric over the evaluations of a run directory; of an evaluation that a resumed run repeated, the later one.

    Returns:
        None when it was never logged as a finite number.
    """
    values: dict[int, float] = {}
    for path in sorted(run.glob("csv/*/metrics.csv"), key=_start):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row.get(metric.name) and math.isfinite(float(row[metric.name])):
                    values[int(float(row["step"]))] = float(row[metric.name])
    if not values:
        return None
    choose = max if metric.goal == "maximize" else min
    best = choose(values, key=lambda samples: values[samples])
    return Measured(values[best], best, values[max(values)])


def last_words(log: Path) -> str:
    """The line of a log that says why a run ended: its sentence, else the last one."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    sentences = [line for line in lines if line.startswith("error: ")]
    return (sentences or lines or ["nothing was printed"])[-1]


def _start(path: Path) -> tuple[int, str]:
    """CSV files in the order of the starts: version_2 before version_10."""
    digits = "".join(filter(str.isdigit, path.parent.name))
    return int(digits or 0), path.parent.name


def _another(root: Path, name: str, trial: Trial) -> str:
    return (
        f"{root / name} holds a trial {trial.number} with other parameters, so the sweep file or --seed has changed; "
        "choose another folder with --root"
    )


def as_record(outcome: Outcome) -> dict[str, Any]:
    """An outcome for the JSON table."""
    measured = None if outcome.measured is None else asdict(outcome.measured)
    return {
        "number": outcome.trial.number,
        "name": outcome.trial.name,
        "parameters": outcome.trial.parameters,
        "state": outcome.state,
        "seconds": outcome.seconds,
        "reason": outcome.reason,
        "metric": measured,
    }
