"""Classes of pictures from a file, and how often each is trained on."""

from collections import Counter
from pathlib import Path

import pytest

from repsynth.datamodules.image_folder import ImageFolder
from repsynth.errors import UserError
from tests.datamodules.stored_sets import encoded, noise


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "photographs"
    (folder / "a").mkdir(parents=True)
    for number in range(7):
        (folder / "a" / f"{number}.png").write_bytes(encoded(noise(number, 16, 16)))
    return folder


def ids_of_an_epoch(data: ImageFolder) -> list[str]:
    return [name for batch in data.train_dataloader() for name in batch["ids"]]


def classes(tmp_path: Path, text: str) -> str:
    file = tmp_path / "classes.csv"
    file.write_text(text)
    return str(file)


def test_every_class_is_seen_equally_often(root: Path, tmp_path: Path) -> None:
    lines = [f"a/{number}.png,{'night' if number < 2 else 'day'}" for number in range(7)]
    file = classes(tmp_path, "\n".join([*lines, "", "elsewhere/9.png,dusk"]))
    seen = Counter(ids_of_an_epoch(ImageFolder(str(root), 16, class_file=file, batch_size=5)))
    assert [seen[f"a/{number}.png"] for number in range(7)] == [3, 2, 1, 1, 1, 1, 1]


def test_without_the_option_every_picture_is_seen_once(root: Path) -> None:
    assert sorted(ids_of_an_epoch(ImageFolder(str(root), 16, batch_size=7))) == [
        f"a/{number}.png" for number in range(7)
    ]


def test_the_real_set_is_not_balanced(root: Path, tmp_path: Path) -> None:
    file = classes(tmp_path, "\n".join(f"a/{number}.png,{min(number, 1)}" for number in range(7)))
    assert len(ImageFolder(str(root), 16, class_file=file).real_images("test")) == 7  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "a/0.png,day\n",
            "{file} (option data.class_file) has no line for the picture a/1.png; expected a line 'name,class' for "
            "each, such as 'a/1.png,day'",
        ),
        ("a/0.png\n", "{file}, line 1 (option data.class_file): 'a/0.png'; expected 'name,class'"),
        (
            "a/0.png,day\na/1.png,\n",
            "{file}, line 2 (option data.class_file): 'a/1.png,'; expected 'name,class'",
        ),
    ],
)
def test_a_file_that_tells_too_little(root: Path, tmp_path: Path, text: str, sentence: str) -> None:
    file = classes(tmp_path, text)
    with pytest.raises(UserError) as raised:
        ImageFolder(str(root), 16, class_file=file).check("fit")
    assert str(raised.value) == sentence.format(file=file)


def test_a_file_that_is_not_there(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"nowhere.csv \(option data.class_file\) cannot be read \(.*No such file"
    ):
        ImageFolder(str(root), 16, class_file=str(tmp_path / "nowhere.csv")).check("fit")
