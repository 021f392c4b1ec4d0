"""`repsynth data check`: the report on a data set, for readers and as JSON."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from repsynth.benchmark import trials
from repsynth.cli.configuration import merge
from repsynth.cli.parsing import parse
from repsynth.cli.quiet import drop_advertising, speak_plainly
from repsynth.datamodules.base import DataModule
from repsynth.datamodules.inspection import inspect
from repsynth.datamodules.inspection_report import Inspection, PartReport, Range
from repsynth.errors import UserError

_LISTED = 20
"""Sentences of one kind that are printed; the JSON file has all."""


def check(
    config: Path, overrides: Sequence[str], stage: str | None, workers: int, fast: bool, out: Path | None
) -> None:
    """Walk the data of an experiment and print what was found.

    Args:
        config: the experiment.
        overrides: of its options.
        stage: whose data is looked at, all parts for None.
        workers: processes; 0 looks in this one.
        fast: read the heads of pictures only.
        out: JSON file for everything that was found.

    Raises:
        UserError: the data section is refused, or at least one problem was found.
    """
    speak_plainly()
    drop_advertising()
    data = build_data(config, overrides)
    report = _with_progress(data, stage, workers, fast)
    print("\n".join(lines(report)))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    if report.problems:
        count = len(report.problems)
        number = "1 problem" if count == 1 else f"{count} problems, the first"
        raise UserError(f"{config}: its data would stop the experiment ({number}: {report.problems[0]})")


def build_data(config: Path, overrides: Sequence[str]) -> DataModule:
    """The data module of an experiment, and nothing else of it.

    Raises:
        UserError: a mistake in the configuration, or a data module that is none of ours.
    """
    arguments = [f"--config={config}", *overrides]
    merged = merge(arguments)
    plain = parse(arguments, merged).plain()
    baseline = {"class_path": "repsynth.modules.stereo_baselines.module.NearestView"}
    alone = trials.experiment(Path("unused"), baseline, plain["data"], [], plain["seed_everything"])
    data = trials.build(trials.settle(alone, merged.origins))[1]
    if not isinstance(data, DataModule):
        raise UserError(
            f"{type(data).__name__} is no repsynth.datamodules.base.DataModule, so `repsynth data check` does not know "
            "how to read it; derive it from that class"
        )
    return data


def lines(report: Inspection) -> Iterator[str]:
    """The report as text."""
    how = "only heads of pictures read" if report.fast else "every picture decoded"
    walked = any(found.scenes for found in report.parts.values())
    yield f"{report.data}: {report.seconds:.1f} s" + (
        f", {how}, {report.workers or 1} processes" if walked else ""
    )
    for part, found in report.parts.items():
        yield from _part_lines(part, found)
    for title, sentences in (("remarks", report.remarks), ("problems", report.problems)):
        if sentences:
            yield f"{title} ({len(sentences)})"
            yield from (f"  - {sentence}" for sentence in sentences[:_LISTED])
            if len(sentences) > _LISTED:
                yield f"  ... {len(sentences) - _LISTED} more; --json FILE lists all"
    if not report.problems:
        yield "no problems: the experiment can start"


def _part_lines(part: str, found: PartReport) -> Iterator[str]:
    samples = "" if found.samples is None else f"{found.samples} examples"
    if found.scenes:
        left = sum(map(len, found.dropped.values()))
        faulty = found.scenes - found.usable - left
        yield (
            f"{part}: {found.usable} of {found.scenes} scenes usable, {left} left out, {faulty} faulty; {found.views} "
            f"views, {found.missing} rows without picture, {found.unreadable} unreadable"
            + (f"; {samples}" if samples else "")
        )
    else:
        yield f"{part}: {samples or 'nothing'}"
    for title, counts in (("sizes", found.sizes), ("modes", found.modes)):
        if counts:
            yield f"  {title}: " + ", ".join(f"{name} ({count})" for name, count in counts.items())
    for title, values in (
        ("baselines", found.baselines),
        ("nearest depth", found.nearest),
        ("farthest depth", found.farthest),
    ):
        if values is not None:
            yield f"  {title}: {_shown(values)}"
    if found.images_per_second is not None:
        yield f"  {found.images_per_second:.0f} images/s per process"


def _shown(values: Range) -> str:
    least, median, greatest = (f"{value:.4g}" for value in values)
    return f"{least} / {median} / {greatest} (least / median / greatest, scene units)"


def _with_progress(data: DataModule, stage: str | None, workers: int, fast: bool) -> Inspection:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        tasks: dict[str, object] = {}

        def show(part: str, done: int, total: int) -> None:
            if part not in tasks:
                tasks[part] = bar.add_task(part, total=total)
            bar.update(tasks[part], completed=done)  # type: ignore[arg-type]

        return inspect(data, stage, workers, fast, show)
