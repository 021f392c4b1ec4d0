"""From rows of figures on every rank to one table, its averages and its files."""

import json
import math
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch.distributed as dist

from repsynth.errors import UserError

T = TypeVar("T")
Row = tuple[str, tuple[float, ...]]
"""A sample's id and its figures."""


class Summary(NamedTuple):
    """One figure over all images; deviation (n - 1) and error are None for a single image."""

    mean: float
    std: float | None
    standard_error: float | None


def gather(rows: Sequence[tuple[str, T]]) -> list[tuple[str, T]]:
    """Join what all ranks know of samples, sorted by id, in one collective; without a process group only
    sort.

    Every rank must call it, also one without rows, and every rank gets the same list.

    Args:
        rows: Pairs of a sample's id and anything that can be pickled.

    Raises:
        UserError: On every rank, when an id comes twice or there is no row at all.
    """
    parts: list[Any] = [list(rows)]
    if dist.is_available() and dist.is_initialized():
        parts = [None] * dist.get_world_size()
        dist.all_gather_object(parts, list(rows))
    joined = sorted((row for part in parts for row in part), key=lambda row: row[0])
    _refuse_duplicates(joined)
    if not joined:
        raise UserError(
            "the evaluation set is empty: give data with at least one sample, or evaluate nothing"
        )
    return joined


def summarize(names: Sequence[str], rows: Sequence[Row]) -> dict[str, Summary]:
    """Summarize each figure over the images, in float64.

    The rows are taken in their order: sorted rows give the same bits for any number of ranks.
    """
    table = np.array([figures for _, figures in rows], dtype=np.float64)
    return {name: _statistics(table[:, column]) for column, name in enumerate(names)}


def write_csv(path: Path, names: Sequence[str], rows: Sequence[Row]) -> None:
    """Write one line per sample: the id and its figures, under a line of titles; atomically."""
    lines = [",".join(["id", *names])]
    lines += [",".join([_quoted(name), *map(repr, figures)]) for name, figures in rows]
    _write(path, "\n".join(lines) + "\n")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write valid JSON atomically; figures that are not finite become null."""
    _write(path, json.dumps(_finite(content), indent=2, allow_nan=False) + "\n")


def _refuse_duplicates(rows: Sequence[tuple[str, Any]]) -> None:
    ids = [name for name, _ in rows]
    twice = sorted({name for name, following in pairwise(ids) if name == following})
    if twice:
        raise UserError(
            f"evaluation got {len(twice)} sample ids more than once ({', '.join(twice[:3])}): ids must be "
            f"unique in "
            "the evaluation set, and its loader must not repeat samples (trainer.use_distributed_sampler: "
            "false)"
        )


def _statistics(column: np.ndarray) -> Summary:
    count = len(column)
    deviation = float(column.std(ddof=1)) if count > 1 else None
    return Summary(
        float(column.mean()), deviation, deviation / math.sqrt(count) if deviation is not None else None
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(sign in name for sign in ',"\n') else name


def _finite(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
