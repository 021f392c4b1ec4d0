"""Evaluation indices in pixelSplat's form; with a data set around them in test_realestate10k.py."""

import json
from pathlib import Path

import numpy as np
import pytest

from repsynth.datamodules.evaluation_index import check_options, indexed_examples, read_index
from repsynth.datamodules.posed_scene import PosedScene
from repsynth.datamodules.survey import Survey
from repsynth.errors import UserError


class Clips:
    """A reader of clips of 10 rows, of which some have no picture."""

    def __init__(self, **without: list[int]) -> None:
        self.without = without

    def names(self) -> list[str]:
        return sorted(self.without)

    def files(self, name: str) -> list[Path]:
        return []

    def rows(self, name: str) -> int:
        return 10

    def read(self, name: str) -> PosedScene:
        numbers = np.setdiff1d(np.arange(10), self.without[name])
        eyes = np.tile(np.eye(4), (len(numbers), 1, 1))
        return PosedScene(name, [None] * len(numbers), numbers, eyes, eyes[:, :3, :3], (1, 100), numbers)  # type: ignore[list-item]

    def __hash__(self) -> int:
        return id(self)


def index_of(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "index.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def entry(*rows: int) -> dict[str, list[int]]:
    return {"context": list(rows[:2]), "target": list(rows[2:])}


def test_null_entries_are_skipped_and_the_order_is_that_of_the_keys(tmp_path: Path) -> None:
    index = read_index(index_of(tmp_path, {"b": entry(1, 5, 3), "c": None, "a": entry(9, 0, 4, 5)}))
    assert list(index.entries) == ["a", "b"] and index.skipped == 1
    assert index.entries["a"] == ((9, 0), (4, 5))


def test_rows_become_places_among_the_pictures(tmp_path: Path) -> None:
    index = read_index(index_of(tmp_path, {"a": entry(9, 3, 5, 4), "b": entry(0, 9, 5)}))
    reader = Clips(a=[0, 1], b=[])
    given = indexed_examples(index, reader, Survey(usable=["a", "b"]), None, False)
    assert given.left_out == 0
    first, second = given.examples
    assert (first.name, first.scene, first.choice) == ("a", "a", ([7, 1], [3, 2]))
    assert second.choice == ([0, 9], [5])
    (only,) = indexed_examples(index, reader, Survey(usable=["a", "b"]), 1, False).examples
    assert only.name == "a"


def test_clips_that_lack_something_are_counted(tmp_path: Path) -> None:
    content = {"a": entry(0, 9, 5), "b": entry(0, 9, 5), "c": entry(0, 9, 5), "d": entry(0, 9, 5)}
    index = read_index(index_of(tmp_path, content))
    reader = Clips(a=[5, 7], b=[], c=[])
    found = Survey(usable=["a", "b"], dropped={"smaller than data.image_size": ["c"]})
    given = indexed_examples(index, reader, found, None, True)
    assert [example.name for example in given.examples] == ["b"] and given.left_out == 3
    with pytest.raises(UserError) as caught:
        indexed_examples(index, reader, found, None, False)
    assert str(caught.value) == (
        f"{index.path}: 3 of 4 clips lack frames that it names, first a (row 5 has no frame); get them, or set "
        "data.evaluation_partial: true to evaluate the others"
    )
    with pytest.raises(UserError) as caught:
        indexed_examples(index, reader, Survey(dropped={"without frames": ["a"]}), None, True)
    assert str(caught.value) == (
        f"{index.path}: 4 of 4 clips lack frames that it names, first a (without frames); get them"
    )


@pytest.mark.parametrize("partial", [False, True])
def test_a_row_that_the_clip_does_not_have_is_always_an_error(tmp_path: Path, partial: bool) -> None:
    index = read_index(index_of(tmp_path, {"a": entry(0, 9, 5), "b": entry(0, 10, 5)}))
    with pytest.raises(UserError) as caught:
        indexed_examples(index, Clips(a=[], b=[5, 9]), Survey(usable=["a", "b"]), None, partial)
    assert str(caught.value) == (
        f"{index.path}: b asks for row 10, but the clip has 10 rows, counted from 0; the index belongs to other "
        "camera files"
    )


def test_the_options_must_suit_the_index(tmp_path: Path) -> None:
    index = read_index(index_of(tmp_path, {"a": entry(0, 9, 5), "b": entry(0, 9, 5, 6, 7)}))
    check_options(index, 2, 1)
    with pytest.raises(UserError) as caught:
        check_options(index, 3, 1)
    assert str(caught.value) == (
        f"{index.path}: a has 2 context views, but data.source_views is 3; set it to 2 or use another index"
    )
    with pytest.raises(UserError) as caught:
        check_options(index, 2, 4)
    assert str(caught.value) == (
        f"{index.path}: clips have 1 to 3 target views, which cannot be joined to batches of "
        "data.eval_batch_size 4; set it to 1"
    )
    check_options(read_index(index_of(tmp_path, {"a": entry(0, 9, 5), "b": entry(0, 8, 6)})), 2, 4)


ROWS = "expected a list of rows of the clip, counted from 0"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "the evaluation index is no JSON file (*); get it again"),
        ("[]", 'holds no clips; expected {key: {"context": [..], "target": [..]} or null}'),
        ("{}", 'holds no clips; expected {key: {"context": [..], "target": [..]} or null}'),
        ({"a": None, "b": None}, "all 2 clips are null (skipped); use another index"),
        ({"a": [0, 1]}, f"context of a is null; {ROWS}"),
        ({"a": {"context": [0, 1]}}, f"target of a is null; {ROWS}"),
        ({"a": {"context": [0, 1], "target": []}}, f"target of a is []; {ROWS}"),
        ({"a": {"context": [0, 1.5], "target": [1]}}, f"context of a is [0, 1.5]; {ROWS}"),
        ({"a": {"context": [0, True], "target": [1]}}, f"context of a is [0, true]; {ROWS}"),
        ({"a": {"context": [0, -1], "target": [1]}}, f"context of a is [0, -1]; {ROWS}"),
        ({"a": {"context": "0 1", "target": [1]}}, f'context of a is "0 1"; {ROWS}'),
    ],
)
def test_a_wrong_index_gets_its_sentence(tmp_path: Path, content: object, sentence: str) -> None:
    path = index_of(tmp_path, content)
    with pytest.raises(UserError) as caught:
        read_index(path)
    before, _, after = sentence.partition("*")
    assert str(caught.value).startswith(f"{path}: {before}") and str(caught.value).endswith(after)


def test_an_index_that_is_not_there_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_index(tmp_path / "none.json")
    assert str(caught.value) == (
        f"{tmp_path / 'none.json'}: the evaluation index cannot be read (No such file or directory); give its "
        "path as data.evaluation_index"
    )
