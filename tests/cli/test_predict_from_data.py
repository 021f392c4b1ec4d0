"""`repsynth predict` on pictures of one's own: the shipped experiment, smaller networks, another data class."""

from pathlib import Path

import pytest
from PIL import Image

from repsynth.cli import main
from tests.datamodules.colmap_folder import write_scene
from tests.datamodules.llff_folder import write_capture
from tests.datamodules.pair_folder import write_pair

_SHIPPED = Path(__file__).parents[2] / "experiments" / "stereolayers" / "synthetic.yaml"
_SMALLER = [
    "--model.planes=2",
    "--model.geometry_width=2",
    "--model.coloring_width=2",
    "--model.prediction.frames=2",
    "--trainer.accelerator=cpu",
    "--trainer.default_root_dir=run",
    "--trainer.enable_progress_bar=false",
]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path_factory.mktemp("cache")))
    return tmp_path


def predict(data: str, root: object, *words: str) -> int:
    chosen = ["--data", f"repsynth.datamodules.{data}", "--data.root", str(root), *words]
    return main(["predict", "--config", str(_SHIPPED), *chosen, "--ckpt_path", "none", *_SMALLER])


def enlarge(folder: Path) -> None:
    """To at least the 64 x 64 pixels that the networks need."""
    for file in folder.iterdir():
        Image.open(file).resize((128, 96)).save(file)


def predictions() -> list[str]:
    files = sorted(Path("run", "predictions").iterdir())
    assert all(file.stat().st_size > 500 for file in files)
    return [file.name for file in files]


def test_from_a_stereo_pair(capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    write_pair(Path("pairs", "a"), (64, 96))
    write_pair(Path("pairs", "b"), (64, 96), intrinsics_normalised_fx_fy_cx_cy=None)
    assert predict("stereo_pair.StereoPair", "pairs", "--data.image_size=[64, 64]") == 2
    assert "pairs/b/pair.json gives no intrinsics_normalised_fx_fy_cx_cy" in capsys.readouterr().err
    options = ["--data.image_size=[64, 64]", "--data.assume_focal=0.5", "--data.reference=second"]
    assert predict("stereo_pair.StereoPair", "pairs", *options) == 0
    assert predictions() == ["a.mp4", "b.mp4"]
    told = capsys.readouterr().err
    assert "so the options of SyntheticScenes in" in told and "image_size, train_scenes, eval_scenes" in told
    warned = [str(one.message) for one in recwarn]
    assert len([one for one in warned if "gives no focal length; 0.5 times the width" in one]) == 1


def test_from_the_sample_pair(shared_dir: Path) -> None:
    root = shared_dir / "data" / "stereo" / "bananas"
    assert predict("stereo_pair.StereoPair", root, "--data.image_size=[64, 128]") == 0
    assert predictions() == ["bananas.mp4"]


def test_from_a_colmap_folder() -> None:
    write_scene(Path("garden"), views=9, text=True)
    enlarge(Path("garden", "images"))
    assert predict("colmap_scenes.COLMAPScenes", "garden", "--data.image_size=[64, 64]") == 0
    assert predictions() == ["garden_IMG_000.mp4", "garden_IMG_008.mp4"]


def test_from_an_llff_capture() -> None:
    write_capture(Path("garden"), views=9)
    enlarge(Path("garden", "images_8"))
    assert predict("llff.LLFF", "garden", "--data.image_size=[64, 64]", "--data.eval_scenes=1") == 0
    assert predictions() == ["garden_image000.mp4", "garden_image008.mp4"]


def test_what_a_pair_is_not_for(capsys: pytest.CaptureFixture[str]) -> None:
    write_pair(Path("chair"), (64, 96))
    words = ["--data", "repsynth.datamodules.stereo_pair.StereoPair", "--data.root=chair", *_SMALLER]
    for verb in ("fit", "validate", "test"):
        start = ["--ckpt_path=none"] if verb != "fit" else []
        assert main([verb, "--config", str(_SHIPPED), *words, *start]) == 2
        assert f"so `repsynth {verb}` cannot use it; use `repsynth predict`" in capsys.readouterr().err


def test_a_dry_run_counts_the_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    write_pair(Path("chair"), (64, 96))
    assert predict("stereo_pair.StereoPair", "chair", "--data.image_size=[64, 64]", "--dry-run") == 0
    assert "# data\npairs: 1\n" in capsys.readouterr().out
    assert not Path("run").exists()
