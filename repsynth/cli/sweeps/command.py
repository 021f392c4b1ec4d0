"""The command of a sweep and its trials, worded as W&B's agent would."""

from collections.abc import Mapping
from typing import Any

from repsynth.errors import UserError

_ENV, _ARGS, _ARGS_NO_EQUALS = "${env}", "${args}", "${args_no_equals}"
_STARTS = (
    ("repsynth", "fit"),
    ("${interpreter}", "-m", "repsynth", "fit"),
    ("python", "-m", "repsynth", "fit"),
)
_EXPECTED = "expected the words ${env}, repsynth, fit, --config, FILE, ${args}"


def check_command(given: object) -> tuple[str, ...]:
    """The words of a sweep's command.

    Raises:
        UserError: it is no call of `repsynth fit`, or does not pass the parameters on in a way that it reads.
    """
    if given is None:
        raise UserError(f"the sweep has no command, so that W&B would run the program itself; {_EXPECTED}")
    if not isinstance(given, list) or not all(isinstance(word, str | int | float) for word in given):
        raise UserError(f"command is {given!r}; {_EXPECTED}, one a line")
    words = tuple(str(word) for word in given)
    rest = _after_start(words)
    if rest is None:
        raise UserError(f"the command '{' '.join(words)}' does not call `repsynth fit`; {_EXPECTED}")
    if any("${envvar:" in word for word in words):
        raise UserError(
            "the command has ${envvar:NAME}, which W&B reads once for all trials of an agent; write $NAME in "
            "--trainer.default_root_dir, which every trial reads"
        )
    placeholders = [word for word in rest if word.startswith("${")]
    if placeholders not in ([_ARGS], [_ARGS_NO_EQUALS]):
        raise UserError(
            f"the command passes on {', '.join(placeholders) or 'no parameters'}; expected {_ARGS} once, which gives "
            "--NAME=VALUE for every parameter"
        )
    return words


def arguments(command: tuple[str, ...], parameters: Mapping[str, Any]) -> list[str]:
    """What follows `repsynth fit` in a trial with these parameters.

    Args:
        command: as `check_command` returns it.
        parameters: name -> value.
    """
    rest = _after_start(command)
    assert rest is not None
    found: list[str] = []
    for word in rest:
        if word == _ARGS:
            found += [f"--{name}={value}" for name, value in parameters.items()]
        elif word == _ARGS_NO_EQUALS:
            for name, value in parameters.items():
                found += [f"--{name}", str(value)]
        else:
            found.append(word)
    return found


def _after_start(words: tuple[str, ...]) -> tuple[str, ...] | None:
    """The words after `repsynth fit`, or None where something else is called."""
    rest = words[1:] if words and words[0] == _ENV else words
    for start in _STARTS:
        if rest[: len(start)] == start:
            return rest[len(start) :]
    return None
