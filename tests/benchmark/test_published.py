"""Each published figure stands where the paper's dossier has it."""

import re
from pathlib import Path

import pytest

from repsynth.benchmark.published import find, tables
from repsynth.errors import UserError

FOUR = ("psnr", "ssim", "lpips", "flip")


@pytest.fixture(scope="module")
def section(shared_dir: Path) -> str:
    text = (shared_dir / "methods" / "stereolayers.md").read_text()
    return text[text.index("\n## 10. ") : text.index("\n## 11. ")].replace("**", "")


def as_rows(cells: dict[str, str]) -> dict[str, dict[str, str]]:
    """Model -> "a / b / c / d" as figures."""
    return {
        model: dict(zip(FOUR, re.findall(r"[\d.]+", figures)[:4], strict=True))
        for model, figures in cells.items()
    }


def lines(section: str, start: str) -> list[list[str]]:
    """The rows of the Markdown table whose title line starts so, without title and rule."""
    body = section[section.index(start) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


@pytest.mark.parametrize(("column", "name"), [(1, "sword"), (2, "realestate10k"), (3, "llff")])
def test_the_main_table(section: str, column: int, name: str) -> None:
    cells = {row[0]: row[column] for row in lines(section, "| model | SWORD")}
    assert len(cells) == 8
    assert find(f"stereolayers/table1/{name}").rows == as_rows(cells)


def test_the_ablation(section: str) -> None:
    text = section[section.index("Ablation on SWORD") :].splitlines()[0]
    cells = dict(re.findall(r"([A-Z]{2}\+[A-Za-z]+) ([\d./]+\d)", text))
    assert len(cells) == 7
    assert find("stereolayers/ablation/sword").rows == as_rows(cells)


def test_training_on_other_data(section: str) -> None:
    rows = lines(section, "| trained on -> tested on")
    assert len(rows) == 4
    for words, *figures in rows:
        key = words.lower().replace(" -> ", "-")
        expected = as_rows(dict(zip(("StereoMag-32", "StereoLayers-4"), figures, strict=True)))
        assert find(f"stereolayers/cross/{key}").rows == expected


def test_high_resolution(section: str) -> None:
    text = section[section.index("High resolution on SWORD") :].splitlines()[0].partition(": ")[2]
    parts = [part.split(" ") for part in text.rstrip(".").split("; ")]
    names = {"ours": "StereoLayers"}
    cells = {names.get(name, name): figures for name, figures in parts}
    assert find("stereolayers/high-resolution/sword").rows == as_rows(cells)


def test_figures_are_printed_as_in_the_paper() -> None:
    """Without the dossier beside the checkout: one figure of each table, and zeros at the end stay."""
    assert find("stereolayers/table1/sword").rows["StereoLayers-4"]["psnr"] == "25.95"
    assert find("stereolayers/table1/realestate10k").rows["StereoMag-P8"] == {
        "psnr": "22.00", "ssim": "0.69", "lpips": "0.160", "flip": "0.24",
    }  # fmt: skip
    assert find("stereolayers/table1/llff").rows["StereoMag-P4"]["lpips"] == "0.150"
    assert find("stereolayers/ablation/sword").rows["SA+RAW"]["psnr"] == "24.30"
    assert find("stereolayers/cross/realestate10k-llff").rows["StereoLayers-4"]["psnr"] == "21.52"
    assert find("stereolayers/high-resolution/sword").rows["IBRNet"]["flip"] == "0.27"


def test_every_table_names_its_source() -> None:
    for key, table in tables().items():
        assert table.key == key and "CVPR 2022" in table.source and table.about


def test_an_unknown_table_is_told_with_the_nearest() -> None:
    with pytest.raises(
        UserError, match=r"unknown published table 'x/y'; known: stereolayers/ablation/sword, "
    ):
        find("x/y")
