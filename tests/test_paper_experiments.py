"""Every row of the StereoLayers paper's tables trains, and starts on each of its data sets."""

from pathlib import Path

import pytest
import torch
import yaml
from datamodules import clip_folder, llff_folder, sword_folder
from PIL import Image

from repsynth.cli import main

_EXPERIMENTS = Path(__file__).parents[1] / "experiments"
ABLATION = {
    "BI+RSBg": "stereolayers/paper/stereolayers_4.yaml",
    "BI+RBg": "stereolayers/paper/bi_rbg.yaml",
    "BI+RAW": "stereolayers/paper/bi_raw.yaml",
    "SA+RSBg": "stereolayers/paper/sa_rsbg.yaml",
    "SA+RAW": "stereolayers/paper/sa_raw.yaml",
    "GC+RSBg": "stereolayers/paper/gc_rsbg.yaml",
    "GC+RAW": "stereolayers/paper/gc_raw.yaml",
}
COMPARISON = {
    "StereoMag-32": "stereomag/paper/stereomag_32.yaml",
    "StereoMag-8": "stereomag/paper/stereomag_8.yaml",
    "StereoMag-P8": "stereomag/paper/stereomag_p8.yaml",
    "StereoMag-P4": "stereomag/paper/stereomag_p4.yaml",
    "StereoLayers-8": "stereolayers/paper/stereolayers_8.yaml",
    "StereoLayers-4": "stereolayers/paper/stereolayers_4.yaml",
    "StereoLayers-2": "stereolayers/paper/stereolayers_2.yaml",
}
ROWS = ABLATION | COMPARISON
FILES = sorted(set(ROWS.values()))
TYPICAL = {ROWS[row] for row in ("StereoLayers-4", "GC+RAW", "StereoMag-P4")}
"""Of every method, with a discriminator and without: the rest is slow."""

SMALL_STEREOLAYERS = {"geometry_width": 4, "geometry_levels": 1, "coloring_width": 4}
SMALL_STEREOMAG = {"width": 4}
SMALL_LOSS = {"perceptual": "random", "perceptual_levels": 1}
EVALUATION = {
    "class_path": "repsynth.callbacks.evaluation.Evaluation",
    "init_args": {"metrics": ["psnr", "lpips"], "lpips_weights": "random"},
}
SIZES = {
    "trainer": {"accelerator": "cpu", "enable_progress_bar": False, "logger": False},
    "data": {"image_size": [64, 64], "num_workers": 0},
}


def small(file: str) -> dict[str, object]:
    """Changes that make an experiment fit for a test: widths, stand-ins, image size."""
    widths = SMALL_STEREOMAG if file.startswith("stereomag") else SMALL_STEREOLAYERS
    discriminator = {"discriminator": {"width": 4, "levels": 2, "scales": 1}} if "_raw" in file else {}
    return {"model": {"init_args": widths | SMALL_LOSS | discriminator}, **SIZES}


def write(path: Path, content: dict[str, object]) -> str:
    path.write_text(yaml.safe_dump(content))
    return f"--config={path}"


def test_each_row_has_the_scheme_of_its_name() -> None:
    for row, file in ABLATION.items():
        options = yaml.safe_load((_EXPERIMENTS / file).read_text())["model"]["init_args"]
        assert f"{options['depth']}+{options['texturing']}" == row
        assert (options["layers"], options["planes"], options["near"], options["far"]) == (4, 32, 1.0, 100.0)
    for row, file in COMPARISON.items():
        options = yaml.safe_load((_EXPERIMENTS / file).read_text())["model"]["init_args"]
        count = row.partition("-")[2]
        found = {str(options.get("layers")), str(options["planes"]), f"P{options.get('merged_layers')}"}
        assert count in found


@pytest.mark.parametrize(
    "file", [pytest.param(file, marks=() if file == ROWS["GC+RAW"] else pytest.mark.slow) for file in FILES]
)
def test_a_row_trains_on_twenty_synthetic_samples(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    changes = small(file)
    data = {"image_size": [64, 64], "train_scenes": 20, "eval_scenes": 1, "batch_size": 4}
    synthetic = "repsynth.datamodules.synthetic.posed_scenes.SyntheticScenes"
    trainer = {"max_epochs": 1, "max_steps": -1, "callbacks": [EVALUATION], "default_root_dir": "run"}
    content = changes | {
        "data": {"class_path": synthetic, "init_args": data},
        "trainer": SIZES["trainer"] | trainer,
    }
    experiment = [f"--config={_EXPERIMENTS / file}", write(tmp_path / "small.yaml", content)]
    assert main(["fit", *experiment]) == 0
    state = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert state["callbacks"]["Determinism"]["samples_seen"] == 20
    assert main(["test", *experiment]) == 0
    assert (tmp_path / "run" / "evaluation" / "test.json").is_file()


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("roots")
    clips = folder / "realestate10k"
    for split, name in (("train", "a"), ("train", "b"), ("test", "s")):
        stamps = clip_folder.times(12)
        clip_folder.write_cameras(clips / "cameras" / split / f"{name}.txt", stamps)
        clip_folder.write_frames(clips / "frames" / split / name, stamps, size=(72, 128))
    sword_folder.write_data_set(folder / "sword", train=2, val=1, test=1)
    llff_folder.write_capture(folder / "llff" / "garden", views=12)
    for file in [*(folder / "llff").rglob("*.png"), *(folder / "sword").rglob("*.png")]:
        Image.open(file).resize((128, 96)).save(file)
    return {name: folder / name for name in ("realestate10k", "sword", "llff")}


DATA = {
    "realestate10k": ("repsynth.datamodules.realestate10k.RealEstate10K", {"val_scenes": 1}),
    "sword": ("repsynth.datamodules.sword.SWORD", {}),
    "llff": ("repsynth.datamodules.llff.LLFF", {}),
}


STARTED = set(zip(sorted(TYPICAL), DATA, strict=True))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        # The typical files on one of the data sets each are not slow.
        pytest.param(file, name, marks=() if (file, name) in STARTED else pytest.mark.slow)
        for file in FILES
        for name in DATA
    ],
)
def test_a_dry_run_on_each_data_set(
    file: str,
    name: str,
    roots: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(roots[name].parent / "cache"))
    monkeypatch.chdir(tmp_path)
    class_path, options = DATA[name]
    where = {"root": str(roots[name]), "image_size": [64, 64], "num_workers": 0, "batch_size": 1}
    content = small(file) | {"data": {"class_path": class_path, "init_args": where | options}}
    experiment = [f"--config={_EXPERIMENTS / file}", write(tmp_path / "small.yaml", content)]
    assert main(["fit", *experiment, "--dry-run"]) == 0
    report = capsys.readouterr().out.partition("# data\n")[2]
    assert "training samples" in report and "# networks" in report
