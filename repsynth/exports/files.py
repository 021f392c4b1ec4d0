"""Names of written files, and files that are either whole or not there."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np


def file_name(sample: str) -> str:
    """The name that a sample's files share; it depends on the id alone, so that any rank may write them.

    What file systems dislike becomes underscores, also a leading dot.
    """
    name = re.sub(r"[^\w.-]+", "_", sample)
    return "_" + name.lstrip(".") if name.startswith(".") else name


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Let a function write a file under another name, then give it its own; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        write(file)
    temporary.replace(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    write_atomically(path, lambda file: _write_all(file, content))


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a NumPy file (.npy) atomically."""
    write_atomically(path, lambda file: np.save(file, array, allow_pickle=False))


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically; numbers must be finite."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _write_all(file: BinaryIO, content: bytes) -> None:
    file.write(content)
