import csv
import json
import math
import statistics
from pathlib import Path

import pytest

from repsynth.errors import UserError
from repsynth.metrics.table import gather, summarize, write_csv, write_json


def test_rows_are_sorted_by_id_whatever_their_order() -> None:
    assert gather([("b", (2.0,)), ("a", (math.nan,)), ("c", (1.0,))])[1:] == [("b", (2.0,)), ("c", (1.0,))]


def test_summary_agrees_with_the_standard_library() -> None:
    first, second = [1.0, 4.0, 9.5], [0.1, 0.2, 0.7]
    found = summarize(["p", "q"], [(str(i), pair) for i, pair in enumerate(zip(first, second, strict=True))])
    for name, column in {"p": first, "q": second}.items():
        deviation = statistics.stdev(column)
        assert found[name] == pytest.approx((statistics.fmean(column), deviation, deviation / math.sqrt(3)))


def test_one_image_has_a_mean_and_no_deviation() -> None:
    assert summarize(["p"], [("a", (3.0,))])["p"] == (3.0, None, None)


def test_duplicates_are_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"1 sample ids more than once \(a\).*use_distributed_sampler: false"):
        gather([("a", (1.0,)), ("b", (2.0,)), ("a", (1.0,))])


def test_an_empty_evaluation_is_refused() -> None:
    with pytest.raises(UserError, match="the evaluation set is empty"):
        gather([])


def test_csv_keeps_every_digit_and_any_id(tmp_path: Path) -> None:
    rows = [('scene "x", view\n1', (1 / 3, 2.0)), ("b", (math.inf, 1e-9))]
    write_csv(tmp_path / "new" / "val.csv", ["psnr", "ssim"], rows)
    with (tmp_path / "new" / "val.csv").open(newline="") as handle:
        titles, *lines = csv.reader(handle)
    assert titles == ["id", "psnr", "ssim"]
    assert [(line[0], tuple(map(float, line[1:]))) for line in lines] == rows


def test_json_is_valid_also_with_figures_that_are_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "val.json"
    path.write_text("older")
    write_json(path, {"figures": {"psnr": {"mean": math.nan, "std": 0.5}}, "count": 2})
    assert json.loads(path.read_text()) == {"figures": {"psnr": {"mean": None, "std": 0.5}}, "count": 2}
    assert list(tmp_path.iterdir()) == [path]
