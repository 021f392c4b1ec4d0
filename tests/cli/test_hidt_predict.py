"""`repsynth predict` of HiDT on photographs from files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from repsynth.cli import main

CONFIG: dict[str, Any] = {
    "trainer": {
        "accelerator": "cpu",
        "default_root_dir": "run",
        "use_distributed_sampler": False,
        "logger": False,
        "enable_progress_bar": False,
        "callbacks": [{"class_path": "repsynth.callbacks.media.FrameWriter"}],
    },
    "model": {
        "class_path": "repsynth.modules.hidt.module.HiDT",
        "init_args": {
            "generator": {"width": 4, "content_blocks": 1, "decoder_blocks": 1, "skip_channels": 2},
            "discriminator": {"width": 4, "levels": 2, "scales": 2},
            "relighting": {"photo": {"working_size": 32}},
        },
    },
    "data": {
        "class_path": "repsynth.datamodules.photo_files.PhotoFiles",
        "init_args": {"content": "content", "style": "style"},
    },
}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for folder, name in (("content", "beach 1"), ("content", "hill"), ("style", "dawn"), ("style", "dusk")):
        Path(folder).mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (40, 51, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(Path(folder) / f"{name}.jpg")
    Path("config.yaml").write_text(yaml.safe_dump(CONFIG))


def predict(*options: str) -> int:
    return main(["predict", "--config=config.yaml", "--ckpt_path=none", *options])


def written() -> list[str]:
    return sorted(path.name for path in Path("run/predictions").iterdir())


def test_every_photograph_in_every_style(capsys: pytest.CaptureFixture[str]) -> None:
    assert predict() == 0
    contents, styles = ("beach 1", "hill"), ("dawn", "dusk")
    assert written() == [f"{content}_to_{style}.jpg" for content in contents for style in styles]
    assert "predictions: 4 file(s) in run/predictions (beach 1_to_dawn.jpg .." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--data.style=style/dusk.jpg"], ["hill_to_dusk.jpg"]),
        (
            ["--model.relighting.styles.source=mean", "--model.relighting.styles.weights=[2,1]"],
            ["hill_to_style.jpg"],
        ),
        (
            [
                "--model.relighting.styles.source=named",
                "--model.relighting.styles.file=released",
                "--model.relighting.styles.names=[day]",
                "--model.relighting.file.suffix=.png",
            ],
            ["hill_to_day.png"],
        ),
        (
            ["--model.relighting.styles.source=random", "--model.relighting.styles.count=1"],
            ["hill_to_random0_0.jpg"],
        ),
        (["--model.relighting.styles.source=own", "--model.relighting.size=100"], ["hill_autoencoded.jpg"]),
        (
            ["--model.relighting.task=timelapse", "--model.relighting.timelapse.frames=3"],
            ["hill_timelapse.mp4"],
        ),
        (
            ["--model.relighting.resolution=tiled", "--data.style=[style/dawn.jpg]"],
            ["hill_to_dawn_tiled.jpg"],
        ),
        (["--model.relighting.detail=true", "--data.style=style/dawn.jpg"], ["hill_to_dawn_detail.jpg"]),
    ],
)
def test_tasks(options: list[str], names: list[str]) -> None:
    assert predict("--data.content=content/hill.jpg", *options) == 0
    assert written() == names


def test_a_photograph_that_is_left_out_ends_in_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("content/beach 1.jpg")
    path.write_bytes(path.read_bytes()[:500])
    assert predict() == 2
    assert not Path("run/predictions").exists()
    assert "1 of 2 photographs cannot be used: content/beach 1.jpg" in capsys.readouterr().err
    assert predict("--data.on_bad_photo=skip") == 2
    assert written() == ["hill_to_dawn.jpg", "hill_to_dusk.jpg"]
    told = capsys.readouterr().err
    assert told.count("left out (data.on_bad_photo: skip)") == 1
    assert "error: 1 of 2 photographs cannot be used: content/beach 1.jpg" in told.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--model.relighting.resolution=enhanced"], "but this model has no enhancer"),
        (["--model.relighting.styles.source=named"], "model.relighting.styles.file is null"),
        (["--data.style=null"], "the data have no style photographs"),
        (["--model.relighting.task=film"], "task"),
        (["--model.relighting.size=small"], "size"),
    ],
)
def test_mistakes_are_one_sentence(
    options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(*options) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.strip().splitlines()) == 1
    assert not Path("run/predictions").exists()


def test_an_enhancer_enhances_unless_it_is_told_otherwise() -> None:
    config = yaml.safe_load(Path("config.yaml").read_text())
    config["model"]["class_path"] = "repsynth.modules.hidt.enhancer_module.HiDTEnhancer"
    arguments = config["model"]["init_args"]
    arguments["enhancer"] = {"factor": 2, "width": 8, "blocks": 1, "growth": 3}
    arguments["perceptual"] = "random"
    Path("config.yaml").write_text(yaml.safe_dump(config))
    assert predict("--data.content=content/hill.jpg", "--data.style=style/dusk.jpg") == 0
    assert written() == ["hill_to_dusk_enhanced.jpg"]
    plain = ["--model.relighting.resolution=plain", "--model.relighting.task=timelapse"]
    assert predict("--data.content=content/hill.jpg", *plain, "--model.relighting.timelapse.frames=2") == 0
    assert written() == ["hill_timelapse.mp4", "hill_to_dusk_enhanced.jpg"]
