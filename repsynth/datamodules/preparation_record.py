"""`preparation.json`, beside prepared pictures: how they were made, and what a run that goes on must do alike."""

import hashlib
import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import PIL
from PIL import features

import repsynth
from repsynth.datamodules.image_stores import ImageStore
from repsynth.datamodules.preparation_recipes import Preparation
from repsynth.errors import UserError

FILE = "preparation.json"

_CODECS = ("jpg", "libjpeg_turbo", "zlib", "zlib_ng", "webp")
"""Libraries inside Pillow that decide on bytes or pixels, as `PIL.features` calls them."""


@dataclass
class Record:
    """What the file holds."""

    recipe: str
    overrides: dict[str, Any]
    """Choices that differ from the recipe of that name."""
    filter: str
    crop: str
    format: str
    quality: int | None
    to: str
    convert_colours: bool
    sizes: list[int]
    allow_upscale: bool
    source: str
    """Where it was."""
    source_signature: str
    """Changes with names, sizes and times of change of its files, but not with those in `unreadable`."""
    libraries: dict[str, str | None]
    """Versions of Pillow and its codecs."""
    repsynth: str
    images: int
    """Of the source."""
    prepared: int = 0
    """Images in each size; known in the end."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Names of images that could not be used, and why."""
    unreadable: list[str] = field(default_factory=list)
    """Names of the images at which the last run stopped; they may be replaced or removed."""
    finished: bool = False

    @classmethod
    def of(
        cls, preparation: Preparation, source: Path, store: ImageStore, known: "Record | None"
    ) -> "Record":
        """What a run is about to do; `known` is what the file holds already."""
        unreadable = known.unreadable if known else []
        return cls(
            recipe=preparation.name,
            overrides=preparation.overrides,
            **asdict(preparation.recipe),
            sizes=list(preparation.sizes),
            allow_upscale=preparation.allow_upscale,
            source=str(source.absolute()),
            source_signature=signature(store, source, unreadable),
            libraries=libraries(),
            repsynth=repsynth.__version__,
            images=len(store),
            left_out=known.left_out if known else {},
            unreadable=unreadable,
        )

    def write(self, target: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            OSError: the folder cannot be written.
        """
        part = target / f".{FILE}.part"
        part.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(target / FILE)


def read_record(target: Path) -> Record | None:
    """What the file in a folder holds; None if there is none.

    Raises:
        UserError: it holds something else.
    """
    path = target / FILE
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read as the record of a preparation ({error}); choose another TARGET, or remove this "
            "one and start again"
        ) from error


def require_same(known: Record, wanted: Record, target: Path) -> None:
    """Raise UserError when pictures made now would differ from those that the record is of."""
    names = ("filter", "crop", "format", "quality", "to", "convert_colours", "sizes", "libraries")
    differing = [
        f"{name} was {_shown(getattr(known, name))}, is {_shown(getattr(wanted, name))}"
        for name in names
        if getattr(known, name) != getattr(wanted, name)
    ]
    if known.source_signature != wanted.source_signature:
        differing.append(f"the files of {known.source} were others")
    if differing:
        raise UserError(
            f"{target / FILE} is of another preparation: {'; '.join(differing)}; choose another TARGET, or remove "
            "this one to make it anew"
        )


def signature(store: ImageStore, source: Path, without: Collection[str]) -> str:
    """32 hexadecimal digits that change with the files of a store; see `Record.source_signature`.

    Args:
        store: of the pictures.
        source: the path that it was opened at: names count from there, so that a set may be moved.
        without: names of pictures whose files do not count, where each has its own.
    """
    ignored = set(without)
    base = source if source.is_dir() else source.parent
    digest = hashlib.sha256()
    for path in store.files:
        name = os.path.relpath(path, base)
        if name not in ignored:
            digest.update(f"{name} {_state(path)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def libraries() -> dict[str, str | None]:
    """Versions of what decodes, resizes and encodes."""
    return {"pillow": PIL.__version__} | {name: features.version(name) for name in _CODECS}


def _state(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:  # a link that leads nowhere
        return "missing"
    return f"{state.st_size} {state.st_mtime_ns}"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {each}" for key, each in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
