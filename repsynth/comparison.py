"""Compare a finished run with the baselines that need no learning, on the run's own data and figures.

`python -m repsynth.comparison RUN` reads `RUN/config.yaml` and `RUN/evaluation/test.json`.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer

from repsynth.cli.quiet import quiet_lightning
from repsynth.errors import UserError
from repsynth.modules.stereo_baselines.module import NearestView, PlaneWarp

Figures = dict[str, float]
"""Mean of each figure over the test set."""

BASELINES: dict[str, type[LightningModule]] = {
    "nearest input view": NearestView,
    "reference on one plane at the true median depth": PlaneWarp,
}


def compare(run: Path) -> dict[str, Figures]:
    """Figures of the run and of both baselines, by row title.

    Args:
        run: directory of a run whose `test` has been called.

    Raises:
        UserError: the run has no configuration or no test figures.
    """
    config = yaml.safe_load(_existing(run / "config.yaml", "is this a run directory?").read_text())
    tested = _existing(run / "evaluation" / "test.json", "call `repsynth test` with this run first")
    method = config["model"]["class_path"].rpartition(".")[2]
    baselines = {
        title: score(module(), config, run / "baselines" / module.__name__)
        for title, module in BASELINES.items()
    }
    return baselines | {method: means(tested)}


def score(module: LightningModule, config: dict[str, Any], root: Path) -> Figures:
    """Test a module on an experiment's data with the experiment's figures; files go below `root`."""
    evaluation = next(
        node for node in config["trainer"]["callbacks"] if node["class_path"].endswith(".Evaluation")
    )
    with quiet_lightning():
        trainer = Trainer(
            default_root_dir=root,
            devices=1,
            logger=False,
            callbacks=[_built(evaluation)],
            use_distributed_sampler=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    trainer.test(module, datamodule=_built(config["data"]), verbose=False)
    return means(root / "evaluation" / "test.json")


def means(path: Path) -> Figures:
    """Means in an evaluation file."""
    return {name: figure["mean"] for name, figure in json.loads(path.read_text())["figures"].items()}


def table(rows: dict[str, Figures]) -> str:
    """Markdown table: a row per model, a column per figure."""
    names = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for title, figures in rows.items():
        cells = (f"{figures[name]:.2f}" if name == "psnr" else f"{figures[name]:.3f}" for name in names)
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _built(node: dict[str, Any]) -> Any:  # noqa: ANN401  whatever class the configuration names
    module, _, name = node["class_path"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**node.get("init_args", {}))


def _existing(path: Path, hint: str) -> Path:
    if not path.is_file():
        raise UserError(f"{path} is missing: {hint}")
    return path


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
