"""The trials of a sweep as Markdown, CSV and JSON."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from repsynth.cli.sweeps.file import Sweep
from repsynth.cli.sweeps.outcome import Outcome, as_record
from repsynth.cli.sweeps.plan import short_names, shown, varying
from repsynth.exports.files import write_bytes, write_json

NAME = "trials"
"""Of the files, in the folder of the sweep."""


def write_tables(sweep: Sweep, outcomes: Sequence[Outcome], root: Path) -> None:
    """Write `trials.md`, `trials.csv` and `trials.json`, each whole or not at all."""
    best = best_trial(sweep, outcomes)
    write_bytes(root / f"{NAME}.md", (markdown(sweep, outcomes) + "\n").encode())
    write_bytes(root / f"{NAME}.csv", _csv(sweep, outcomes).encode())
    content = {
        "sweep": str(sweep.path),
        "method": sweep.method,
        "metric": None if sweep.metric is None else vars(sweep.metric),
        "best": None if best is None else best.trial.number,
        "trials": [as_record(outcome) for outcome in outcomes],
    }
    write_json(root / f"{NAME}.json", json.loads(json.dumps(content)))


def best_trial(sweep: Sweep, outcomes: Sequence[Outcome]) -> Outcome | None:
    """The finished trial with the best value of the metric; of equal ones the first."""
    sign = -1 if sweep.metric is not None and sweep.metric.goal == "maximize" else 1
    found = [
        (sign * each.measured.best, each.trial.number, each)
        for each in outcomes
        if each.state == "finished" and each.measured
    ]
    return min(found)[2] if found else None


def markdown(sweep: Sweep, outcomes: Sequence[Outcome]) -> str:
    """The table, and the best trial below it."""
    names = varying(sweep)
    short = short_names(names)
    metric = [] if sweep.metric is None else [sweep.metric.name, "at samples", "last"]
    rows = [["trial", *(short[name] for name in names), *metric, "minutes", "state"]]
    for each in outcomes:
        parameters = [shown(each.trial.parameters[name]) for name in names]
        rows.append(
            [f"{each.trial.number:03d}", *parameters, *_figures(sweep, each), _minutes(each), each.state]
        )
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    table = "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
    return "\n".join([table, *_reasons(outcomes), *_best(sweep, outcomes)])


def _figures(sweep: Sweep, outcome: Outcome) -> list[str]:
    if sweep.metric is None:
        return []
    if outcome.measured is None:
        return ["-", "-", "-"]
    found = outcome.measured
    return [f"{found.best:.6g}", str(found.samples), f"{found.last:.6g}"]


def _minutes(outcome: Outcome) -> str:
    return f"{outcome.seconds / 60:.1f}" if outcome.seconds else "-"


def _reasons(outcomes: Sequence[Outcome]) -> list[str]:
    failed = [each for each in outcomes if each.state == "failed"]
    return (
        ["", *(f"trial {each.trial.number:03d} failed: {each.reason}" for each in failed)] if failed else []
    )


def _best(sweep: Sweep, outcomes: Sequence[Outcome]) -> list[str]:
    best = best_trial(sweep, outcomes)
    if sweep.metric is None or best is None or best.measured is None:
        return []
    options = " ".join(f"--{name}={value}" for name, value in best.trial.parameters.items())
    return [
        "",
        f"best: trial {best.trial.number:03d}, {sweep.metric.name} {best.measured.best:.6g}, {options}",
    ]


def _csv(sweep: Sweep, outcomes: Sequence[Outcome]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(sweep.parameters)
    writer.writerow(["trial", "name", *names, "metric", "samples", "last", "seconds", "state"])
    for each in outcomes:
        found = each.measured
        figures = ["", "", ""] if found is None else [found.best, found.samples, found.last]
        parameters = [each.trial.parameters[name] for name in names]
        row = [each.trial.number, each.trial.name, *parameters, *figures, round(each.seconds, 1), each.state]
        writer.writerow(row)
    return text.getvalue()
