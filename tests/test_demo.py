"""`make demo`, with the shipped experiment made so small that its five minutes become seconds."""

from pathlib import Path

import pytest
import yaml

from repsynth import demo

SHIPPED = Path(__file__).parents[1] / "experiments" / "stereolayers" / "synthetic.yaml"
SMALLER = {
    "model": {"planes": 2, "geometry_width": 2, "coloring_width": 2, "prediction": {"frames": 4}},
    "data": {"train_scenes": 8, "eval_scenes": 2, "eval_batch_size": 2, "num_workers": 0},
}


@pytest.mark.slow
def test_demo_leaves_table_grid_video_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load(SHIPPED.read_text())
    for section, options in SMALLER.items():
        assert options.keys() - {"prediction"} <= config[section]["init_args"].keys()
        config[section]["init_args"] |= options
    experiment = tmp_path / "experiments" / "stereolayers" / "synthetic.yaml"
    experiment.parent.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    experiment.write_text(yaml.safe_dump(config))
    for root in ("runs/demo", "runs/demo-2"):
        assert demo.main() == 0
        printed = capsys.readouterr().out
        assert "| nearest input view |" in printed
        assert "| StereoLayers |" in printed
        named = [Path(line.split(": ")[1]) for line in printed.splitlines() if f": {root}/" in line]
        assert {path.suffix for path in named} == {".csv", ".png", ".mp4", ".ckpt"}
        assert all(path.stat().st_size > 0 for path in named)


def test_demo_stops_at_the_step_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = tmp_path / "experiments" / "stereolayers" / "synthetic.yaml"
    experiment.parent.mkdir(parents=True)
    experiment.write_text("no: experiment")
    monkeypatch.chdir(tmp_path)
    assert demo.main() == 2
    assert not (tmp_path / "runs").exists()
