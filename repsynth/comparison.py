"""Compare a finished run with the baselines that need no learning, on the run's own data and figures.

`python -m repsynth.comparison RUN` reads the run's configuration and `RUN/evaluation/test.{json,csv}`.
"""

import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Trainer

from repsynth.cli.configuration import merge, read_yaml
from repsynth.cli.parsing import parse
from repsynth.cli.quiet import quiet_lightning
from repsynth.errors import UserError

Figures = dict[str, float | None]
"""Mean of each figure over the test set; None where it is not finite."""

BASELINES = {
    "nearest input view": "repsynth.modules.stereo_baselines.module.NearestView",
    "reference on one plane at the true median depth": "repsynth.modules.stereo_baselines.module.PlaneWarp",
}
"""Class path by row title."""


@dataclass(frozen=True)
class Tested:
    """What `test` leaves in a directory."""

    figures: Figures
    conditions: tuple[object, ...]
    """Crop, settings of the figures, and ids of the samples: equal for what may stand in one table."""


def compare(run: Path) -> dict[str, Figures]:
    """Figures of the run and of both baselines, by row title.

    Args:
        run: directory of a run whose `test` has been called. Where several configurations were started in it, the
            last new one counts. The baselines' own figures go to `run/baselines`.

    Raises:
        UserError: the run has no configuration or no test figures, or was tested on other data or with other
            figures than its configuration says.
    """
    path = newest_config(run)
    config, tested = read_yaml(path), read_tested(run)
    rows = {}
    for title, class_path in BASELINES.items():
        baseline = score(class_path, config, run / "baselines" / class_path.rpartition(".")[2])
        if baseline.conditions != tested.conditions:
            raise UserError(
                f"{run / 'evaluation' / 'test.json'} comes from other samples, crop or figures than {path} names: "
                f"call `repsynth test --config {path}` again without overrides of data and Evaluation."
            )
        rows[title] = baseline.figures
    return rows | {config["model"]["class_path"].rpartition(".")[2]: tested.figures}


def newest_config(run: Path) -> Path:
    """The configuration that a run directory was last given: config.yaml, or the highest config-N.yaml."""
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
        report = json.loads(path.read_text())
        figures = {name: figure["mean"] for name, figure in report["figures"].items()}
        with path.with_suffix(".csv").open(newline="") as rows:
            ids = [row["id"] for row in csv.DictReader(rows)]
        return Tested(figures, (report["crop"], report["settings"], ids))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} or the .csv beside it is damaged ({error!r}): test the run again."
        ) from error


def score(class_path: str, config: dict[str, Any], root: Path) -> Tested:
    """Test a module without parameters on an experiment's data with the experiment's figures.

    Args:
        class_path: of the module.
        config: complete configuration of the experiment; its model and trainer are replaced.
        root: where the configuration of the baseline and its figures go.

    Raises:
        UserError: the experiment has no `Evaluation`.
    """
    path = root / "config.yaml"
    root.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(_as_test_of(class_path, config, root), sort_keys=False))
    words = [f"--config={path}"]
    command = parse(words, merge(words))
    objects = command.parser.instantiate_classes(command.config)
    with quiet_lightning():
        trainer = Trainer(**objects.trainer)
    trainer.test(objects.model, datamodule=objects.data, verbose=False)
    return read_tested(root)


def _as_test_of(class_path: str, config: dict[str, Any], root: Path) -> dict[str, Any]:
    callbacks = config["trainer"].get("callbacks") or []
    callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
    evaluation = [node for node in callbacks if node["class_path"].endswith(".Evaluation")]
    if not evaluation:
        raise UserError(
            "trainer.callbacks of the run's configuration has no Evaluation, so nothing says which figures to "
            "compare: add repsynth.callbacks.evaluation.Evaluation and test the run again."
        )
    return {
        "seed_everything": config["seed_everything"],
        "model": {"class_path": class_path},
        "data": config["data"],
        "trainer": {
            "default_root_dir": str(root),
            "accelerator": config["trainer"]["accelerator"],
            "devices": 1,
            "logger": False,
            "callbacks": evaluation,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    }


def table(rows: dict[str, Figures]) -> str:
    """Markdown table: a row per model, a column per figure; a dash for a figure that is not finite."""
    names = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for title, figures in rows.items():
        lines.append(f"| {title} | " + " | ".join(_cell(name, figures[name]) for name in names) + " |")
    return "\n".join(lines)


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if name == "psnr" else f"{value:.3f}"


def main(arguments: list[str]) -> int:
    """Print the table of one run."""
    if len(arguments) != 1:
        print("usage: python -m repsynth.comparison RUN", file=sys.stderr)
        return 2
    try:
        print(table(compare(Path(arguments[0]))))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
