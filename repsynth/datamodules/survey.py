"""What is usable of a data set, found out once and kept in a cache beside other data of the user."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from repsynth.cache import cached, default_cache, key_of
from repsynth.datamodules.posed_scene import PosedScene, SceneReader, UnusableSceneError
from repsynth.errors import UserError

_VERSION = 1
"""Of the cached form; a change makes older files useless."""


@dataclass
class Survey:
    """Counts of one part of a data set."""

    usable: list[str] = field(default_factory=list)
    """Names of the scenes that can give examples, sorted."""
    groups: list[str] = field(default_factory=list)
    """What each of them must not share with another part of the split (`PosedScene.group`)."""
    dropped: dict[str, list[str]] = field(default_factory=dict)
    """Why scenes are left out -> their names."""
    views: int = 0
    """Pictures of the usable scenes."""
    missing: int = 0
    """Rows of their camera files without a picture."""

    def summary(self) -> str:
        """The scenes that are left out, in words: "3 without frames, 1 static"; empty for none."""
        return ", ".join(f"{len(names)} {why}" for why, names in self.dropped.items())

    @property
    def first_dropped(self) -> str | None:
        """The first scene that is left out, by name."""
        return min((name for names in self.dropped.values() for name in names), default=None)


def survey(
    reader: SceneReader, complaint: Callable[[PosedScene], str | None], skip_bad: bool = False
) -> Survey:
    """Read every scene of a part.

    Args:
        reader: of the part.
        complaint: why a scene that can be read is of no use to these options, in few words; None when it is.
        skip_bad: leave out scenes that the reader refuses.

    Raises:
        UserError: from the reader, unless `skip_bad`.
    """
    found = Survey()
    for name in reader.names():
        try:
            scene = reader.read(name)
            why = complaint(scene)
        except UnusableSceneError as error:
            why = error.why
        except UserError:
            if not skip_bad:
                raise
            why = "with unreadable cameras"
        if why is not None:
            found.dropped.setdefault(why, []).append(name)
            continue
        found.usable.append(name)
        found.groups.append(scene.group or name)
        found.views += len(scene.pictures)
        found.missing += int(scene.numbers[-1] - scene.numbers[0]) + 1 - len(scene.pictures)
    return found


def cached_survey(
    reader: SceneReader,
    complaint: Callable[[PosedScene], str | None],
    skip_bad: bool,
    options: str,
    folder: Path | None,
) -> Survey:
    """The survey of a part, from the cache when nothing has changed.

    The key holds `options` and path, size and time of change of every file that the reader names. Processes that
    start together wait for the one that looks.

    Args:
        reader: of the part.
        complaint: see `survey`.
        skip_bad: see `survey`.
        options: everything else that the outcome depends on.
        folder: of the cache; None takes `default_cache()`.
    """
    files = (file for name in reader.names() for file in reader.files(name))
    key = key_of(_VERSION, reader, options, skip_bad, files=files)
    path = (folder or default_cache()) / f"survey-{key}.json"
    return cached(path, _read, lambda: survey(reader, complaint, skip_bad), _write)


def _read(path: Path) -> Survey | None:
    try:
        return Survey(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):  # not there, or half of it: look again
        return None


def _write(known: Survey, file: BinaryIO) -> None:
    file.write(json.dumps(asdict(known)).encode())
