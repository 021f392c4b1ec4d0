"""A profile as tables for the screen and as JSON."""

import statistics
from collections.abc import Mapping
from typing import Any

from repsynth.cli.profiling.clock import Part
from repsynth.cli.profiling.results import Evaluated, Loader, Memory, Profile, Steps

_OF_TRAINING: dict[Part, str] = {
    "data": "waiting for data",
    "transfer": "to the device",
    "forward": "forward",
    "backward": "backward",
    "optimiser": "optimiser",
    "callbacks": "callbacks and logging",
}
_OF_EVALUATION: dict[Part, str] = {
    "data": "waiting for data",
    "transfer": "to the device",
    "forward": "prediction",
    "figures": "figures",
    "callbacks": "other callbacks",
}
_GIB = 2.0**30
_ENOUGH = 1.1
"""A loader this much faster than training, or slower, decides how fast training can be."""


def text(profile: Profile) -> str:
    """The whole report."""
    steps = profile.steps
    lines = [
        f"{profile.devices}, precision {profile.precision}, batch {profile.batch} over {_ranks(profile.ranks)}; "
        f"{len(steps.laps)} steps after {profile.warm_up} of warm-up",
        "",
        *_table("part of a step", _OF_TRAINING, steps, 1.0, "step"),
        "",
        f"training: {profile.samples_per_second:.4g} samples/s; {_spread(steps)}",
        _loader(profile),
        _memory(profile.memory),
        "",
        *_evaluation(profile.evaluated),
    ]
    return "\n".join(lines)


def as_json(profile: Profile) -> dict[str, Any]:
    """The report for programs; all times are seconds, all sizes bytes."""
    seconds = profile.steps.seconds
    return {
        "devices": profile.devices,
        "precision": profile.precision,
        "ranks": profile.ranks,
        "batch_size": profile.batch,
        "warm_up": profile.warm_up,
        "steps": len(seconds),
        "step_seconds": {
            "mean": profile.steps.mean,
            "median": statistics.median(seconds),
            "least": min(seconds),
            "greatest": max(seconds),
        },
        "parts": profile.steps.parts(tuple(_OF_TRAINING)),
        "samples_per_second": profile.samples_per_second,
        "loader": {
            "workers": profile.loader.workers,
            "batches_per_second": profile.loader.rate,
            "samples_per_second": profile.loader_samples_per_second,
        },
        "memory": vars(profile.memory),
        "evaluation": _evaluation_json(profile.evaluated),
    }


def _evaluation_json(evaluated: Evaluated | str) -> dict[str, Any]:
    if isinstance(evaluated, str):
        return {"missing": evaluated}
    parts = evaluated.steps.parts(tuple(_OF_EVALUATION))
    return {
        "samples_per_batch": evaluated.batch,
        "seconds_per_sample": {part: seconds / evaluated.batch for part, seconds in parts.items()},
        "end_seconds": evaluated.end,
    }


def _table(title: str, names: Mapping[Part, str], steps: Steps, samples: float, total: str) -> list[str]:
    whole = steps.mean
    rows = [(title, "ms", "share")]
    for part, seconds in steps.parts(tuple(names)).items():
        rows.append((names.get(part, "other"), _ms(seconds / samples), f"{seconds / whole:.1%}"))
    rows.append((total, _ms(whole / samples), "100.0%"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"| {row[0].ljust(widths[0])} | {row[1].rjust(widths[1])} | {row[2].rjust(widths[2])} |"
        for row in rows
    ]
    rule = f"|{'-' * (widths[0] + 2)}|{'-' * (widths[1] + 1)}:|{'-' * (widths[2] + 1)}:|"
    return [lines[0], rule, *lines[1:]]


def _evaluation(evaluated: Evaluated | str) -> list[str]:
    if isinstance(evaluated, str):
        return [f"evaluation: not measured ({evaluated})"]
    return [
        *_table("evaluation, per sample", _OF_EVALUATION, evaluated.steps, evaluated.batch, "sample"),
        "",
        f"end of this short evaluation (figures of sets, pictures, files): {evaluated.end:.2f} s",
    ]


def _loader(profile: Profile) -> str:
    loader, samples = profile.loader, profile.loader_samples_per_second
    times = samples / profile.samples_per_second
    where = f"{loader.workers} process(es)" if loader.workers else "the training process (num_workers: 0)"
    shown = f"{times:.{0 if times >= 10 else 1}f} times what training takes{_advice(loader, times)}"
    return f"the loader alone, in {where}: {loader.rate:.4g} batches/s, {samples:.4g} samples/s, {shown}"


def _advice(loader: Loader, times: float) -> str:
    if times >= _ENOUGH:
        return ""
    more = "more data.num_workers" if loader.workers else "data.num_workers above 0"
    return f": it limits training; try {more}, or smaller or prepared pictures"


def _memory(memory: Memory) -> str:
    words = [f"process {memory.process / _GIB:.2f} GiB", f"loaders {memory.loaders / _GIB:.2f} GiB"]
    if memory.device is not None and memory.device_reserved is not None:
        device = f"{memory.device / _GIB:.2f} GiB"
        words.append(f"device {device} ({memory.device_reserved / _GIB:.2f} GiB reserved)")
    return f"peak memory: {', '.join(words)}"


def _spread(steps: Steps) -> str:
    seconds = steps.seconds
    least, median, greatest = min(seconds), statistics.median(seconds), max(seconds)
    return f"a step takes {_ms(least)} to {_ms(greatest)} ms, median {_ms(median)} ms"


def _ranks(ranks: int) -> str:
    return "1 rank" if ranks == 1 else f"{ranks} ranks (rank 0 is shown)"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f}"
