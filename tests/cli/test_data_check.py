"""`repsynth data check` on a small data set with faults."""

import json
from pathlib import Path

import pytest

from repsynth.cli import main
from tests.datamodules.clip_folder import write_clip

EXPERIMENT = """
model: {{class_path: repsynth.modules.stereolayers.module.StereoLayers, init_args: {{perceptual: auto}}}}
data:
  class_path: repsynth.datamodules.realestate10k.RealEstate10K
  init_args: {{root: {root}, image_size: [24, 32], batch_size: 1, val_scenes: 1, cache_dir: {root}/cache}}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment whose weights are not here: only its data matter."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for number in range(3):
        write_clip(tmp_path, "train", f"{number:016x}")
    write_clip(tmp_path, "test", f"{9:016x}", without=[4])
    path = tmp_path / "experiment.yaml"
    path.write_text(EXPERIMENT.format(root=tmp_path))
    return path


def test_sound_data_are_answered_with_code_0(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(config), "--workers", "0"]) == 0
    printed, errors = capsys.readouterr()
    lines = printed.splitlines()
    assert lines[0].startswith("RealEstate10K: ") and lines[0].endswith(
        " s, every picture decoded, 1 processes"
    )
    assert lines[1] == (
        "train: 2 of 2 scenes usable, 0 left out, 0 faulty; 24 views, 0 rows without picture, 0 unreadable; 2 examples"
    )
    assert lines[2:5] == [
        "  sizes: 32 x 24 (24)",
        "  modes: RGB (24)",
        "  baselines: 0.1 / 0.4 / 0.9 (least / median / greatest, scene units)",
    ]
    assert lines[-1] == "no problems: the experiment can start"
    assert "  - test: 1 rows of camera files have no picture, 11 have" in lines
    assert "error" not in errors


def test_every_fault_is_listed_and_answered_with_code_2(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "frames" / "test" / f"{9:016x}"
    (pictures / "1000000.png").write_bytes(b"no picture")
    (pictures / "1033367.png").write_bytes((pictures / "1033367.png").read_bytes()[:60])
    cameras = tmp_path / "cameras" / "train" / f"{0:016x}.txt"
    cameras.write_text(cameras.read_text().replace("0.800000000", "nan", 1))
    out = tmp_path / "new" / "report.json"
    words = ["data", "check", str(config), "--json", str(out), "--workers", "2", "--data.batch_size", "5"]
    assert main(words) == 2
    printed, errors = capsys.readouterr()
    report = json.loads(out.read_text())
    assert len(report["problems"]) == 4 and "problems (4)" in printed
    for part in (
        "column 2 is nan",
        "1000000.png: cannot be decoded",
        "1033367.png: cannot be decoded",
        "batch_size 5",
    ):
        assert sum(part in problem for problem in report["problems"]) == 1
        assert part in printed
    assert report["parts"]["test"]["unreadable"] == 2 and report["parts"]["train"]["scenes"] == 2
    assert errors.splitlines()[-1] == (
        f"error: {config}: its data would stop the experiment (4 problems, the first: {report['problems'][0]})"
    )


def test_heads_alone_and_one_stage(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "frames" / "test" / f"{9:016x}" / "1033367.png"
    picture.write_bytes(picture.read_bytes()[:60])
    assert main(["data", "check", str(config), "--workers", "0", "--fast"]) == 0
    assert "only heads of pictures read" in capsys.readouterr().out
    assert main(["data", "check", str(config), "--workers", "0", "--stage", "fit"]) == 0
    printed = capsys.readouterr().out
    assert "val: 1 of 1" in printed and "test:" not in printed
    assert main(["data", "check", str(config), "--workers", "0", "--stage", "test"]) == 2


def test_a_folder_that_is_missing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(config), "--data.root", "nowhere", "--workers", "0"]) == 2
    printed, errors = capsys.readouterr()
    assert "problems (1)" in printed
    assert "(1 problem: RealEstate10K: no folder at nowhere (option data.root). Expected " in errors


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--workers", "-1"], "--workers is -1; expected 0 or more"),
        (["--stage", "train"], "argument --stage: invalid choice: 'train'"),
        (["--data.windw", "3"], "RealEstate10K has no 'windw'; did you mean 'window'?"),
        (
            ["--workers", "0", "--data.window", "2"],
            "an example with data.window 2 cannot give 2 input and 1 novel",
        ),
    ],
)
def test_mistakes_get_their_sentence(
    config: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(config), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_other_data_modules_are_refused_or_sampled(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "experiments/toy_method/synthetic.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "train: 6 examples" in printed and "ToyPictures has no scenes to walk" in printed
    assert main(["data", "check", "experiments/toy_method/synthetic.yaml", "--data.root", "nowhere"]) == 2
    assert "no folder at nowhere (option data.root)" in capsys.readouterr().out
