"""Find the parity fixtures below a folder, and the check that belongs to each."""

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Check = Callable[[Path, dict[str, Any], dict[str, np.ndarray]], None]
"""Receives the fixture's folder, its config.json and the arrays of one .npz; fails by assertion."""


@dataclass(frozen=True)
class Fixture:
    """A folder with a `config.json` that names its component, and its .npz files."""

    folder: Path
    config: dict[str, Any]

    @property
    def component(self) -> str:
        return str(self.config["component"])

    @property
    def cases(self) -> list[Path]:
        return sorted(self.folder.glob("*.npz"))


def components() -> dict[str, Check]:
    """Join the `COMPONENTS` of every `components_*.py` beside this file."""
    joined: dict[str, Check] = {}
    for path in sorted(Path(__file__).parent.glob("components_*.py")):
        found: dict[str, Check] = importlib.import_module(f".{path.stem}", __package__).COMPONENTS
        twice = joined.keys() & found.keys()
        assert not twice, f"{path.name} checks {sorted(twice)} again"
        joined |= found
    return joined


def find(root: Path) -> list[Fixture]:
    """Return the fixtures at or below a folder, in the order of their paths."""
    configs = ((path.parent, json.loads(path.read_text())) for path in sorted(root.rglob("config.json")))
    return [Fixture(folder, config) for folder, config in configs if "component" in config]


def default_root() -> Path | None:
    """Return the shared fixtures beside the repository, or None when they are not there."""
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "parity"
    return folder if folder.is_dir() else None
