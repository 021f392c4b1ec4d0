"""A list of SWORD scenes: a CSV file with one row per clip."""

import csv
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from repsynth.errors import UserError

SCALE_PERCENTILE = 10.0
"""p_10 gives the scale of a scene."""

_NAMES = ("scene_name", "scene_id")
"""The column that the released loader reads, and the documented one; the first that is there counts."""
_REQUIRED = ("images_path", "views_path", "p_10")
_POINTS = "sparse_pointcloud_path"
_PERCENTILE = re.compile(r"p_(\d+(?:\.\d+)?)")
_COPY = re.compile(r"images_path_(\d+)")


@dataclass(frozen=True)
class SceneRow:
    """One row; paths are relative to the root of the data set, as they are written."""

    name: str
    where: str
    """Names the file and the line in messages."""
    images: str
    copies: tuple[tuple[int, str], ...]
    """(short side, path) of the columns images_path_<short side>."""
    views: str
    points: tuple[str, ...]
    """Where a point cloud may be: what the columns name, else the two usual places."""
    percentiles: dict[float, float]
    """x -> p_x: depth below which x % of the points lie, in units of the camera file; rising, p_10 above 0."""

    @property
    def scale_depth(self) -> float:
        """p_10."""
        return self.percentiles[SCALE_PERCENTILE]


def read_list(path: Path) -> dict[str, SceneRow]:
    """The rows by the scenes' names, in the order of the file; read once as long as the file does not change.

    Raises:
        UserError: no such file, missing columns, rows of another length, scenes without a name or named twice,
            depths that are no numbers or do not rise, a p_10 that is not above 0.
    """
    try:
        state = path.stat()
        return _known(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise UserError(
            f"SWORD: {path} cannot be read ({error.strerror}); expected a list of scenes"
        ) from error


@lru_cache(maxsize=8)
def _known(path: Path, changed: int, size: int) -> dict[str, SceneRow]:
    rows: dict[str, SceneRow] = {}
    header, records = _records(path)
    _require_columns(path, header)
    for line, record in records:
        where = f"SWORD: {path} line {line}"
        if len(record) != len(header):
            raise UserError(
                f"{where}: found {len(record)} fields, expected {len(header)} as in the header; put quotes around "
                "fields with commas"
            )
        row = _row(where, dict(zip(header, record, strict=True)))
        if row.name in rows:
            raise UserError(
                f"{where}: the scene {row.name} comes a second time (first: "
                f"{rows[row.name].where.rpartition(' ')[2]}); remove one of the rows"
            )
        rows[row.name] = row
    if not rows:
        raise UserError(f"SWORD: {path} has no rows below its header; get it again or name another list")
    return rows


def _records(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and (line, fields) of each row that is not empty."""
    line = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            records = []
            for record in reader:
                records.append((line + 1, [field.strip() for field in record]))
                line = reader.line_num
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(
            f"SWORD: {path} line {line + 1}: is no CSV ({error}); get the list again or remove the row"
        ) from error
    filled = [(line, record) for line, record in records if any(record)]
    return (filled[0][1] if filled else []), filled[1:]


def _require_columns(path: Path, header: list[str]) -> None:
    missing = [column for column in _REQUIRED if column not in header]
    if not set(_NAMES) & set(header):
        missing.insert(0, " or ".join(_NAMES))
    if missing:
        raise UserError(
            f"SWORD: {path} has no column {', '.join(missing)}; columns are {', '.join(header) or 'none'}: rename "
            "them or name another list"
        )
    twice = next((column for column in header if column and header.count(column) > 1), None)
    if twice is not None:
        raise UserError(f"SWORD: {path} has the column {twice} twice; remove one of them")


def _row(where: str, fields: dict[str, str]) -> SceneRow:
    name = next(fields[column] for column in _NAMES if column in fields)
    if not name:
        raise UserError(f"{where}: the scene has no name; give it one or remove the row")
    copies = [(int(found[1]), fields[column]) for column in fields if (found := _COPY.fullmatch(column))]
    return SceneRow(
        name,
        where,
        fields["images_path"],
        tuple(sorted((side, path) for side, path in copies if path)),
        fields["views_path"],
        _point_clouds(name, fields),
        _percentiles(where, fields),
    )


def _point_clouds(name: str, fields: dict[str, str]) -> tuple[str, ...]:
    if fields.get(_POINTS):
        return (fields[_POINTS],)
    if fields.get("colmap_path"):
        return (f"{fields['colmap_path']}/points3D.bin",)
    return (f"point_clouds/{name}/points3D.bin", f"colmap/{name}/points3D.bin")


def _percentiles(where: str, fields: dict[str, str]) -> dict[float, float]:
    """Empty fields are left out, but for p_10."""
    found: dict[float, float] = {}
    for column, text in fields.items():
        match = _PERCENTILE.fullmatch(column)
        if match is None or (not text and float(match[1]) != SCALE_PERCENTILE):
            continue
        found[float(match[1])] = depth = _number(text)
        if not math.isfinite(depth) or (float(match[1]) == SCALE_PERCENTILE and depth <= 0):
            raise UserError(f"{where}: {column} is {text!r}; expected a depth: correct or remove the row")
    ordered = dict(sorted(found.items()))
    depths = list(ordered.values())
    if depths != sorted(depths):
        listed = ", ".join(f"p_{x:g} = {depth:g}" for x, depth in ordered.items())
        raise UserError(
            f"{where}: its depth percentiles do not rise ({listed}); see whether the columns are shifted"
        )
    return ordered


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
