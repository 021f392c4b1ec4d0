"""Environment variables in the name of the run directory, such as $SCRATCH or the run's id of a W&B agent."""

import os
import re

from repsynth.errors import UserError

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def expanded(folder: str, origin: str) -> str:
    """The folder with every `$NAME` and `${NAME}` replaced by what the environment says.

    Args:
        folder: the option `trainer.default_root_dir`.
        origin: where it was given, for the message.

    Raises:
        UserError: a variable is not set.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if not os.environ.get(name):
            where = f" ({origin})" if origin else ""
            raise UserError(
                f"option 'trainer.default_root_dir'{where} is '{folder}', but the environment variable {name} is not "
                "set; set it, or give a folder without it"
            )
        return os.environ[name]

    return _VARIABLE.sub(value, folder)
