"""What a run has logged, over all its starts."""

import csv
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from repsynth.callbacks import status

Curve = dict[int, str]
"""Values as they stand in the file, by samples seen."""


def merged(root: Path) -> dict[str, Curve]:
    """The curves of the CSV files of all starts.

    A start that was killed may have logged more than it saved, and the next one logs that again: the values must be
    the same.

    Raises:
        AssertionError: A value stands twice in a start, or differs between starts.
    """
    curves: dict[str, Curve] = {}
    for path in _files(root):
        for name, curve in _read(path).items():
            known = curves.setdefault(name, {})
            odd = [step for step in curve if known.get(step, curve[step]) != curve[step]]
            assert not odd, f"{path}: {name} at {odd} is not what an earlier start logged"
            known |= curve
    return curves


def tensorboard(root: Path) -> dict[str, dict[int, float]]:
    """The curves of TensorBoard's files of all starts, of values that were logged twice the later."""
    files = EventAccumulator(
        str(root / "tensorboard"), size_guidance={"scalars": 0}, purge_orphaned_data=False
    ).Reload()
    return {
        name: {event.step: event.value for event in files.Scalars(name)} for name in files.Tags()["scalars"]
    }


def repeated(root: Path) -> int:
    """Values that more than one start has logged."""
    values = sum(len(curve) for path in _files(root) for curve in _read(path).values())
    return values - sum(map(len, merged(root).values()))


def starts(root: Path) -> int:
    """Starts that have logged anything."""
    return len(_files(root))


def status_rows(root: Path) -> list[int]:
    """The samples at the rows of the status file."""
    return [row["samples"] for row in status.read(root / "status.jsonl")]


def _files(root: Path) -> list[Path]:
    return sorted(
        root.glob("csv/version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1])
    )


def _read(path: Path) -> dict[str, Curve]:
    """The curves of one start; a last line that a full disk cut short is none."""
    curves: dict[str, Curve] = {}
    lines = path.read_bytes().decode().splitlines(keepends=True)
    for row in csv.DictReader(line for line in lines if line.endswith("\n")):
        step = int(row.pop("step"))
        for name, value in row.items():
            curve = curves.setdefault(name, {})
            assert not (value and step in curve), f"{path}: {name} stands twice at {step}"
            if value:
                curve[step] = value
    return curves
