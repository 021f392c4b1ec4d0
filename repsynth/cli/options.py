"""The words of the command line as options, in the order in which they count."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from repsynth.errors import UserError

CLASSES = ("model", "data")
"""Sections that name a class."""
CONFIG = ("config", "c")
"""Keys of configuration files."""
_SWITCHES = ("--print_config", "--help")


class Option(NamedTuple):
    """One option of the command line; a switch has the key ""."""

    key: str
    value: str
    words: Sequence[str]


def options(arguments: Sequence[str]) -> list[Option]:
    """What the command line gives; between two files the class of a section comes before its options."""
    runs: list[list[Option]] = [[]]
    for option in _split(arguments):
        if option.key in CONFIG:
            runs.append([])
        runs[-1].append(option)
    return list(chain.from_iterable(sorted(run, key=_rank) for run in runs))


def _rank(option: Option) -> int:
    if option.key in CONFIG:
        return 0
    return 1 if option.key.removesuffix(".class_path") in CLASSES else 2


def _split(arguments: Sequence[str]) -> list[Option]:
    """Split `--key value`, `--key=value` and `--key+=value`; a trailing + stays at the key."""
    found = []
    position = 0
    while position < len(arguments):
        token = arguments[position]
        position += 1
        if token.startswith(_SWITCHES):
            found.append(Option("", "", [token]))
            continue
        if not token.startswith("-"):
            raise UserError(
                f"'{token}' on the command line belongs to no option; write --trainer.max_epochs 5"
            )
        key, equals, value = token.lstrip("-").partition("=")
        words = [token]
        if not equals:
            if position == len(arguments):
                raise UserError(f"option --{key} on the command line needs a value")
            value = arguments[position]
            words.append(value)
            position += 1
        found.append(Option(key, value, words))
    return found
