"""From a class path in a configuration to the class, with a sentence when there is none."""

import importlib
import importlib.util
import inspect
import pkgutil
from types import ModuleType

from repsynth.cli.wording import one_line, suggestion
from repsynth.errors import UserError


def load(class_path: str, key: str, origin: str) -> type:
    """Import the class that `class_path` names.

    Args:
        class_path: Dotted path of a class.
        key: The option it was given for, for the message.
        origin: Where it was given, for the message.

    Raises:
        UserError: No such module or class (with the nearest one), or the module fails to import.
    """
    unknown = f"unknown class '{class_path}' for {key} ({origin})"
    module_path, _, name = class_path.rpartition(".")
    if not module_path:
        raise UserError(f"{unknown}: expected a dotted path such as package.module.{class_path}")
    module = _import(module_path, unknown)
    found = getattr(module, name, None)
    if found is None:
        classes = [each for each, value in vars(module).items() if inspect.isclass(value)]
        raise UserError(f"{unknown}: module {module_path} has no '{name}'; {suggestion(name, classes)}")
    if not inspect.isclass(found):
        raise UserError(f"{unknown}: {class_path} is a {type(found).__name__}, expected a class")
    return found


def _import(module_path: str, unknown: str) -> ModuleType:
    parent: ModuleType | None = None
    path = ""
    for part in module_path.split("."):
        path = f"{path}.{part}" if path else part
        if not _exists(path):
            raise UserError(f"{unknown}: {_missing_part(parent, part)}")
        try:
            parent = importlib.import_module(path)
        except ImportError as error:
            raise UserError(f"{unknown}: importing {path} failed ({one_line(str(error))})") from error
    assert parent is not None
    return parent


def _exists(path: str) -> bool:
    try:
        return importlib.util.find_spec(path) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def _missing_part(parent: ModuleType | None, part: str) -> str:
    if parent is None:
        names = [module.name for module in pkgutil.iter_modules()]
        hint = _nearest_only(part, names)
        return f"no package '{part}' can be imported (is its folder on PYTHONPATH?); {hint}"
    names = [module.name for module in pkgutil.iter_modules(getattr(parent, "__path__", []))]
    return f"{parent.__name__} has no module '{part}'; {suggestion(part, names)}"


def _nearest_only(part: str, names: list[str]) -> str:
    hint = suggestion(part, names)
    return hint if hint.startswith("did") else "check its spelling"
