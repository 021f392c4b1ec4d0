"""Compare a finished run with the baselines that need no learning, on the run's own data and figures.

`python -m repsynth.comparison RUN` reads the run's configuration and `RUN/evaluation/test.{json,csv}`. Several trained
models are compared by `repsynth benchmark`.
"""

import sys
from pathlib import Path
from typing import Any

from repsynth.benchmark import trials
from repsynth.benchmark.baselines import BASELINES
from repsynth.benchmark.report import shown
from repsynth.benchmark.runs import Figures, Tested, newest_config, read_tested
from repsynth.benchmark.tables import Table, markdown
from repsynth.cli.configuration import read_yaml
from repsynth.errors import UserError


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


def score(class_path: str, config: dict[str, Any], root: Path) -> Tested:
    """Test a module without parameters on an experiment's data with the experiment's figures.

    Args:
        class_path: of the module.
        config: complete configuration of the experiment; its model and trainer are replaced.
        root: where the configuration of the baseline and its figures go.

    Raises:
        UserError: the experiment has no `Evaluation`.
    """
    baseline = trials.experiment(
        root,
        {"class_path": class_path},
        config["data"],
        [_evaluation(config)],
        config["seed_everything"],
        accelerator=config["trainer"]["accelerator"],
    )
    return trials.test(trials.settle(baseline, {}))


def _evaluation(config: dict[str, Any]) -> trials.Node:
    found = trials.callbacks_of(config, ".Evaluation")
    if not found:
        raise UserError(
            "trainer.callbacks of the run's configuration has no Evaluation, so nothing says which figures to "
            "compare: add repsynth.callbacks.evaluation.Evaluation and test the run again."
        )
    return found[0]


def table(rows: dict[str, Figures]) -> str:
    """Markdown table: a row per model, a column per figure; a dash for a figure that is not finite."""
    names = list(next(iter(rows.values())))
    cells = [[title, *(shown(name, figures[name]) for name in names)] for title, figures in rows.items()]
    return markdown(Table(["", *names], cells))


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
