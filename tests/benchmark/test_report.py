"""The same rows in four formats."""

import csv
import io
import json
from pathlib import Path

import pytest

from repsynth.benchmark.measure import Measurement
from repsynth.benchmark.published import find
from repsynth.benchmark.report import Report, Result, shown
from repsynth.benchmark.speed import Speed
from repsynth.benchmark.tables import Table, latex, markdown
from repsynth.metrics.table import Summary


@pytest.fixture
def report() -> Report:
    figures = {"psnr": Summary(25.126, 2.5, 0.5), "lpips_random": Summary(0.1234, 0.01, 0.002)}
    speed = Speed(Measurement(0.25, 0.2, 0.3), Measurement(0.01, 0.009, 0.02), 300 * 2**20)
    layers = Result(
        "a_1", "x|y", figures, 30, 28_428_503, Summary(0.987, 0.1, 0.01), speed, {"checkpoint": "a.ckpt"}
    )
    lost = {"psnr": Summary(float("nan"), None, None), "lpips_random": Summary(0.5, None, None)}
    plain = Result("nearest & co", "x|y", lost, 1, 0, None, Speed(None, Measurement(1e-4, 1e-4, 1e-4), None))
    return Report([layers, plain], [find("stereolayers/table1/sword")], {"task": "nvs"}, ["a note"])


def test_markdown(report: Report) -> None:
    lines = markdown(report.table()).splitlines()
    assert lines[:4] == [
        "| model | data | PSNR | lpips_random | SSIM | LPIPS | FLIP | parameters | scene | frames/s | memory | "
        "covered |",
        "|---" * 12 + "|",
        "| a_1 | x\\|y | 25.13 ± 2.50 | 0.123 ± 0.010 | - | - | - | 28.43 M | 0.25 s | 100 | 300 MiB | 98.7 % |",
        "| nearest & co | x\\|y | - | 0.500 | - | - | - | 0 | - | 10000 | - | - |",
    ]
    assert "| StereoLayers-4 | published [1] | 25.95 | - | 0.81 | 0.096 | 0.14 | - | - | - | - | - |" in lines
    assert lines[-3:] == [
        "a note",
        "",
        "published [1], not measured here: Khakhulin et al., Stereo Magnification with Multi-Layer Images, CVPR 2022, "
        "table 1, SWORD, central crops.",
    ]


def test_latex(report: Report) -> None:
    text = latex(report.table())
    lines = text.splitlines()
    assert lines[:2] == ["% \\usepackage{booktabs}", "% a note"]
    assert "\\begin{tabular}{llrrrrrrrrrr}" in lines
    others = "- & - & - & 28.43 M & 0.25 s & 100 & 300 MiB & 98.7 \\%"
    assert f"a\\_1 & x|y & 25.13 $\\pm$ 2.50 & 0.123 $\\pm$ 0.010 & {others} \\\\" in lines
    assert any(line.startswith("nearest \\& co & ") for line in lines)
    rules = [line for line in lines if line in ("\\toprule", "\\midrule", "\\bottomrule")]
    assert rules == ["\\toprule", "\\midrule", "\\bottomrule"] and lines[-1] == "\\end{tabular}"
    cells = [line.replace("\\&", "").count("&") for line in lines if line.endswith("\\\\")]
    assert set(cells) == {11}


def test_special_signs_do_not_break_latex() -> None:
    text = latex(Table(["m"], [["50% of {a_b} ~ $x^2$ # \\"]]))
    assert text.splitlines()[5] == (
        "50\\% of \\{a\\_b\\} \\textasciitilde{} \\$x\\textasciicircum{}2\\$ \\# \\textbackslash{} \\\\"
    )


def test_csv_holds_the_numbers(report: Report) -> None:
    first, second, *published = csv.DictReader(io.StringIO(report.csv()))
    assert (float(first["psnr"]), float(first["psnr_std"]), float(first["coverage"])) == (25.126, 2.5, 0.987)
    assert (first["model"], first["data"], first["source"]) == ("a_1", "x|y", "measured")
    assert (float(first["scene_seconds"]), float(first["view_seconds"])) == (0.25, 0.01)
    assert int(first["peak_memory_bytes"]) == 300 * 2**20
    assert (second["psnr_std"], second["coverage"], second["scene_seconds"]) == ("", "", "")
    assert len(published) == 8
    assert all(
        row["source"].startswith("published: Khakhulin") and row["coverage"] == "" for row in published
    )
    assert published[6]["model"] == "StereoLayers-4" and published[6]["lpips"] == "0.096"


def test_json_holds_everything(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path)
    content = json.loads((tmp_path / "benchmark.json").read_text())
    row = content["results"]["x|y"]["a_1"]
    assert row["figures"]["psnr"] == {"mean": 25.126, "std": 2.5, "standard_error": 0.5}
    assert row["speed"]["scene_seconds"] == {"median": 0.25, "best": 0.2, "worst": 0.3}
    assert (row["parameters"], row["checkpoint"], content["task"]) == (28_428_503, "a.ckpt", "nvs")
    assert content["results"]["x|y"]["nearest & co"]["figures"]["psnr"]["mean"] is None
    table = content["published"]["stereolayers/table1/sword"]
    assert table["rows"]["IBRNet"]["flip"] == "0.17" and "CVPR 2022" in table["source"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "benchmark.json",
        "table.csv",
        "table.md",
        "table.tex",
    }


@pytest.mark.parametrize(
    ("name", "value", "cell"),
    [("psnr", 20.126, "20.13"), ("ssim", 0.12345, "0.123"), ("ssim", None, "-"), ("flip", float("inf"), "-")],
)
def test_figures_are_shown_with_their_digits(name: str, value: float | None, cell: str) -> None:
    assert shown(name, value) == cell
