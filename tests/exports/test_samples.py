import json
from pathlib import Path

import pytest
import torch

from repsynth.exports.prediction import Prediction
from repsynth.exports.samples import write_sample


def prediction(**more: object) -> Prediction:
    frames = torch.zeros(2, 1, 3, 8, 8, dtype=torch.uint8)
    return {"ids": ["a/b", "c"], "frames": frames, **more}  # type: ignore[typeddict-item]


def test_figures_lie_beside_the_picture(tmp_path: Path) -> None:
    found = prediction(figures=[{"psnr": 1.5}, {"psnr": 2.5, "w": [0.25, -1.0]}])
    written = [write_sample(found, index, tmp_path, fps=25) for index in range(2)]
    assert written == [
        [tmp_path / "a_b.png", tmp_path / "a_b" / "figures.json"],
        [tmp_path / "c.png", tmp_path / "c" / "figures.json"],
    ]
    assert json.loads(written[0][1].read_text()) == {"psnr": 1.5}
    assert json.loads(written[1][1].read_text()) == {"psnr": 2.5, "w": [0.25, -1.0]}


def test_figures_of_named_views_lie_among_them(tmp_path: Path) -> None:
    found = prediction(names=["left"], figures=[{}, {"count": 3}])
    assert write_sample(found, 1, tmp_path, fps=25) == [
        tmp_path / "c" / "left.png",
        tmp_path / "c" / "figures.json",
    ]


def test_without_figures_there_is_no_folder(tmp_path: Path) -> None:
    assert write_sample(prediction(), 1, tmp_path, fps=25) == [tmp_path / "c.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["c.png"]


def test_figures_that_are_no_numbers_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_sample(prediction(figures=[{"psnr": float("nan")}, {}]), 0, tmp_path, fps=25)
    assert not list(tmp_path.rglob("*.json"))
