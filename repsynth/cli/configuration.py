"""Configuration as written by the user: YAML files and overrides, merged, before any class is looked at.

Imports no torch: a missing file or a slip in the YAML is answered at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from repsynth.cli.options import CLASSES, CONFIG, options
from repsynth.cli.wording import suggestion
from repsynth.errors import UserError

SECTIONS = ("seed_everything", "trainer", "model", "data")
COMMAND_LINE = "on the command line"
_CLASS_KEYS = {"class_path", "init_args", "dict_kwargs"}


class Text(str):
    """A value given on the command line, whose type is not settled yet."""


@dataclass
class Configuration:
    """The merged raw configuration.

    Attributes:
        values: Nested dictionaries as YAML reads them; leaves from the command line are `Text`.
        origins: Dotted key -> where it was last given ("in FILE" or "on the command line").
        files: The configuration files in the order given.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def origin(self, key: str) -> str:
        """Where `key`, or the nearest key above it, was given."""
        while key and key not in self.origins:
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return self.origins.get(key, "")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one configuration file.

    Raises:
        UserError: The file is missing, is no YAML, or is not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(_missing_file(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the configuration cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise UserError(_syntax_error(path, error)) from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a mapping with {', '.join(SECTIONS[1:])}, found {_kind(content)}")
    return content


def merge(arguments: Sequence[str]) -> Configuration:
    """Merge `--config` files and overrides such as `--model.width 5` in the order given.

    Another class than a file's begins with its own defaults: what was given for the former one means nothing here.

    Raises:
        UserError: A file is missing or is no YAML, a top-level key is unknown, `model` or `data` is absent.
    """
    configuration = Configuration()
    for option in options(arguments):
        if option.key in CONFIG:
            _add_file(configuration, Path(option.value))
        elif option.key:
            _override(configuration, option.key, option.value)
    _check_sections(configuration)
    return configuration


def is_class_node(value: object) -> bool:
    """Whether a value is a `class_path` / `init_args` pair."""
    return isinstance(value, dict) and "class_path" in value


def _missing_file(path: Path) -> str:
    folder = path.parent
    beside = [file.name for file in folder.glob("*.yaml")] if folder.is_dir() else []
    hint = suggestion(path.name, beside) if beside else "`repsynth list` shows the experiments that there are"
    return f"{path}: no such configuration file (option --config); {hint}"


def _syntax_error(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not readable"
    return f"{path}{where}: this is not valid YAML ({problem}); compare with a shipped experiment"


def _kind(content: object) -> str:
    return "an empty file" if content is None else f"a {type(content).__name__}"


def _add_file(configuration: Configuration, path: Path) -> None:
    content = read_yaml(path)
    configuration.files.append(path)
    _merge_into(configuration.values, content)
    _mark(configuration.origins, content, "", f"in {path}")


def _merge_into(target: dict[str, Any], source: dict[str, Any]) -> None:
    if is_class_node(source) and source["class_path"] != target.get("class_path"):
        target.clear()  # options of another class mean nothing here
    for key, value in source.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge_into(target[key], value)
        else:
            target[key] = value


def _mark(origins: dict[str, str], content: object, key: str, origin: str) -> None:
    """Note the origin of every key below `content`."""
    origins[key] = origin
    if isinstance(content, dict):
        for name, value in content.items():
            _mark(origins, value, f"{key}.{name}" if key else str(name), origin)


def _override(configuration: Configuration, key: str, value: str) -> None:
    if key in CLASSES and value.lstrip().startswith("{"):
        return _override_node(configuration, key, value)
    appended = key.endswith("+")
    parts = (f"{key}.class_path" if key in CLASSES else key.rstrip("+")).split(".")
    node: Any = configuration.values
    path: list[str] = []
    for part in parts[:-1]:
        node, path = _descend(node, path, part)
    node, path = _enter_init_args(node, path, parts[-1])
    if parts[-1] == "class_path" and node.get("class_path") != value:
        node.clear()
        _forget(configuration.origins, ".".join(path))
    _assign(node, parts[-1], _parsed(value), appended)
    target = ".".join([*path, parts[-1]])
    if appended:
        target += f"[{len(node[parts[-1]]) - 1}]"
    configuration.origins[target] = COMMAND_LINE
    configuration.origins.setdefault(parts[0], COMMAND_LINE)


def _override_node(configuration: Configuration, key: str, value: str) -> None:
    """A whole `class_path` / `init_args` pair."""
    content, node = _parsed(value), configuration.values.get(key)
    if isinstance(content, dict) and isinstance(node, dict):
        if is_class_node(content) and content["class_path"] != node.get("class_path"):
            _forget(configuration.origins, key)
        _merge_into(node, content)
    else:
        configuration.values[key] = content
    _mark(configuration.origins, content, key, COMMAND_LINE)


def _forget(origins: dict[str, str], key: str) -> None:
    """Drop what was noted of the options of a class that the command line replaces."""
    for below in [name for name in origins if name.startswith(f"{key}.")]:
        del origins[below]
    origins[key] = COMMAND_LINE


def _descend(node: dict[str, Any], path: list[str], part: str) -> tuple[dict[str, Any], list[str]]:
    """One step down: through `init_args` where the short form omits it, into the last entry of a list."""
    node, path = _enter_init_args(node, path, part)
    child = node.get(part)
    if isinstance(child, list) and child:
        child = child[-1]
    if isinstance(child, str):
        child = {"class_path": child}
    if not isinstance(child, dict):
        child = {}
    if not isinstance(node.get(part), list):
        node[part] = child
    return child, [*path, part]


def _enter_init_args(node: dict[str, Any], path: list[str], part: str) -> tuple[dict[str, Any], list[str]]:
    if not is_class_node(node) or part in _CLASS_KEYS:
        return node, path
    if not isinstance(node.get("init_args"), dict):
        node["init_args"] = {}
    return node["init_args"], [*path, "init_args"]


def _assign(node: dict[str, Any], name: str, value: object, appended: bool) -> None:
    if appended:
        before = node.get(name)
        added = value if isinstance(value, list) else [value]
        node[name] = [*(before if isinstance(before, list) else []), *added]
    else:
        node[name] = value


def _parsed(value: str) -> object:
    """Structures are read as YAML; anything else stays text until its type is known."""
    if value.lstrip().startswith(("{", "[")):
        try:
            return yaml.safe_load(value)
        except yaml.YAMLError:
            return Text(value)
    return Text(value)


def _check_sections(configuration: Configuration) -> None:
    for key in configuration.values:
        if key not in SECTIONS:
            raise UserError(
                f"unknown option '{key}' ({configuration.origin(str(key))}): {suggestion(str(key), SECTIONS)}"
            )
    missing = [key for key in CLASSES if configuration.values.get(key) is None]
    if missing:
        where = f"in {configuration.files[-1]}" if configuration.files else "on the command line"
        raise UserError(
            f"no '{missing[0]}' is given {where}; name an experiment with "
            f"--config experiments/METHOD/DATA.yaml or set {missing[0]}.class_path"
        )
