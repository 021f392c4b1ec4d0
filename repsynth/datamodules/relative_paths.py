"""Paths written in the files of a data set, which must stay below its root."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from repsynth.errors import UserError


def below(root: Path, written: str, where: str) -> Path:
    """The path `written`, relative to `root`.

    Links below the root may lead elsewhere: the user made them. What a list says may not.

    Args:
        root: of the data set.
        written: what the file says.
        where: names the file and the field in the message.

    Raises:
        UserError: an absolute path, one that leaves the root, or an empty one.
    """
    absolute = PurePosixPath(written).is_absolute() or PureWindowsPath(written).drive
    if not written.strip() or absolute or Path(os.path.normpath(written)).parts[:1] == (os.pardir,):
        raise UserError(
            f"{where} is {written!r}; expected a relative path that stays below {root}: correct it in the file"
        )
    return root / written
