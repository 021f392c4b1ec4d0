"""`repsynth list`: the experiments that there are, read from their YAML files alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repsynth.cli.configuration import read_yaml
from repsynth.errors import UserError

_METHODS = "repsynth.modules."
_APART = ("clusters", "protocols", "sweeps")  # folders below experiments/ that hold no experiments


@dataclass(frozen=True)
class Experiment:
    """One YAML file below `experiments/`.

    Attributes:
        path: The file.
        title: First comment line.
        method: Folder of the method below `repsynth/modules`, or the class name of a foreign module.
        data: Class name of the data module.
        needs: What has to lie on disk, from the comment line `# Needs: ...`.
    """

    path: Path
    title: str
    method: str
    data: str
    needs: str


def folder(given: Path | None = None) -> Path:
    """The experiments folder: the one given, else the current folder's, else the one beside the package.

    Raises:
        UserError: There is none.
    """
    candidates = [given] if given else [Path("experiments"), Path(__file__).parents[2] / "experiments"]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise UserError(f"{candidates[0]}: no such folder of experiments; name one with --experiments DIR")


def files(root: Path) -> list[Path]:
    """The experiment files below a folder, sorted."""
    return sorted(
        path for path in root.rglob("*.yaml") if not set(path.relative_to(root).parts[:-1]) & set(_APART)
    )


def read(path: Path) -> Experiment:
    """Read one experiment's header and class paths.

    Raises:
        UserError: The file is no YAML mapping.
    """
    content = read_yaml(path)
    title, needs = _header(path)
    return Experiment(path, title, _method(_class_path(content, "model")), _data(content), needs)


def print_list(root: Path) -> None:
    """Print a table of the experiments below `root`."""
    rows = [("EXPERIMENT", "METHOD", "DATA", "NEEDS")]
    for path in files(root):
        experiment = read(path)
        rows.append((str(path), experiment.method, experiment.data, experiment.needs))
    if len(rows) == 1:
        raise UserError(f"{root}: no *.yaml below this folder; name another with --experiments DIR")
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))


def _comments(path: Path) -> Iterator[str]:
    """The comment lines at the top of a file, without their sign."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("#"):
                return
            yield line.lstrip("#").strip()


def _header(path: Path) -> tuple[str, str]:
    comments = list(_comments(path))
    needs = [line.partition(":")[2].strip() for line in comments if line.lower().startswith("needs:")]
    return (comments[0] if comments else ""), (needs[0] if needs else "not stated")


def _class_path(content: dict[str, Any], section: str) -> str:
    node = content.get(section)
    return str(node.get("class_path", "?")) if isinstance(node, dict) else str(node or "?")


def _method(class_path: str) -> str:
    if class_path.startswith(_METHODS):
        return class_path.removeprefix(_METHODS).partition(".")[0]
    return class_path.rpartition(".")[2]


def _data(content: dict[str, Any]) -> str:
    return _class_path(content, "data").rpartition(".")[2]
