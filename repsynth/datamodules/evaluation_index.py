"""Evaluation indices: a JSON file that names the input and target views of each clip, as published with pixelSplat.

`{key: {"context": [i, j], "target": [k, l, m]} | null}`: rows of the clip's own camera file from 0; null skips a clip.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from repsynth.datamodules.posed_scene import PosedScene, SceneReader
from repsynth.datamodules.scene_examples import Example
from repsynth.datamodules.survey import Survey
from repsynth.datamodules.views import Choice
from repsynth.errors import UserError


class Entry(NamedTuple):
    """The views of one clip, as rows of its camera file."""

    context: tuple[int, ...]
    """The inputs, the reference first."""
    target: tuple[int, ...]
    """The views to predict."""


@dataclass(frozen=True)
class EvaluationIndex:
    """An index, checked as far as the file alone allows."""

    path: Path
    entries: dict[str, Entry]
    """By key, in the order of the keys."""
    skipped: int
    """Keys that hold null."""


class ClipReader(SceneReader, Protocol):
    """A reader that knows how many rows a clip has, with and without picture."""

    def rows(self, name: str) -> int:
        """Number of rows of its camera file."""


class Indexed(NamedTuple):
    """What an index gives on the clips that are on disk."""

    examples: list[Example]
    left_out: int
    """Clips of the index that lack frames, are not there at all or cannot be used for another reason."""


def read_index(path: Path) -> EvaluationIndex:
    """Read an evaluation index.

    Raises:
        UserError: no file, no JSON, or not of the form above; names the key.
    """
    content = _content(path)
    if not isinstance(content, dict) or not content:
        raise UserError(
            f'{path}: holds no clips; expected {{key: {{"context": [..], "target": [..]}} or null}}'
        )
    entries = {key: _entry(path, key, value) for key, value in sorted(content.items()) if value is not None}
    if not entries:
        raise UserError(f"{path}: all {len(content)} clips are null (skipped); use another index")
    return EvaluationIndex(path, entries, len(content) - len(entries))


def check_options(index: EvaluationIndex, source_views: int, eval_batch_size: int) -> None:
    """See that the options suit an index.

    Raises:
        UserError: another number of inputs, or clips that differ in their number of targets and cannot be joined.
    """
    for key, entry in index.entries.items():
        if len(entry.context) != source_views:
            raise UserError(
                f"{index.path}: {key} has {len(entry.context)} context views, but data.source_views is "
                f"{source_views}; set it to {len(entry.context)} or use another index"
            )
    counts = sorted({len(entry.target) for entry in index.entries.values()})
    if eval_batch_size > 1 and len(counts) > 1:
        raise UserError(
            f"{index.path}: clips have {counts[0]} to {counts[-1]} target views, which cannot be joined to batches "
            f"of data.eval_batch_size {eval_batch_size}; set it to 1"
        )


def indexed_examples(
    index: EvaluationIndex, reader: ClipReader, found: Survey, most: int | None, partial: bool
) -> Indexed:
    """The examples of an index, in the order of its keys.

    Args:
        index: says which views.
        reader: of the clips.
        found: what of them is usable.
        most: of the index's clips only so many are taken, the first by name; None takes all.
        partial: leave out clips that are not on disk with all the frames asked for.

    Raises:
        UserError: a row that the clip does not have; clips that are not there, unless `partial`.
    """
    wanted = list(index.entries.items())[:most]
    reasons = {key: why for why, keys in found.dropped.items() for key in keys}
    usable = set(found.usable)
    examples, lacking = [], []
    for key, entry in wanted:
        choice, why = None, reasons.get(key, "not on disk")
        if key in usable:
            choice, why = _choice(index, reader, key, entry)
        if choice is None:
            lacking.append(f"{key} ({why})")
        else:
            examples.append(Example(key, key, choice))
    _require_clips(index, wanted, lacking, partial)
    return Indexed(examples, len(lacking))


def _require_clips(index: EvaluationIndex, wanted: Sequence[Any], lacking: list[str], partial: bool) -> None:
    if not lacking or (partial and len(lacking) < len(wanted)):
        return
    remedy = "" if partial else ", or set data.evaluation_partial: true to evaluate the others"
    raise UserError(
        f"{index.path}: {len(lacking)} of {len(wanted)} clips lack frames that it names, first {lacking[0]}; get "
        f"them{remedy}"
    )


def _choice(index: EvaluationIndex, reader: ClipReader, key: str, entry: Entry) -> tuple[Choice | None, str]:
    """The places of an entry's rows among the pictures of its clip; else why there are none."""
    scene = reader.read(key)
    places = [_places(scene, part) for part in entry]
    lacking = sorted({*entry.context, *entry.target} - set(scene.numbers.tolist()))
    if not lacking:
        return Choice(*places), ""
    rows = reader.rows(key)
    if lacking[-1] >= rows:
        raise UserError(
            f"{index.path}: {key} asks for row {lacking[-1]}, but the clip has {rows} rows, counted from 0; the index "
            "belongs to other camera files"
        )
    return None, f"row {lacking[0]} has no frame"


def _places(scene: PosedScene, rows: tuple[int, ...]) -> list[int]:
    places: list[int] = np.searchsorted(scene.numbers, rows).tolist()
    return places


def _content(path: Path) -> Any:  # noqa: ANN401  JSON
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: the evaluation index cannot be read ({error.strerror}); give its path as "
            "data.evaluation_index"
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: the evaluation index is no JSON file ({error}); get it again") from error


def _entry(path: Path, key: str, value: Any) -> Entry:  # noqa: ANN401  JSON
    fields = value if isinstance(value, dict) else {}
    return Entry(*(_rows(path, key, name, fields.get(name)) for name in Entry._fields))


def _rows(path: Path, key: str, name: str, value: Any) -> tuple[int, ...]:  # noqa: ANN401  JSON
    if isinstance(value, list) and value and all(type(row) is int and row >= 0 for row in value):
        return tuple(value)
    raise UserError(
        f"{path}: {name} of {key} is {json.dumps(value)[:40]}; expected a list of rows of the clip, counted from 0"
    )
