"""One test of one model on one data set, as an experiment of its own: what it is, and running it."""

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from repsynth.benchmark.runs import Tested, read_tested
from repsynth.callbacks.determinism import Determinism
from repsynth.cli import cpu_runs
from repsynth.cli.configuration import Configuration
from repsynth.cli.parsing import CommandLine, parse
from repsynth.cli.quiet import quiet_lightning
from repsynth.cli.training import instantiate as build

Node = dict[str, Any]
"""A `class_path` / `init_args` pair."""


def experiment(
    root: Path,
    model: Node,
    data: Node,
    callbacks: Sequence[Node],
    seed: int = 0,
    **trainer: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """The configuration of a test on one device that writes nothing but figures.

    Args:
        root: where its configuration and figures go.
        model: the section of that name.
        data: the section of that name.
        callbacks: what evaluates.
        seed: of what a method draws when it predicts.
        trainer: further options of the trainer.
    """
    return {
        "seed_everything": seed,
        "model": model,
        "data": data,
        "trainer": {
            "default_root_dir": str(root),
            "devices": 1,
            **trainer,
            "logger": False,
            "callbacks": list(callbacks),
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    }


def settle(config: dict[str, Any], origins: Mapping[str, str]) -> CommandLine:
    """Parse a configuration that nobody has written to a file.

    Args:
        config: complete or not.
        origins: dotted key -> where the user gave it, for the words of mistakes.

    Raises:
        UserError: the first mistake.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return parse([f"--config={path}"], Configuration(config, dict(origins)))


def test(command: CommandLine, checkpoint: Path | None = None, watching: Sequence[Callback] = ()) -> Tested:
    """Run a test, and write its configuration beside its figures.

    Args:
        command: from `settle`.
        checkpoint: weights; None for those that the module starts with.
        watching: callbacks that look on.

    Raises:
        UserError: from the data, the module or its checkpoint.
    """
    root = Path(command.config.trainer.default_root_dir)
    root.mkdir(parents=True, exist_ok=True)
    (root / "config.yaml").write_text(command.dump(), encoding="utf-8")
    model, data, settings = build(command)
    run(model, data, settings, checkpoint, watching)
    return read_tested(root)


def run(
    model: LightningModule,
    data: LightningDataModule,
    settings: dict[str, Any],
    checkpoint: Path | None,
    watching: Sequence[Callback],
) -> None:
    """Test built objects; `settings` are the trainer's."""
    callbacks = [Determinism(), *settings["callbacks"], *watching]
    with quiet_lightning():
        trainer = Trainer(**{**settings, "callbacks": callbacks})
    threads = torch.get_num_threads()
    cpu_runs.prepare(trainer, data)
    with warnings.catch_warnings():
        # The callbacks of training that a checkpoint also knows are left out on purpose.
        warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`")
        trainer.test(model, datamodule=data, ckpt_path=checkpoint, weights_only=True, verbose=False)
    torch.set_num_threads(threads)


def callbacks_of(config: dict[str, Any], ending: str) -> list[Node]:
    """The callbacks of a complete configuration whose class path has this ending."""
    given = config["trainer"].get("callbacks") or []
    nodes = given if isinstance(given, list) else [given]
    return [node for node in nodes if node["class_path"].endswith(ending)]
