"""Why a configuration was refused, in one sentence.

The parser's own answer to a slip is a page of text. When it refuses a configuration, the same configuration
is walked here, class by class, and the first mistake is put into words; what is not found keeps the parser's.
"""

import copy
import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from repsynth.cli import classes, signatures
from repsynth.cli.configuration import Configuration, Text, is_class_node
from repsynth.cli.signatures import Option
from repsynth.cli.wording import one_line, suggestion
from repsynth.errors import UserError

_NODE_KEYS = ("class_path", "init_args", "dict_kwargs")
_NOISE = ("Subtypes:", "Errors:", "Given value type:", "- Expected a <class 'NoneType'>", "Does not validate")


def raise_first_mistake(configuration: Configuration, sections: dict[str, type], error: Exception) -> None:
    """Raise the sentence for the first mistake in a refused configuration.

    Args:
        configuration: What the user wrote.
        sections: `trainer`, `model` and `data` -> the class or the base class that is expected.
        error: What the parser said, for mistakes that the walk does not know.

    Raises:
        UserError: Always.
    """
    _Walk(configuration).sections(sections)
    raise UserError(f"the configuration was refused: {_essence(str(error))}")


def refuse_unknown_names(configuration: Configuration, sections: dict[str, type]) -> None:
    """Refuse names that the parser lets pass: inside a dataclass it takes `fragment` for `fragments`.

    Args:
        configuration: What the user wrote, which the parser has accepted.
        sections: As in `raise_first_mistake`.

    Raises:
        UserError: For the first such name.
    """
    _Walk(configuration, names_only=True).sections(sections)


class _Walk:
    """Walks the nested classes of one configuration; each method raises at the first mistake."""

    def __init__(self, configuration: Configuration, names_only: bool = False) -> None:
        self.configuration = configuration
        self.names_only = names_only

    def sections(self, sections: dict[str, type]) -> None:
        """All of the configuration."""
        for key, value in self.configuration.values.items():
            if key == "trainer":
                self.options_of(sections[key], value, key)
            elif key in sections and (is_class_node(value) or not self.names_only):
                self.node(value, key, sections[key])

    def where(self, key: str) -> str:
        return self.configuration.origin(key)

    def node(self, value: object, key: str, base: type | None = None) -> None:
        """A `class_path` / `init_args` pair."""
        if not is_class_node(value):
            raise UserError(f"option '{key}' ({self.where(key)}) needs a class_path, but got {_shown(value)}")
        assert isinstance(value, dict)
        for name in value:
            if name not in _NODE_KEYS:
                self.unknown(f"{key}.{name}", name, "a class_path / init_args pair", _NODE_KEYS)
        class_path = value["class_path"]
        cls = classes.load(str(class_path), f"{key}.class_path", self.where(f"{key}.class_path"))
        if base is not None and not issubclass(cls, base):
            raise UserError(
                f"'{class_path}' for {key} ({self.where(key)}) is no {base.__name__}; name a subclass of it"
            )
        self.options_of(cls, value.get("init_args"), f"{key}.init_args")

    def options_of(self, cls: type, given: object, key: str) -> None:
        """The constructor arguments of a class."""
        given = {} if given is None else given
        if not isinstance(given, dict):
            raise UserError(f"option '{key}' ({self.where(key)}) expects a mapping, but got {_shown(given)}")
        known = signatures.options(cls)
        for name, value in given.items():
            if name in known:
                self.value(known[name], value, f"{key}.{name}")
            elif not signatures.takes_anything(cls):
                self.unknown(f"{key}.{name}", str(name), cls.__name__, known)
        for name, option in known.items():
            if not self.names_only and option.required and name not in given:
                expected = signatures.readable_type(option.annotation)
                raise UserError(
                    f"option '{key}.{name}' is missing ({self.where(key)}): {cls.__name__} needs {expected}"
                )

    def unknown(self, key: str, name: str, owner: str, known: typing.Iterable[str]) -> None:
        raise UserError(
            f"unknown option '{key}' ({self.where(key)}): {owner} has no '{name}'; {suggestion(name, known)}"
        )

    def value(self, option: Option, value: object, key: str) -> None:
        """One argument: classes and dataclasses below it first, then its own type."""
        by_name = _wants_class(option.annotation)
        for place, item in _items(value, key):
            if is_class_node(item):
                self.node(item, place)
            elif by_name and isinstance(item, str) and not self.names_only:
                self.node({"class_path": item}, place)
        structure = signatures.dataclass_in(option.annotation)
        if structure is not None and isinstance(value, dict) and not is_class_node(value):
            self.options_of(structure, value, key)
        if self.names_only or (value is None and option.default is None):
            return
        if not fits(option.annotation, value):
            expected = signatures.readable_type(option.annotation)
            raise UserError(f"option '{key}' ({self.where(key)}) expects {expected}, but got {_shown(value)}")


def fits(annotation: Any, value: object) -> bool:  # noqa: ANN401  an annotation can be anything
    """Whether the parser takes `value` for a parameter of this type."""
    if annotation is Any:
        return True
    parser = ArgumentParser(exit_on_error=False)
    try:
        parser.add_argument("--value", type=annotation)
    except ValueError:  # a type that the parser does not check either
        return True
    try:
        if isinstance(value, Text):
            parser.parse_args([f"--value={value}"])
        else:
            parser.parse_object({"value": copy.deepcopy(value)})  # the parser fills defaults in
    except ArgumentError:
        return False
    return True


def _items(value: object, key: str) -> list[tuple[str, object]]:
    if isinstance(value, list):
        return [(f"{key}[{index}]", item) for index, item in enumerate(value)]
    if isinstance(value, dict) and not is_class_node(value):
        return [(f"{key}.{name}", item) for name, item in value.items()]
    return [(key, value)]


def _wants_class(annotation: Any) -> bool:  # noqa: ANN401  an annotation can be anything
    """Whether a text can only mean a class path there: the type names classes and has no place for texts."""
    leaves = list(_leaves(annotation))
    classes_in_it = [leaf for leaf in leaves if isinstance(leaf, type) and leaf.__module__ != "builtins"]
    plain = any(leaf in (str, Any) or not isinstance(leaf, type) for leaf in leaves)
    return bool(classes_in_it) and not plain and not any(map(dataclasses.is_dataclass, classes_in_it))


def _leaves(annotation: Any) -> Iterator[Any]:  # noqa: ANN401  an annotation can be anything
    arguments = typing.get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _leaves(argument)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f"'{value}'"
    text = one_line(str(value))
    return text if len(text) <= 80 else f"{text[:77]}..."


def _essence(message: str) -> str:
    """The parser's words without its lists of alternatives, in one line."""
    lines = [line.strip() for line in message.splitlines()]
    return one_line(" ".join(line for line in lines if line and not line.startswith(_NOISE)))
