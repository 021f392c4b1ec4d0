from pathlib import Path

import pytest
import torch

from repsynth.errors import UserError
from repsynth.modules.hidt.styles import RELEASED, random_styles, read_styles, style_path


def test_named_styles_are_read(tmp_path: Path) -> None:
    path = tmp_path / "styles.txt"
    path.write_text("day,[-0.24035  0.49497 0.22636]\n\n night two , [1e-1 -2 3.]\nmean,[0, 0, 0]\n")
    styles = read_styles(path, 3)
    assert list(styles) == ["day", "night two", "mean"]
    torch.testing.assert_close(styles["night two"], torch.tensor([0.1, -2, 3]))
    torch.testing.assert_close(styles["day"], torch.tensor(RELEASED["day"]))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "day,[1 2]\n",
            r"styles\.txt, line 1: is 'day,\[1 2\]'; expected a name, a comma and 3 numbers in brackets",
        ),
        (
            "\nday [1 2 3]\n",
            r"line 2: is 'day \[1 2 3\]'; expected a name, .* such as `night,\[0\.5 0\.5 0\.5\]`",
        ),
        ("day,[1 2 x]\n", r"line 1: is 'day,\[1 2 x\]'"),
        ("day,[1 2 nan]\n", r"line 1: is 'day,\[1 2 nan\]'"),
        ("day,[]\n", r"line 1: is 'day,\[\]'"),
        ("a,[1 2 3]\na,[1 2 3]\n", r"line 2: names a again; rename or remove one of them"),
        ("\n", r"styles\.txt: names no style; expected one `name,\[a b c\]` per line"),
    ],
)
def test_files_that_are_no_styles(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "styles.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_styles(path, 3)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"none\.txt: cannot be read \(No such file or directory\); expected named"
    ):
        read_styles(tmp_path / "none.txt", 3)
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(
        UserError, match=r"picture\.png: cannot be read \(it is no text\); expected named styles"
    ):
        read_styles(picture, 3)


def test_eighteen_released_styles() -> None:
    assert len(RELEASED) == 18
    assert {len(style) for style in RELEASED.values()} == {3}


def test_random_styles_are_functions_of_seed_and_number() -> None:
    numbers = torch.arange(4000)
    styles = random_styles(3, numbers, 3)
    torch.testing.assert_close(styles.mean(0), torch.zeros(3), atol=0.06, rtol=0)
    torch.testing.assert_close(styles.T.cov(), torch.eye(3), atol=0.1, rtol=0)
    assert torch.equal(random_styles(3, numbers[[7, 2]], 3), styles[[7, 2]])
    assert torch.equal(random_styles(3, numbers, 3, temperature=0.5), 0.5 * styles)
    assert not torch.equal(random_styles(4, numbers, 3), styles)


def test_linear_paths_are_piecewise() -> None:
    styles = torch.tensor([[0.0, 0], [2, 0], [2, 4]])
    expected = torch.tensor([[0.0, 0], [1, 0], [2, 0], [2, 2], [2, 4]])
    torch.testing.assert_close(style_path(styles, 5), expected)
    closed = style_path(styles, 4, closed=True)
    torch.testing.assert_close(closed, torch.tensor([[0.0, 0], [2, 0], [2, 4], [0, 0]]))


def test_eased_paths_rest_at_every_style() -> None:
    styles = torch.tensor([[0.0], [1], [2]])
    found = style_path(styles, 201, timing="eased")[:, 0]
    torch.testing.assert_close(found[[0, 25, 50, 100, 150, 200]], torch.tensor([0, 0.15625, 0.5, 1, 1.5, 2]))
    speed = found.diff()
    assert speed.min() >= 0 and speed[[0, 99, 100, 199]].max() < 0.001


def test_spherical_paths_keep_length_and_speed() -> None:
    styles = torch.tensor([[2.0, 0, 0], [0, 2, 0]])
    found = style_path(styles, 10, curve="spherical")
    torch.testing.assert_close(found.norm(dim=1), torch.full((10,), 2.0))
    angles = torch.atan2(found[:, 1], found[:, 0])
    torch.testing.assert_close(angles, torch.linspace(0, torch.pi / 2, 10))
    growing = style_path(torch.tensor([[1.0, 0], [0, 3]]), 3, curve="spherical")
    torch.testing.assert_close(growing[1], torch.tensor([2.0, 2.0]) / 2**0.5)


@pytest.mark.parametrize("other", [[2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
def test_without_a_direction_spherical_paths_are_straight(other: list[float]) -> None:
    styles = torch.tensor([[1.0, 0.0], other])
    torch.testing.assert_close(style_path(styles, 5, curve="spherical"), style_path(styles, 5))


@pytest.mark.parametrize(("count", "frames", "name"), [(1, 5, "styles"), (2, 1, "frames")])
def test_paths_that_are_none(count: int, frames: int, name: str) -> None:
    with pytest.raises(UserError, match=rf"prediction\.{name} is 1; expected at least 2"):
        style_path(torch.zeros(count, 3), frames)
