"""The synthetic experiment of every method that there is, built as the command line builds it, on little data.

A method that is added is tested by being there; by default one stands for all where `each_method` says so.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import MethodType
from typing import Any, NamedTuple

import lightning.pytorch as pl
import pytest
from torch.utils.data import Dataset

from repsynth.cli import every_run, experiments
from repsynth.cli.configuration import merge, read_yaml
from repsynth.cli.parsing import parse
from repsynth.cli.saved_config import SavedConfig
from repsynth.cli.training import build_trainer, instantiate
from repsynth.datamodules.base import DataModule, length
from repsynth.datamodules.samplers import SampleKey
from repsynth.metrics.set_scores import SetOptions
from repsynth.metrics.translation_scores import TranslationOptions

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


each_method = pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=() if method(path) == "cips" else pytest.mark.slow) for path in SYNTHETIC],
    ids=method,
)
"""A test for the experiment at `path` of every method. By default one of them is enough: the cheapest of those with
several optimisers, which is the harder case."""


def distinct(part: Callable[[dict[str, Any]], object]) -> dict[str, Path]:
    """One of the experiments that agree in a part of their files, by the names of all of their methods."""
    agreeing: dict[str, list[Path]] = {}
    for path in SYNTHETIC:
        agreeing.setdefault(repr(part(read_yaml(path))), []).append(path)
    return {"+".join(map(method, paths)): paths[0] for paths in agreeing.values()}


def words(path: Path, *more: str) -> list[str]:
    """The words after the verb: an experiment on the CPU, loaded in its own process, silent."""
    fixed = ["--trainer.accelerator=cpu", "--data.num_workers=0", "--trainer.enable_progress_bar=false"]
    return [f"--config={path}", *fixed, "--trainer.enable_model_summary=false", *more]


def counts(path: Path, samples: int) -> list[str]:
    """The words that give every part of an experiment's data so many samples."""
    options = read_yaml(path)["data"]["init_args"]
    names = [name for name in options if name.startswith(_COUNTED) and name not in _NO_COUNTS]
    assert names, (
        f"{path}: no option of data begins with one of {', '.join(_COUNTED)}, so its size is unknown"
    )
    return [f"--data.{name}={samples}" for name in names]


def smallest(path: Path) -> list[str]:
    """The words with which an experiment's steps take milliseconds; none for a method that has not told them."""
    told = Path(__file__).parent / "smallest" / f"{method(path)}.yaml"
    return [f"--{name}={value}" for name, value in read_yaml(told).items()] if told.exists() else []


def build_data(path: Path, **options: Any) -> DataModule:  # noqa: ANN401
    """The data module of an experiment, loaded in its own process, with other options than the file's."""
    node = read_yaml(path)["data"]
    module, _, name = node["class_path"].rpartition(".")
    data = getattr(import_module(module), name)(**node["init_args"] | {"num_workers": 0} | options)
    assert isinstance(data, DataModule)
    return data


def build(
    root: Path,
    given: Sequence[str],
    extra: tuple[pl.Callback, ...] = (),
    without: tuple[type[pl.Callback], ...] = (),
    **trainer: Any,  # noqa: ANN401
) -> Run:
    """Build a run as the command line does.

    Args:
        root: the run's folder.
        given: the words after the verb.
        extra: callbacks that come before the experiment's own.
        without: kinds of the experiment's own that are left out.
        trainer: settings of the Trainer.
    """
    every = [*given, f"--trainer.default_root_dir={root}"]
    command = parse(every, merge(every))
    pl.seed_everything(command.config.seed_everything, verbose=False)
    module, data, settings = instantiate(command)
    assert isinstance(data, DataModule)
    own = [callback for callback in settings["callbacks"] if not isinstance(callback, without)]
    settings["callbacks"] = [*extra, *own]
    complete = every_run.complete(settings | trainer, root, SavedConfig(command.plain()))
    return Run(build_trainer(complete), module, data)


def evaluation_options(content: dict[str, Any]) -> dict[str, Any]:
    """The options of a configuration's callback of figures."""
    callbacks = content["trainer"]["callbacks"]
    (options,) = (each["init_args"] for each in callbacks if each["class_path"].endswith(".Evaluation"))
    nested = {"sets": SetOptions, "translations": TranslationOptions}
    return options | {name: kind(**options[name]) for name, kind in nested.items() if name in options}


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
