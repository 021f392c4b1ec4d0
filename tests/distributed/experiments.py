"""The synthetic experiment of every method that there is, built as the command line builds it, on little data.

Nothing here names a method: one that is added is tested by being there.
"""

from collections.abc import Sequence
from pathlib import Path
from types import MethodType
from typing import Any, NamedTuple

import lightning.pytorch as pl
from torch.utils.data import Dataset

from repsynth.cli import every_run, experiments
from repsynth.cli.configuration import merge, read_yaml
from repsynth.cli.parsing import CommandLine, parse
from repsynth.cli.saved_config import SavedConfig
from repsynth.cli.training import build_trainer, instantiate
from repsynth.datamodules.base import DataModule, length
from repsynth.datamodules.samplers import SampleKey

ROOT = Path(__file__).parents[2]
SYNTHETIC = [path for path in experiments.files(ROOT / "experiments") if path.name == "synthetic.yaml"]
_COUNTED = ("train_", "val_", "test_", "eval_", "real_", "predict_")
"""How options of a data module begin that say how many samples there are."""
_NO_COUNTS = ("eval_batch_size", "eval_seed")


class Run(NamedTuple):
    """What the command line builds of an experiment."""

    trainer: pl.Trainer
    module: pl.LightningModule
    data: DataModule


def method(path: Path) -> str:
    """The name of an experiment's method, for the names of tests."""
    return path.parent.name


def words(path: Path, *more: str) -> list[str]:
    """The words after the verb: an experiment on the CPU, loaded in its own process, silent."""
    fixed = ["--trainer.accelerator=cpu", "--data.num_workers=0", "--trainer.enable_progress_bar=false"]
    return [f"--config={path}", *fixed, "--trainer.enable_model_summary=false", *more]


def counts(path: Path, samples: int) -> list[str]:
    """The words that give every part of an experiment's data so many samples."""
    options = read_yaml(path)["data"]["init_args"]
    names = [name for name in options if name.startswith(_COUNTED) and name not in _NO_COUNTS]
    assert names, f"{path}: no option of data begins with one of {', '.join(_COUNTED)}, so its size is unknown"
    return [f"--data.{name}={samples}" for name in names]


def parsed(given: Sequence[str]) -> CommandLine:
    """The configuration of these words."""
    return parse(given, merge(given))


def build(root: Path, given: Sequence[str], extra: tuple[pl.Callback, ...] = (), **trainer: Any) -> Run:  # noqa: ANN401
    """Build a run in a folder, with the callbacks `extra` before the experiment's own and settings of the Trainer."""
    command = parsed([*given, f"--trainer.default_root_dir={root}"])
    pl.seed_everything(command.config.seed_everything, verbose=False)
    module, data, settings = instantiate(command)
    assert isinstance(data, DataModule)
    settings["callbacks"] = [*extra, *settings["callbacks"]]
    complete = every_run.complete(settings | trainer, root, SavedConfig(command.plain()))
    return Run(build_trainer(complete), module, data)


class Few(Dataset[Any]):
    """The first `count` examples of a data set, of which each is asked for as it would be."""

    def __init__(self, dataset: Dataset[Any], count: int) -> None:
        assert length(dataset) >= count
        self.dataset, self.count = dataset, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: SampleKey) -> Any:  # noqa: ANN401
        return self.dataset[key]

    def __getitems__(self, keys: list[SampleKey]) -> list[Any]:
        together = getattr(self.dataset, "__getitems__", None)
        return together(keys) if together else [self.dataset[key] for key in keys]


def shorten(data: DataModule, **samples: int) -> None:
    """Let the data sets that methods of a data module give (`train_dataset=5`) end after so many samples."""
    for name, count in samples.items():
        whole = getattr(type(data), name)

        def few(self: DataModule, *stage: Any, whole: Any = whole, count: int = count) -> Few:  # noqa: ANN401
            return Few(whole(self, *stage), count)

        setattr(data, name, MethodType(few, data))
