"""Pictures that lie inside something else, for readers that want a path."""

import io
from pathlib import Path
from typing import cast


class NamedBytes(io.BytesIO):
    """The bytes of a picture, called something in messages: Pillow reads a file object like a path."""

    def __init__(self, content: bytes, label: str) -> None:
        super().__init__(content)
        self.label = label

    def __str__(self) -> str:
        return self.label

    def __repr__(self) -> str:
        return repr(self.label)


def as_path(content: bytes, label: str) -> Path:
    """Return bytes as what `images.read_image` and its like take."""
    return cast(Path, NamedBytes(content, label))
