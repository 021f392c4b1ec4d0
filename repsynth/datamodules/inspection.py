"""Walking a data set from end to end, and everything that is wrong with it, for `repsynth data check`.

`DataModule.check` is what a run does: it stops at the first fault and reads no pixels. This goes on after a fault and
decodes every picture.
"""

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

import numpy as np

from repsynth.datamodules.base import DataModule, Part, length
from repsynth.datamodules.inspection_report import Inspection, PartReport, Range
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.scene_data import SceneData
from repsynth.datamodules.scene_facts import SceneFacts, scene_facts
from repsynth.datamodules.survey import Survey
from repsynth.errors import UserError

_TOLERATED = 0.01
"""Share of training examples that a run may lose to unreadable pictures, see `unreadable.Losses`."""
_EXAMPLES = 16
"""How many are read of each part of a data module that has no scenes."""


Progress = Callable[[str, int, int], None]
"""Is told a part, how many of its scenes have been looked at, and how many there are."""


def inspect(data: DataModule, stage: str | None, workers: int, fast: bool, progress: Progress) -> Inspection:
    """Look at all that a stage reads.

    Args:
        data: of posed scenes, which are walked; of any other data module some examples are read.
        stage: `fit`, `validate`, `test` or `predict`; None for all parts.
        workers: processes; 0 looks in this one.
        fast: read the heads of pictures only.
        progress: is told how far it is.

    Raises:
        UserError: a worker process was killed.
    """
    started = time.perf_counter()
    report = Inspection(type(data).__name__, {}, [], [], 0.0, workers, fast)
    if isinstance(data, SceneData):
        report.data = data.dataset
        _walk(data, stage, report, progress)
    else:
        _read_examples(data, stage, report, progress)
    report.problems = list(dict.fromkeys(report.problems))
    report.seconds = time.perf_counter() - started
    return report


# Posed scenes.


def _walk(data: SceneData, stage: str | None, report: Inspection, progress: Progress) -> None:
    surveys: dict[Part, Survey] = {}
    for part in data.parts(stage):
        try:
            names = data.reader(part).names()
        except UserError as error:
            report.problems.append(str(error))
            continue
        facts = []
        for found in _all_facts(data, part, names, report):
            facts.append(found)
            progress(part, len(facts), len(names))
        report.parts[part] = _part_report(facts)
        _judge(data, part, facts, report)
        surveys[part] = _survey(facts)
    if set(surveys) == set(data.parts(stage)):
        _rehearse(data, stage, surveys, report)


def _all_facts(data: SceneData, part: Part, names: list[str], report: Inspection) -> Iterator[SceneFacts]:
    if report.workers == 0:
        yield from (scene_facts(data, part, name, report.fast) for name in names)
        return
    pool = ProcessPoolExecutor(report.workers, initializer=_begin, initargs=(data, part, report.fast))
    try:
        yield from pool.map(_look, names, chunksize=max(1, min(8, len(names) // (4 * report.workers))))
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process of the check was killed, perhaps for want of memory; use fewer with --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_subject: list[Any] = []
"""In a worker process: the arguments of `_begin`."""


def _begin(*subject: Any) -> None:  # noqa: ANN401
    _subject[:] = subject


def _look(name: str) -> SceneFacts:
    data, part, fast = _subject
    return scene_facts(data, part, name, fast)


def _part_report(facts: list[SceneFacts]) -> PartReport:
    kept = [each for each in facts if each.dropped is None]
    sound = [each for each in kept if not each.faults]
    seconds = sum(each.seconds for each in facts)
    return PartReport(
        scenes=len(facts),
        usable=len(sound),
        dropped=_dropped(facts),
        views=sum(each.views for each in kept),
        missing=sum(each.missing for each in kept),
        unreadable=sum(len(each.unreadable) for each in kept),
        sizes=dict(sum((each.sizes for each in kept), Counter()).most_common()),
        modes=dict(sum((each.modes for each in kept), Counter()).most_common()),
        baselines=_spread([each.baselines for each in sound if each.baselines]),
        nearest=_spread([(each.depth_range[0],) * 3 for each in sound if each.depth_range]),
        farthest=_spread([(each.depth_range[1],) * 3 for each in sound if each.depth_range]),
        images_per_second=sum(each.read for each in facts) / seconds if seconds else None,
    )


def _survey(facts: list[SceneFacts]) -> Survey:
    """What a run would find once the faults are put right."""
    kept = [each for each in facts if each.dropped is None]
    return Survey(
        [each.name for each in kept],
        [each.group for each in kept],
        _dropped(facts),
        sum(each.views for each in kept),
        sum(each.missing for each in kept),
    )


def _dropped(facts: list[SceneFacts]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for each in facts:
        if each.dropped is not None:
            reasons.setdefault(each.dropped, []).append(each.name)
    return reasons


def _spread(values: list[tuple[float, float, float]]) -> Range | None:
    if not values:
        return None
    table = np.array(values)
    return Range(float(table[:, 0].min()), float(np.median(table[:, 1])), float(table[:, 2].max()))


def _judge(data: SceneData, part: Part, facts: list[SceneFacts], report: Inspection) -> None:
    """Sort what was found of the scenes of a part into problems and remarks."""
    for each in facts:
        (report.problems if each.dropped is None else report.remarks).extend(each.faults)
    unreadable = [sentence for each in facts for sentence in each.unreadable]
    found = report.parts[part]
    if part == "train" and data.on_bad_image == "skip" and _lost(data, found) <= _TOLERATED:
        report.remarks += unreadable
    else:
        report.problems += unreadable
    for why, names in found.dropped.items():
        report.remarks.append(f"{part}: {len(names)} scenes {why}, left out, first {names[0]}")
    if found.missing:
        report.remarks.append(
            f"{part}: {found.missing} rows of camera files have no picture, {found.views} have"
        )


def _lost(data: SceneData, found: PartReport) -> float:
    """Share of examples with at least one unreadable picture, were these spread evenly."""
    share = found.unreadable / max(found.views, 1)
    return float(1 - (1 - share) ** (data.views.sources + data.views.novel))


def _rehearse(data: SceneData, stage: str | None, surveys: dict[Part, Survey], report: Inspection) -> None:
    """Do what a run does before its first step, with what was found instead of a survey."""
    data._surveys.update(surveys)
    steps: list[Callable[[], object]] = [
        partial(data._require_scenes, part, found) for part, found in surveys.items()
    ]
    steps += [partial(data.check, stage), *(partial(_count, data, part, report) for part in surveys)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they tell what the report tells
        report.problems += [sentence for step in steps for sentence in _complaints(step)]


# Other data.


def _read_examples(data: DataModule, stage: str | None, report: Inspection, progress: Progress) -> None:
    problems = _complaints(partial(data.check, stage))
    report.problems += problems
    if problems:
        return
    for part in data.parts(stage):
        report.parts[part] = PartReport()
        report.problems += _complaints(partial(_count, data, part, report))
        report.problems += _complaints(partial(_sample, data, part, report, progress))
    report.remarks.append(
        f"{report.data} has no scenes to walk: its own check ran, and {_EXAMPLES} examples of each part were read"
    )


def _sample(data: DataModule, part: Part, report: Inspection, progress: Progress) -> None:
    dataset, found = _dataset(data, part), report.parts[part]
    places = np.unique(np.linspace(0, length(dataset) - 1, _EXAMPLES).astype(int)).tolist()
    images, seconds, sizes = 0, 0.0, Counter[str]()
    for done, place in enumerate(places, 1):
        started = time.perf_counter()
        example, faults = None, []
        try:
            example = dataset[SampleKey(0, place)]
        except UserError as error:
            faults.append(str(error))
        seconds += time.perf_counter() - started
        report.problems += faults
        for shape in _pictures(example):
            count = int(np.prod(shape[:-3]))
            images += count
            sizes[f"{shape[-1]} x {shape[-2]}"] += count
        progress(part, done, len(places))
    found.sizes = dict(sizes.most_common())
    found.images_per_second = images / seconds if seconds and images else None


def _pictures(example: Any) -> Iterator[tuple[int, ...]]:  # noqa: ANN401  nested
    """The shapes of the uint8 images inside an example."""
    if isinstance(example, dict):
        for value in example.values():
            yield from _pictures(value)
    elif isinstance(example, list | tuple):
        for value in example:
            yield from _pictures(value)
    elif str(getattr(example, "dtype", "")).removeprefix("torch.") == "uint8" and example.ndim >= 3:
        yield tuple(example.shape)


# Both.


def _count(data: DataModule, part: Part, report: Inspection) -> None:
    """Count the examples of a part; for the training a whole batch has to be there."""
    if part == "train":
        data.train_dataloader()
        report.parts[part].samples = data.samples_per_epoch
    else:
        report.parts[part].samples = length(data.eval_dataset(part))


def _dataset(data: DataModule, part: Part) -> Any:  # noqa: ANN401
    return data.train_dataset() if part == "train" else data.eval_dataset(part)


def _complaints(step: Callable[[], object]) -> list[str]:
    """What a step refuses."""
    try:
        step()
    except UserError as error:
        return [str(error)]
    return []
