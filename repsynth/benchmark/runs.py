"""What a run directory holds for those who compare runs."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repsynth.errors import UserError

Figures = dict[str, float | None]
"""Mean of each figure over the test set; None where it is not finite."""


@dataclass(frozen=True)
class Tested:
    """What `test` leaves in a directory."""

    report: dict[str, Any]
    """Content of `evaluation/test.json`."""
    names: list[str]
    """Of the figures."""
    rows: list[tuple[str, tuple[float, ...]]]
    """Id and figures of each sample, in the order of the ids."""

    @property
    def figures(self) -> Figures:
        """Means over the samples."""
        return {name: figure["mean"] for name, figure in self.report["figures"].items()}

    @property
    def ids(self) -> list[str]:
        """Of the samples."""
        return [name for name, _ in self.rows]

    @property
    def conditions(self) -> tuple[object, ...]:
        """Crop, settings of the figures, and ids of the samples: equal for what may stand in one table."""
        return self.report["crop"], self.report["settings"], self.ids


def newest_config(run: Path) -> Path:
    """The configuration that a run directory was last given: config.yaml, or the highest config-N.yaml.

    Raises:
        UserError: there is none.
    """
    found = sorted(run.glob("config*.yaml"), key=lambda path: (len(path.name), path.name))
    if not found:
        raise UserError(f"{run} has no config.yaml: name the directory of a run (trainer.default_root_dir).")
    return found[-1]


def read_tested(run: Path) -> Tested:
    """What the last `test` in a directory left.

    Raises:
        UserError: nothing, or a damaged file.
    """
    path = run / "evaluation" / "test.json"
    if not path.is_file():
        raise UserError(f"{path} is missing: call `repsynth test --config {run / 'config.yaml'}` first.")
    try:
        tested = Tested(json.loads(path.read_text()), *_read_rows(path.with_suffix(".csv")))
        assert tested.figures and tested.conditions
        return tested
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} or the .csv beside it is damaged ({error!r}): test the run again."
        ) from error


def _read_rows(path: Path) -> tuple[list[str], list[tuple[str, tuple[float, ...]]]]:
    with path.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    if header[:1] != ["id"]:
        raise ValueError(f"no column 'id' in {path.name}")
    return header[1:], [(name, tuple(map(float, figures))) for name, *figures in rows]
