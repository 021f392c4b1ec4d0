"""Another class than the experiment's, named on the command line or in a second file."""

from pathlib import Path
from typing import Any

import pytest

from repsynth.cli import main
from repsynth.cli.configuration import merge
from repsynth.cli.parsing import parse

from .conftest import YAML

OTHER = """
from toy_method.data import ToyPictures

class Stripes(ToyPictures):
    '''Pictures that need a folder.

    Args:
        root: Folder.
        size: Number of stripes.
        options: of the base.
    '''

    def __init__(self, root: str, size: int = 3, **options: int) -> None:
        super().__init__(root=root, size=size, **options)
"""


@pytest.fixture
def other(toy: Path) -> Path:
    (toy / "stripes.py").write_text(OTHER)
    (toy / "second.yaml").write_text("data:\n  class_path: stripes.Stripes\n  init_args: {root: .}\n")
    (toy / "first.yaml").write_text(
        "model:\n  class_path: toy_method.module.ToyMethod\n  init_args: {width: 3}\n"
        "data:\n  class_path: toy_method.data.ToyPictures\n"
        "  init_args: {root: elsewhere, size: 8, side: 8, batch_size: 1}\n"
    )
    return toy


def data_of(*words: str) -> dict[str, Any]:
    configuration = merge(words)
    parsed = parse(words, configuration).plain()["data"]
    given = configuration.values["data"]
    assert set(configuration.origins) >= {f"data.init_args.{name}" for name in given.get("init_args", {})}
    assert parsed["class_path"] == given["class_path"]
    # What the sentences of mistakes are about and what the parser reads are the same.
    assert {name: str(parsed["init_args"][name]) for name in given.get("init_args", {})} == {
        name: str(value) for name, value in given.get("init_args", {}).items()
    }
    options: dict[str, Any] = parsed["init_args"]
    return options


@pytest.mark.parametrize(
    "words",
    [
        ["--data", "stripes.Stripes", "--data.root", "."],
        ["--data=stripes.Stripes", "--data.root=."],
        ["--data.class_path", "stripes.Stripes", "--data.init_args.root", "."],
        ["--data.root", ".", "--data", "stripes.Stripes"],
        ['--data={"class_path": "stripes.Stripes", "init_args": {"root": "."}}'],
        ["--config", "second.yaml"],
    ],
)
def test_it_begins_with_its_own_defaults(
    words: list[str], other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert merge(["--config", "first.yaml", *words]).values["data"]["init_args"] == {"root": "."}
    found = data_of("--config", "first.yaml", *words)
    assert found == {"root": ".", "size": 3, "side": 4, "batch_size": 2, "num_workers": 0}
    assert capsys.readouterr().err == (
        "note: data is stripes.Stripes, so the options of ToyPictures in first.yaml are not used: root, size, side, "
        "batch_size\n"
    )


def test_what_the_command_line_says_stays(other: Path) -> None:
    words = ["--data.side=12", "--data", "stripes.Stripes", "--data.root=.", "--data.batch_size=6"]
    found = data_of("--config", "first.yaml", *words)
    assert (found["side"], found["size"], found["batch_size"]) == (12, 3, 6)


def test_files_in_two_parts_lose_their_options_too(other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("more.yaml").write_text("data:\n  init_args: {side: 16}\n")
    found = data_of("--config=first.yaml", "--config=more.yaml", "--data=stripes.Stripes", "--data.root=.")
    assert found["side"] == 4
    assert capsys.readouterr().err.splitlines() == [
        "note: data is stripes.Stripes, so the options of ToyPictures in first.yaml are not used: root, size, side, "
        "batch_size",
        "note: data is stripes.Stripes, so the options of ToyPictures in more.yaml are not used: side",
    ]


def test_the_same_class_keeps_them(other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "toy_method.data.ToyPictures"
    for word in (f"--data.class_path={name}", f"--data={name}", f'--data={{"class_path": "{name}"}}'):
        found = data_of("--config", "first.yaml", word)
        assert (found["size"], found["side"]) == (8, 8)
    assert capsys.readouterr().err == ""


def test_an_option_of_the_former_class_is_not_taken_for_the_new_one(
    other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`root: elsewhere` is where the other data is."""
    assert main(["fit", "--config", "first.yaml", "--data", "stripes.Stripes"]) == 2
    assert capsys.readouterr().err == (
        "error: option 'data.init_args.root' is missing (on the command line): Stripes needs a text\n"
    )


def test_a_run_with_another_class(toy: Path, other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "stripes.Stripes", "--data.root", ".", "--data.size", "4"]
    assert main(["fit", "--config", YAML, *words]) == 0
    saved = Path("runs/toy-synthetic/config.yaml").read_text()
    assert "class_path: stripes.Stripes" in saved and "size: 4" in saved
    assert saved.splitlines()[0].startswith("seed_everything")
