"""`repsynth predict` on tiny synthetic scenes, with the shipped experiment of StereoLayers."""

import json
from pathlib import Path

import numpy as np
import pytest

from repsynth.cli import main
from repsynth.exports.layers import load_layers

_EXPERIMENT = Path(__file__).parents[2] / "experiments" / "stereolayers" / "synthetic.yaml"
_TINY = [
    "--ckpt_path=none",
    "--model.layers=2",
    "--model.planes=2",
    "--model.geometry_width=2",
    "--model.coloring_width=2",
    "--model.prediction.frames=3",
    "--data.eval_scenes=2",
    "--data.eval_batch_size=1",
    "--data.num_workers=0",
]


def predict(*options: str) -> int:
    return main(["predict", f"--config={_EXPERIMENT}", "--trainer.default_root_dir=run", *_TINY, *options])


def written() -> list[str]:
    root = Path("run/predictions")
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_by_default_each_scene_becomes_a_video() -> None:
    assert predict() == 0
    assert written() == ["test-000000.mp4", "test-000001.mp4"]


@pytest.mark.parametrize("path", ["interpolate", "spiral", "dolly"])
def test_options_of_paths_reach_the_method(path: str) -> None:
    options = ["--model.prediction.focus=3", "--model.prediction.size=[24,32]"]
    assert predict(f"--model.prediction.path={path}", "--trainer.limit_predict_batches=1", *options) == 0
    assert written() == ["test-000000.mp4"]


def test_video_depth_layers_and_gltf_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("--model.prediction.depth=true", "--model.prediction.scene=[layers,gltf]") == 0
    layers = [f"layers/layer_0{index}{kind}" for index in range(2) for kind in (".png", "_depth.npy")]
    parts = ["depth.mp4", "depth.npy", *layers, "layers/scene.json", "scene.glb"]
    videos = ["test-000000.mp4", "test-000001.mp4"]
    scenes = [f"test-00000{scene}/{part}" for scene in range(2) for part in parts]
    assert written() == sorted([*videos, *scenes])
    assert (
        "10 file(s) in run/predictions (test-000000.mp4 .. test-000001/scene.glb)" in capsys.readouterr().out
    )
    depth = np.load("run/predictions/test-000001/depth.npy")
    assert depth.shape == (3, 64, 64)
    found = load_layers(Path("run/predictions/test-000001/layers"))
    assert found.depth.shape == (1, 2, 64, 64)
    assert 1.5 <= found.depth.min() <= np.nanmin(depth) + 0.5


def test_cameras_of_a_file_become_pictures_with_their_names() -> None:
    pose = [[1, 0, 0, -0.5], [0, 1, 0, 0], [0, 0, 1, 0]]
    cameras = [
        {"name": "between", "w2c_3x4_opencv": pose},
        {"name": "small", "w2c_3x4_opencv": pose, "size": [8, 9]},
    ]
    content = {"relative_to": "reference", "unit": "baseline", "cameras": cameras}
    Path("cameras.json").write_text(json.dumps(content))
    assert predict("--model.prediction.path=cameras", "--model.prediction.cameras=cameras.json") == 0
    assert written() == [
        f"test-00000{scene}/{name}.png" for scene in range(2) for name in ("between", "small")
    ]


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--model.prediction.path=circle", "path"),
        ("--model.prediction.scene=[obj]", "scene"),
        ("--model.prediction.speed=3", "speed"),
        ("--model.prediction.frames=0", "error: model.prediction.frames is 0; expected at least 1"),
        (
            "--model.prediction.cameras=none.json",
            "error: model.prediction.path is sway and model.prediction.cameras none.json; single views need both",
        ),
    ],
)
def test_mistakes_are_one_sentence(option: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(option) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.strip().splitlines()) == 1
    assert not Path("run/predictions").exists()
