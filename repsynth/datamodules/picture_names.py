"""Which names below a folder or inside an archive are pictures, and lists of many of them."""

import os
from collections.abc import Iterable

import numpy as np

from repsynth.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_JUNK = "__MACOSX"
"""The folder that archives made on a Mac carry beside their content."""


def is_hidden(name: str) -> bool:
    """Whether a relative name has a part that starts with a dot, or is what a Mac adds to archives."""
    return any(part.startswith(".") or part == _JUNK for part in name.split("/"))


def is_picture(name: str) -> bool:
    """Whether a relative name, its parts divided by slashes, has a suffix of a picture and is not hidden."""
    return name.lower().endswith(SUFFIXES) and not is_hidden(name)


def is_encoded_picture(content: bytes) -> bool:
    """Whether bytes begin as a JPEG, PNG or WebP file does."""
    return content.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (
        content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    )


def packed(names: Iterable[str]) -> np.ndarray:
    """[N] names as bytes: one piece of memory that processes share, where a list is copied by being read."""
    # A text array would take four bytes for each of the longest name's letters.
    encoded = [os.fsencode(name) for name in names]
    return np.array(encoded, dtype="S") if encoded else np.empty(0, dtype="S1")


def unpacked(names: np.ndarray, index: int) -> str:
    """One of the `packed` names."""
    return os.fsdecode(bytes(names[index]))


def require_unique(names: Iterable[str], where: str) -> None:
    """Raise UserError when a name comes twice; `where` is the archive and begins the sentence."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(
                f"{where} holds {name} twice; names are the ids of pictures: write the archive anew, each once"
            )
        seen.add(name)
