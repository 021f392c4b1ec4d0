"""`repsynth describe METHOD`: the card of a method, and what its module can be told."""

import importlib
import importlib.util
import pkgutil
import textwrap

from repsynth import modules
from repsynth.card import MethodCard
from repsynth.cli.wording import suggestion
from repsynth.errors import UserError

_WIDTH = 100


def methods() -> list[str]:
    """The packages below `repsynth.modules`: the names of the methods."""
    return sorted(module.name for module in pkgutil.iter_modules(modules.__path__) if module.ispkg)


def card(method: str) -> MethodCard:
    """The card of a method, by its name or by the dotted path of a package that defines `CARD`.

    Raises:
        UserError: There is no such method (with the nearest one), or its package has no card.
    """
    path = f"repsynth.modules.{method}" if method in methods() else method
    if "." not in path and importlib.util.find_spec(path) is None:
        raise UserError(f"unknown method '{method}': {suggestion(method, methods())}")
    try:
        found = getattr(importlib.import_module(path), "CARD", None)
    except ModuleNotFoundError as error:
        raise UserError(f"unknown method '{method}' ({error}): {suggestion(method, methods())}") from error
    if not isinstance(found, MethodCard):
        raise UserError(
            f"{path} describes no method: define CARD, a repsynth.card.MethodCard, in its __init__.py"
        )
    return found


def print_description(method: str) -> None:
    """Print the card, the losses and the constructor options of a method."""
    described = card(method)
    print(f"{described.name}: {described.title} ({described.venue})\n{described.paper}\n")
    for title, text in (
        ("Task", described.task),
        ("Inputs", described.inputs),
        ("Outputs", described.outputs),
    ):
        print(_paragraph(title, text))
    print("\nLosses")
    for term, text in described.losses.items():
        print(_paragraph(f"  {term}", text))
    print(f"\nOptions of {described.module} (model.init_args)")
    _print_options(described.module)


def _print_options(class_path: str) -> None:
    from repsynth.cli import classes

    _print_constructor(classes.load(class_path, "module", "in the method's card"), 2)


def _print_constructor(cls: type, indentation: int) -> None:
    """The options of a class, and below each the options of the dataclass that it takes."""
    from repsynth.cli import signatures

    for option in signatures.options(cls).values():
        default = "required" if option.required else f"default {option.default!r}"
        print(f"{' ' * indentation}{option.name}: {signatures.readable_type(option.annotation)}, {default}")
        if option.description:
            margin = " " * (indentation + 4)
            text = textwrap.fill(option.description, _WIDTH, initial_indent=margin, subsequent_indent=margin)
            print(text)
        structure = signatures.dataclass_in(option.annotation)
        if structure is not None:
            _print_constructor(structure, indentation + 4)


def _paragraph(title: str, text: str) -> str:
    return textwrap.fill(f"{title}: {text}", _WIDTH, subsequent_indent=" " * 10)
