"""What `--models NAME=...` and `--data ...` name: modules with their weights, and data sections."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repsynth.benchmark.baselines import BASELINES
from repsynth.benchmark.runs import newest_config
from repsynth.benchmark.trials import Node, callbacks_of
from repsynth.cli import classes, signatures, starting_point
from repsynth.cli.configuration import is_class_node, read_yaml
from repsynth.cli.wording import suggestion
from repsynth.errors import UserError

_SHORT = {path.rpartition(".")[2]: path for path in BASELINES.values()}
_COMMAND_LINE = "on the command line"
_SAFE_NAME = re.compile(r"\w[\w .+-]*")


@dataclass(frozen=True)
class Entrant:
    """A model that takes part.

    Attributes:
        name: Its row's title.
        model: The section `model` that builds it.
        origin: Where that section stands, in words.
        checkpoint: Its weights; None for a module that has none to learn.
        averages: The EMA callback of its run, whose averages are evaluated; none without.
    """

    name: str
    model: Node
    origin: str
    checkpoint: Path | None
    averages: Sequence[Node] = ()


@dataclass(frozen=True)
class DataSet:
    """Data that the models are compared on.

    Attributes:
        name: What its rows are told apart by.
        data: The section `data` that builds it.
        origin: Where that section stands, in words.
    """

    name: str
    data: Node
    origin: str


def entrant(word: str) -> Entrant:
    """Read one `NAME=RUN`, `NAME=CHECKPOINT` or `NAME=CLASS`; without NAME it is called like its last part.

    Raises:
        UserError: nothing of that name, a run without configuration or usable checkpoint, a checkpoint without
            configuration.
    """
    name, target = _named(word)
    path = Path(target)
    if path.is_dir():
        return _trained(name or path.resolve().name, newest_config(path), _newest_weights(path))
    if path.is_file():
        return _trained(name or path.stem, _config_beside(path), path)
    class_path = _SHORT.get(target, target)
    if "/" in target or "." not in class_path:
        raise UserError(
            f"--models {word}: there is no run directory, checkpoint or class '{target}'; classes are dotted paths or "
            f"{' or '.join(_SHORT)}"
        )
    node = _without_losses({"class_path": class_path}, f"--models {word}", _COMMAND_LINE)
    return Entrant(name or class_path.rpartition(".")[2], node, _COMMAND_LINE, None)


def data_set(word: str) -> DataSet:
    """Read one `FILE` with a section `data`, or `CLASS`, with or without `NAME=` before it.

    Raises:
        UserError: nothing of that name, or a file without that section.
    """
    name, target = _named(word)
    if target.endswith((".yaml", ".yml")) or "/" in target:
        path = Path(target)
        node = read_yaml(path).get("data")
        if isinstance(node, str):
            node = {"class_path": node}
        if not is_class_node(node):
            raise UserError(f"{path} has no section 'data' with a class_path; name an experiment or its data")
        assert isinstance(node, dict)
        return DataSet(name or path.stem, node, f"in {path}")
    classes.load(target, f"--data {word}", _COMMAND_LINE)
    return DataSet(name or target.rpartition(".")[2], {"class_path": target}, _COMMAND_LINE)


def check_names(option: str, names: Sequence[str]) -> None:
    """See that the names of an option differ, and that each can name a folder.

    Raises:
        UserError: the first that does not.
    """
    for name in names:
        if not _SAFE_NAME.fullmatch(name):
            raise UserError(
                f"{option}: '{name}' cannot name a folder; expected letters, digits, blanks and . _ + - after a letter "
                f"or digit: {option} NAME=..."
            )
        if names.count(name) > 1:
            raise UserError(f"{option}: two are called '{name}'; give each its own name: {option} NAME=...")


def with_options(node: Node, options: dict[str, Any]) -> Node:
    """A section with some of its `init_args` changed."""
    return {**node, "init_args": {**(node.get("init_args") or {}), **options}}


def _named(word: str) -> tuple[str, str]:
    """NAME and what it names; no name where the part before `=` belongs to a path."""
    name, equals, target = word.partition("=")
    if not equals or "/" in name:
        return "", word
    if not name or not target:
        raise UserError(
            f"'{word}' names nothing; expected NAME=PATH, NAME=CLASS or one of these without a name"
        )
    return name, target


def _trained(name: str, config_path: Path, checkpoint: Path) -> Entrant:
    config = read_yaml(config_path)
    node = config.get("model")
    if not is_class_node(node) or not isinstance(config.get("trainer"), dict):
        raise UserError(
            f"{config_path} has no sections 'model' and 'trainer' as `repsynth fit` writes them; it must be the "
            f"configuration that {checkpoint} was trained with"
        )
    assert isinstance(node, dict)
    origin = f"in {config_path}"
    model = _without_losses(node, "model.class_path", origin)
    return Entrant(name, model, origin, checkpoint, callbacks_of(config, ".EMA"))


def _without_losses(node: Node, key: str, origin: str) -> Node:
    """The module without the weights of a loss, which nobody needs to download for a test."""
    cls = classes.load(str(node["class_path"]), key, origin)
    return with_options(node, {"perceptual": "random"}) if "perceptual" in signatures.options(cls) else node


def _newest_weights(run: Path) -> Path:
    found = starting_point.find("test", run, None, resume=False)
    assert found is not None
    return found


def _config_beside(checkpoint: Path) -> Path:
    run = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    own = checkpoint.with_suffix(".yaml")
    if own.is_file():
        return own
    if not list(run.glob("config*.yaml")):
        others = [path.name for path in checkpoint.parent.glob("*.yaml")]
        hint = f" ({suggestion(own.name, others)})" if others else ""
        raise UserError(
            f"{checkpoint} has no configuration beside it; put that of its training there as {own.name} or "
            f"config.yaml{hint}"
        )
    return newest_config(run)
