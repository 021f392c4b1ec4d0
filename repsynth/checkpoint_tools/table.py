"""A report on a checkpoint as text."""

from collections.abc import Iterator, Sequence
from typing import Any

from repsynth.checkpoint_tools.contents import Report

_SILENT = "not told by the file"


def text(report: Report) -> str:
    """The report of `contents.report` as lines for a terminal."""
    width = max(len(name) for name, _ in _facts(report))
    lines = [f"{name:<{width}}  {value}" for name, value in _facts(report)]
    rows: list[Sequence[str]] = [("submodule", "tensors", "parameters", "buffers", "size")]
    rows += [_row(name, own) for name, own in report["submodules"].items()]
    if report["ema"]:
        rows.append(_row("(averaged weights)", report["ema"]))
    lines += ["", *_aligned(rows)]
    if report["optimisers"]:
        rows = [("optimiser", "parameter tensors", "learning rate", "moments", "size")]
        rows += [_optimiser_row(number, own) for number, own in enumerate(report["optimisers"])]
        lines += ["", *_aligned(rows)]
    return "\n".join(lines)


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    yield "file", f"{report['file']}, {_size(report['bytes'])}"
    yield "method", report["method"] or _SILENT
    version = f"repsynth {report['version']}" if report["version"] else f"of repsynth {_SILENT}"
    yield "version", version + (f", lightning {report['lightning']}" if report["lightning"] else "")
    yield "progress", _progress(report)
    if report["ranks"]:
        yield "saved by", f"{report['ranks']} rank{'s' if report['ranks'] > 1 else ''}"
    if report["averaged"]:
        yield "mean of", ", ".join(f"{file} ({seen:,} samples)" for file, seen in report["averaged"].items())
    if report["weights"]:
        yield "exported", f"{report['weights']} weights"
    yield "holds", ", ".join(report["holds"])
    yield "checksums", _checksums(report["checksums"])


def _progress(report: Report) -> str:
    told = [f"{report[name]:,} {name}" for name in ("samples", "iterations") if report[name] is not None]
    return ", ".join(told + ([f"epoch {report['epoch']}"] if report["epoch"] is not None else []))


def _checksums(state: Report | None) -> str:
    if state is None:
        return "the tensors match"
    records, damaged = state["records"], state["damaged"]
    if damaged:
        return f"{len(damaged)} of {records} records are damaged: {', '.join(damaged[:3])}"
    return f"all {records} records match"


def _row(name: str, own: Report) -> tuple[str, ...]:
    indent = "  " * name.count(".")
    counts = (own["tensors"], own["parameters"], own["buffers"])
    return (f"{indent}{name or '(module itself)'}", *map(_number, counts), _size(own["bytes"]))


def _optimiser_row(number: int, own: Report) -> tuple[str, ...]:
    rates = ", ".join(f"{rate:.4g}" for rate in dict.fromkeys(own["learning_rates"]))
    return (
        str(number),
        _number(own["parameters"]),
        rates,
        ", ".join(own["moments"]) or "-",
        _size(own["bytes"]),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns: names to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _number(value: Any) -> str:  # noqa: ANN401  a count or None
    return "?" if value is None else f"{value:,}"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"
