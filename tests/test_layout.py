"""The rules of docs/design.md on who may import whom, read from the source."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import repsynth

ROOT = Path(repsynth.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
OPTIONAL = {"albumentations", "av", "face_alignment", "nvdiffrast", "pytorch3d", "timm", "wandb"}

# Each layer may import those to its right and itself.
LAYERS = [
    {"benchmark", "cli", "comparison", "demo", "__main__"},
    {"reference"},
    {"modules"},
    {"callbacks", "datamodules"},
    {"exports", "losses", "metrics"},
    {"nn", "geometry"},
    {"cache", "checkpoint_tools", "checkpoints", "media", "schedules", "weights"},
    {"batches", "card", "errors", "forks", "memory", "torchvision_guard"},
]
WITHOUT_LIGHTNING = ("exports", "geometry", "losses", "metrics", "nn", "reference")


def package_path(path: Path) -> tuple[str, ...]:
    return path.relative_to(ROOT).with_suffix("").parts


def imports(tree: ast.AST, top_only: bool = False) -> Iterator[str]:
    """Absolute names of what is imported, `from a import b` as a.b; with top_only what importing runs."""
    for node in tree.body if top_only and isinstance(tree, ast.Module) else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def ours(path: Path) -> set[tuple[str, ...]]:
    names = (tuple(name.split(".")[1:]) for name in imports(parsed(path)) if name.startswith("repsynth."))
    return {name for name in names if name}


def layer(part: str) -> int | None:
    return next((index for index, names in enumerate(LAYERS) if part in names), None)


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(package_path(path)))
def test_imports_run_one_way(path: Path) -> None:
    own = layer(package_path(path)[0])
    for name in ours(path):
        other = layer(name[0])
        assert own is None or other is None or other >= own, f"{path.name} imports repsynth.{'.'.join(name)}"


def test_every_part_has_its_layer() -> None:
    parts = {package_path(path)[0] for path in FILES} - {"__init__"}
    assert {part for part in parts if layer(part) is None} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(package_path(path)))
def test_methods_do_not_import_one_another(path: Path) -> None:
    parts = package_path(path)
    if parts[0] != "modules" or len(parts) < 3:
        return
    shared = {path.stem for path in (ROOT / "modules").glob("*.py")}
    foreign = {
        name
        for name in ours(path)
        if name[0] == "modules" and len(name) > 1 and name[1] not in {parts[1], *shared}
    }
    assert foreign == set()


def is_free_of_lightning(parts: tuple[str, ...]) -> bool:
    """Shared parts, and every file of a method except its modules: its networks."""
    return parts[0] in WITHOUT_LIGHTNING or (
        parts[0] == "modules" and len(parts) > 2 and not parts[-1].endswith(("module", "__init__"))
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(package_path(path)))
def test_networks_and_shared_parts_know_no_lightning(path: Path) -> None:
    if is_free_of_lightning(package_path(path)):
        assert [
            name for name in imports(parsed(path)) if name.split(".")[0] in ("lightning", "pytorch_lightning")
        ] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(package_path(path)))
def test_optional_and_heavy_packages_are_imported_where_they_are_used(path: Path) -> None:
    assert {name.split(".")[0] for name in imports(parsed(path), top_only=True)} & OPTIONAL == set()


@pytest.mark.parametrize(
    "name", [module.name for module in pkgutil.walk_packages(repsynth.__path__, "repsynth.")]
)
def test_every_module_can_be_imported(name: str) -> None:
    if not name.endswith("__main__"):
        importlib.import_module(name)


def test_no_file_is_longer_than_500_lines() -> None:
    long = {path.name: lines for path in FILES if (lines := len(path.read_text().splitlines())) > 500}
    assert long == {}


def test_nothing_is_left_to_do() -> None:
    marks = ("TODO", "FIXME", "XXX")
    assert [path.name for path in FILES if any(mark in path.read_text() for mark in marks)] == []
