"""`repsynth benchmark nvs`: check everything, test every model on every data set, time them, report."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule, LightningModule

from repsynth.batches import PosedViews
from repsynth.benchmark import circumstances, speed, trials
from repsynth.benchmark.entrants import DataSet, Entrant
from repsynth.benchmark.observers import Coverage, Examples, require_same
from repsynth.benchmark.protocol import NvsProtocol, settled
from repsynth.benchmark.published import find
from repsynth.benchmark.report import Report
from repsynth.benchmark.results import Outcome, parameters, result
from repsynth.callbacks.preflight import check_writable
from repsynth.cli import checks, starting_point
from repsynth.cli.parsing import CommandLine
from repsynth.errors import UserError
from repsynth.metrics.scores import Scores


@dataclass(frozen=True)
class Comparison:
    """What the user asked for.

    Attributes:
        entrants: The models.
        data_sets: The data, as given.
        protocol: The conditions.
        protocol_path: Their file.
        device: Where the models run.
        root: Where configurations, rows per image and tables go.
    """

    entrants: Sequence[Entrant]
    data_sets: Sequence[DataSet]
    protocol: NvsProtocol
    protocol_path: Path
    device: torch.device
    root: Path

    def folder(self, data: DataSet, model: Entrant, seed: int | None = None) -> Path:
        """Where the files of one model on one data set lie, and those of one of several tests."""
        folder = self.root / data.name / model.name
        return folder if seed is None or len(self.protocol.seeds) == 1 else folder / f"seed-{seed}"


def compare(comparison: Comparison) -> Report:
    """Check everything, then measure everything.

    Raises:
        UserError: a mistake in models, data, protocol or output folder, before anything is computed or written; later
            only for data that give different examples at different times.
    """
    protocol, file = comparison.protocol, comparison.protocol_path
    sets = [settled(protocol, file, data) for data in comparison.data_sets]
    counts = check(comparison, sets)
    results = []
    for data in sets:
        tests = _test_all(comparison, data)
        speeds = _race(comparison, data) if protocol.repeats else {}
        for model in comparison.entrants:
            path = comparison.folder(data, model) / "images.csv"
            name = model.name
            results.append(result(model, data.name, tests[name], counts[name], speeds.get(name), path))
    return Report(
        results,
        [find(key) for key in protocol.published],
        circumstances.described(protocol, file, comparison.device),
        circumstances.notes(protocol, file, comparison.device),
    )


# Before anything runs.


def check(comparison: Comparison, sets: Sequence[DataSet]) -> dict[str, int]:
    """Build every model and every data set once, and look at all that could stop the comparison later.

    Returns:
        By model, how many parameters it has.

    Raises:
        UserError: the first mistake.
    """
    check_writable(comparison.root)
    if comparison.root.exists() and any(comparison.root.iterdir()):
        raise UserError(f"--out {comparison.root} holds files already; name a new folder or empty this one")
    protocol = comparison.protocol
    scores = Scores(
        protocol.metrics,
        protocol.crop,
        lpips_backbone=protocol.lpips.backbone,
        lpips_weights=protocol.lpips.weights,
    )
    counts = {}
    for data in sets:
        for model in comparison.entrants:
            module, source, _ = trials.build(_command(comparison, data, model, 0))
            _check_weights(module, model)
            checks.inputs(module, source, "test")
            _check_size(scores, source)
            counts[model.name] = parameters(module)
    return counts


def _check_weights(module: LightningModule, model: Entrant) -> None:
    if model.checkpoint is not None:
        starting_point.check(module, model.checkpoint)
    elif count := parameters(module):
        raise UserError(
            f"--models {model.name}: {type(module).__name__} has {count} parameters and no weights were given; name a "
            "run directory or a checkpoint"
        )


def _check_size(scores: Scores, data: LightningDataModule) -> None:
    """Raise UserError when a metric cannot take the images of a data set."""
    if size := getattr(data, "image_size", None):
        blank = torch.zeros(1, 3, *size)
        scores(blank, blank)


def _command(comparison: Comparison, data: DataSet, model: Entrant, seed: int) -> CommandLine:
    protocol = comparison.protocol
    config = trials.experiment(
        comparison.folder(data, model, seed),
        model.model,
        data.data,
        [*model.averages, protocol.evaluation],
        seed,
        accelerator=comparison.device.type,
        devices=1 if comparison.device.type == "cpu" else [comparison.device.index or 0],
        precision=protocol.precision,
    )
    views = {
        f"data.init_args.{name}": f"in {comparison.protocol_path}"
        for name in ("image_size", "fit", *protocol.views)
    }
    return trials.settle(config, {"model": model.origin, "data": data.origin, **views})


# The figures.


def _test_all(comparison: Comparison, data: DataSet) -> dict[str, list[Outcome]]:
    """The tests of all models on one data set, a test per seed."""
    tests: dict[str, list[Outcome]] = {}
    first: tuple[str, dict[str, int]] | None = None
    for model in comparison.entrants:
        tests[model.name] = []
        for seed in comparison.protocol.seeds:
            _say(f"figures of '{model.name}' on '{data.name}'")
            test = _test(comparison, data, model, seed)
            first = first or (model.name, test.examples)
            require_same(first, (model.name, test.examples), data.name)
            tests[model.name].append(test)
    return tests


def _test(comparison: Comparison, data: DataSet, model: Entrant, seed: int) -> Outcome:
    examples, coverage = Examples(seed), Coverage(comparison.protocol.crop)
    command = _command(comparison, data, model, seed)
    tested = trials.test(command, model.checkpoint, [examples, coverage])
    return Outcome(tested, examples.seen, coverage.shares)


# The speed.


def _race(comparison: Comparison, data: DataSet) -> dict[str, speed.Speed]:
    """Time all models on the first example of a data set; their weights do not matter to that."""
    _say(f"speed and memory on '{data.name}'")
    protocol, device = comparison.protocol, comparison.device
    models: dict[str, LightningModule] = {}
    memory: dict[str, int | None] = {}
    batch: PosedViews | None = None
    for model in comparison.entrants:
        command = _command(comparison, data, model, protocol.seeds[0])
        models[model.name], module, _ = trials.build(command)
        batch = batch or _first_batch(module)
        config = comparison.folder(data, model, protocol.seeds[0]) / "config.yaml"
        memory[model.name] = speed.peak_memory(config, models[model.name], batch, protocol.precision, device)
    assert batch is not None
    for each in models.values():
        each.to(device)
    times = speed.race(models, speed.to_device(batch, device), protocol.precision, protocol.repeats)
    return {name: speed.Speed(*times[name], memory[name]) for name in models}


def _first_batch(data: LightningDataModule) -> PosedViews:
    data.prepare_data()
    data.setup("test")
    batch: PosedViews = data.on_after_batch_transfer(next(iter(data.test_dataloader())), 0)
    return batch


def _say(text: str) -> None:
    print(text, file=sys.stderr)
