"""Figures that papers print, from `published.yaml` beside this file; nothing of it was measured here."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from repsynth.cli.wording import suggestion
from repsynth.errors import UserError


@dataclass(frozen=True)
class PublishedTable:
    """One table of a paper.

    Attributes:
        key: As in a protocol, `stereolayers/table1/sword`.
        source: The paper.
        about: Which table, data and conditions.
        rows: Model -> figure -> its value as printed.
    """

    key: str
    source: str
    about: str
    rows: dict[str, dict[str, str]]


def find(key: str) -> PublishedTable:
    """The table of a key.

    Raises:
        UserError: there is none (with the nearest one).
    """
    known = tables()
    if key not in known:
        raise UserError(f"unknown published table '{key}'; {suggestion(key, known)}")
    return known[key]


@cache
def tables() -> dict[str, PublishedTable]:
    """All tables by key."""
    content: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    found = [
        PublishedTable(f"{paper}/{name}", about["source"], table["about"], _rows(table))
        for paper, about in content.items()
        for name, table in about["tables"].items()
    ]
    return {table.key: table for table in found}


def _rows(table: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {
        model: dict(zip(table["metrics"], figures.split(" / "), strict=True))
        for model, figures in table["rows"].items()
    }
