"""Prepared pictures inside an LMDB for each size, as the official CIPS code writes them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from repsynth.datamodules.preparation_targets import Done
from repsynth.errors import UserError

BATCH = 64
"""Pictures of the source between commits."""

_LENGTH, _PROGRESS = b"length", b"progress"
"""The entry of a whole LMDB with the number of its pictures, and that of an unfinished one: how far it is."""
_ROOM = 1 << 40
"""Bytes that an LMDB may grow to; it takes only what it holds."""


@dataclass(eq=False)
class LmdbTarget:
    """A `preparation_targets.Target`; keys are numbers of 7 digits, and pictures that cannot be used have none.

    Commits fall behind every 64th picture of the source, and each opens the file anew: what lmdb writes then depends
    only on what the file holds, so that a run that was killed anywhere and started again gives the file of one that
    was not.
    """

    places: dict[int, Path]
    """The folders by size."""
    count: int
    """Pictures of the source."""
    states: dict[int, "State"]
    """How far each size is."""
    waiting: list[Done] = field(default_factory=list)
    """Accepted since the last commit."""

    @classmethod
    def of(cls, places: dict[int, Path], count: int) -> "LmdbTarget":
        """Go on with what is in folders.

        Raises:
            UserError: lmdb is not installed, or something there is damaged.
        """
        return cls(places, count, {size: _state(place, count) for size, place in places.items()})

    def first(self) -> int:
        """The first picture behind the commits of some size."""
        return min(state.seen for state in self.states.values())

    def lacking(self, index: int) -> list[int]:
        """The sizes whose commits end before a picture."""
        return [size for size, state in self.states.items() if state.seen <= index]

    def keep(self, index: int, contents: dict[int, bytes]) -> dict[int, bytes]:
        """One process has to store all of them."""
        return contents

    def accept(self, done: Done) -> None:
        """Store a picture."""
        self.waiting.append(done)
        seen = done.index + 1
        if seen % BATCH == 0 or seen == self.count:
            for size in self.places:
                if self.states[size].seen < seen:
                    self._commit(size, seen)
            self.waiting.clear()

    def left_out(self) -> dict[int, str]:
        """Those of the size that is least far."""
        least = min(self.states.values(), key=lambda state: state.seen)
        return dict(least.left_out)

    def finish(self) -> None:
        """Write the numbers of pictures."""
        for size, state in self.states.items():
            if not state.finished:
                entries = {_LENGTH: f"{state.written:07d}".encode(), _PROGRESS: None}
                _write(self.places[size], entries)
                state.finished = True

    def _commit(self, size: int, seen: int) -> None:
        state = self.states[size]
        entries: dict[bytes, bytes | None] = {}
        for done in self.waiting:
            if done.complaint is not None:
                state.left_out[done.index] = done.complaint
            else:
                assert done.contents is not None
                entries[f"{state.written:07d}".encode()] = done.contents[size]
                state.written += 1
        state.seen = seen
        entries[_PROGRESS] = state.encoded()
        _write(self.places[size], entries)


@dataclass
class State:
    """How far the LMDB of one size is."""

    seen: int = 0
    """Pictures of the source that have been committed or left out."""
    written: int = 0
    left_out: dict[int, str] = field(default_factory=dict)
    finished: bool = False

    def encoded(self) -> bytes:
        """The entry of an unfinished LMDB."""
        return json.dumps([self.seen, self.written, list(self.left_out.items())]).encode()

    @classmethod
    def decoded(cls, content: bytes) -> "State":
        """Read that entry."""
        seen, written, left_out = json.loads(content)
        return cls(seen, written, dict(left_out))


def require_lmdb() -> ModuleType:
    """The package lmdb.

    Raises:
        UserError: it is not installed.
    """
    try:
        import lmdb
    except ImportError as error:
        raise UserError(
            "--to lmdb needs the lmdb package: pip install repsynth[lmdb], or choose --to folder or zip"
        ) from error
    module: ModuleType = lmdb
    return module


def _state(place: Path, count: int) -> State:
    """How far the LMDB in a folder is, which need not be there."""
    lmdb = require_lmdb()
    if not (place / "data.mdb").exists():
        return State()
    try:
        with _opened(place) as environment, environment.begin() as transaction:
            length, progress = transaction.get(_LENGTH), transaction.get(_PROGRESS)
    except lmdb.Error as error:
        raise UserError(
            f"{place} cannot be read as an LMDB ({error}); remove the folder and start again"
        ) from error
    if length is not None:
        return State(count, int(length), finished=True)
    return State() if progress is None else State.decoded(progress)


def _write(place: Path, entries: dict[bytes, bytes | None]) -> None:
    """Put entries, or remove them for None, in one commit."""
    lmdb = require_lmdb()
    place.mkdir(parents=True, exist_ok=True)
    try:
        with _opened(place) as environment, environment.begin(write=True) as transaction:
            for key, content in entries.items():
                if content is None:
                    transaction.delete(key)
                else:
                    transaction.put(key, content)
    except lmdb.Error as error:
        raise OSError(0, str(error)) from error


def _opened(place: Path) -> Any:  # noqa: ANN401  of an optional package
    # One process writes, as the lock of the whole preparation sees to: no file for locks is needed.
    return require_lmdb().open(str(place), map_size=_ROOM, lock=False, readahead=False)
