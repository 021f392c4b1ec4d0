"""Small pieces of the sentences that users read."""

import difflib
from collections.abc import Iterable

_LISTED = 12  # more names than this in one sentence are not read


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None when none is alike."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest one, else the known ones when they are few."""
    names = sorted(known)
    match = nearest(name, names)
    if match is not None:
        return f"did you mean '{match}'?"
    if not names:
        return "nothing is known there"
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    return f"known: {listed}"


def one_line(text: str) -> str:
    """The text with all white space, line breaks included, turned into single blanks."""
    return " ".join(text.split())
