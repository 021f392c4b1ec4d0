"""What a constructor takes: names, types, defaults and the words of its docstring."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

REQUIRED = inspect.Parameter.empty
_PLAIN = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    type(None): "null",
    dict: "a mapping",
    list: "a list",
}


@dataclasses.dataclass(frozen=True)
class Option:
    """One parameter of a constructor.

    Attributes:
        name: Its name.
        annotation: Its type, `Any` where none is written.
        default: Its default, `REQUIRED` where there is none.
        description: Its line in the docstring, in one line; empty where there is none.
    """

    name: str
    annotation: Any
    default: Any
    description: str

    @property
    def required(self) -> bool:
        """Whether a value has to be given."""
        return self.default is REQUIRED


def options(cls: type) -> dict[str, Option]:
    """The constructor options of a class; where it passes on `**kwargs`, those of its bases too."""
    found: dict[str, Option] = {}
    for klass in _constructors(cls):
        descriptions = _descriptions(klass)
        hints = _type_hints(klass.__init__)  # type: ignore[misc]  # read, never called
        for parameter in _named_parameters(klass.__init__):  # type: ignore[misc]
            option = Option(
                parameter.name,
                hints.get(parameter.name, Any),
                parameter.default,
                descriptions.get(parameter.name, ""),
            )
            found.setdefault(parameter.name, option)
    return found


def takes_anything(cls: type) -> bool:
    """Whether the constructor takes keyword arguments that no base names."""
    constructors = _constructors(cls)
    return bool(constructors) and _has_kwargs(constructors[-1].__init__)  # type: ignore[misc]


def readable_type(annotation: Any) -> str:  # noqa: ANN401  an annotation can be anything
    """A type in words: `a whole number or null`, `'a' or 'b'`, `a list of ...`."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(repr(value) for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(readable_type(argument) for argument in arguments)
    if origin is tuple and arguments and Ellipsis not in arguments:
        return f"[{', '.join(map(readable_type, arguments))}]"
    if origin in (list, tuple, set) and arguments:
        inner = [readable_type(argument) for argument in arguments if argument is not Ellipsis]
        return f"a list of ({', '.join(dict.fromkeys(inner))})"
    if origin is dict and arguments:
        return f"a mapping from {readable_type(arguments[0])} to {readable_type(arguments[1])}"
    if origin is None and inspect.isclass(annotation):
        return f"a {annotation.__name__}"
    return str(annotation).replace("typing.", "").replace("collections.abc.", "")


def dataclass_in(annotation: Any) -> type | None:  # noqa: ANN401  an annotation can be anything
    """The dataclass that a type is, or allows beside others."""
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and dataclasses.is_dataclass(candidate):
            return candidate
    return None


def _constructors(cls: type) -> list[type]:
    """The classes of the MRO whose `__init__` sees the options, first to last."""
    seen = []
    for klass in cls.__mro__:
        if "__init__" not in vars(klass) or klass is object:
            continue
        seen.append(klass)
        if not _has_kwargs(klass.__init__):  # type: ignore[misc]
            break
    return seen


def _has_kwargs(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _named_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return [parameter for parameter in parameters if parameter.kind not in variadic]


def _type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):  # names that exist for type checkers only
        return {}


def _descriptions(klass: type) -> dict[str, str]:
    """Parameter -> its words in the docstring of the class or of `__init__`."""
    from docstring_parser import parse

    texts = (klass.__doc__, klass.__init__.__doc__)  # type: ignore[misc]
    return {
        parameter.arg_name: " ".join((parameter.description or "").split())
        for text in texts
        if text
        for parameter in parse(text).params
    }
