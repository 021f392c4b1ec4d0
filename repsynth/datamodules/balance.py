"""Training sets in which every class of pictures is seen equally often, by a file that tells the classes."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from repsynth.datamodules.image_stores import ImageStore
from repsynth.errors import UserError


def balanced(indices: np.ndarray, store: ImageStore, file: Path) -> np.ndarray:
    """Repeat pictures of the smaller classes until all classes are as large as the largest.

    Args:
        indices: [N] int64, pictures of the store.
        store: knows their names.
        file: CSV with a line `name,class` for each of them; lines of other pictures are passed over.

    Returns:
        [classes * largest] int64, class by class.

    Raises:
        UserError: the file cannot be read, or does not name a class for every picture.
    """
    classes = _classes(file)
    members: dict[str, list[int]] = {}
    for index, name in ((int(index), store.name(int(index))) for index in indices):
        if name not in classes:
            raise UserError(
                f"{file} (option data.class_file) has no line for the picture {name}; expected a line 'name,class' for "
                f"each, such as '{name},day'"
            )
        members.setdefault(classes[name], []).append(index)
    return _repeated(members)


def _repeated(members: Mapping[str, list[int]]) -> np.ndarray:
    """[classes * largest] int64: the members of every class, again and again up to the size of the largest."""
    largest = max(map(len, members.values()))
    return np.concatenate([np.resize(np.array(found, dtype=np.int64), largest) for found in members.values()])


def _classes(file: Path) -> dict[str, str]:
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            return dict(_pairs(file, csv.reader(lines)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{file} (option data.class_file) cannot be read ({error}); expected a CSV with lines 'name,class'"
        ) from error


def _pairs(file: Path, rows: Iterable[list[str]]) -> Iterator[tuple[str, str]]:
    for number, row in enumerate(rows, start=1):
        if not row:
            continue
        if len(row) != 2 or not all(row):
            raise UserError(
                f"{file}, line {number} (option data.class_file): '{','.join(row)}'; expected 'name,class'"
            )
        yield row[0], row[1]
