"""CIPS through the command line: trained, tested, resumed, and every task of `predict`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repsynth.cli import main

CONFIGS = Path(__file__).parents[2] / "experiments" / "cips"
TINY = [
    "--model.generator.features=6",
    "--model.generator.width=8",
    "--model.generator.style_size=6",
    "--model.generator.mapping_layers=2",
    "--model.sampling.mean_w_draws=50",
    "--model.discriminator.width=8",
    "--data.batch_size=4",
    "--trainer.logger=false",
    "--trainer.enable_progress_bar=false",
]
SYNTHETIC = [
    "--config",
    str(CONFIGS / "synthetic.yaml"),
    *TINY,
    "--model.generator.grid_size=16",
    "--model.discriminator.size=16",
    "--data.image_size=16",
    "--data.train_samples=16",
    "--data.real_samples=16",
    "--data.val_samples=6",
    "--data.test_samples=6",
    "--trainer.max_epochs=1",
    "--trainer.val_check_interval=1.0",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options of a run that has been trained."""
    root = tmp_path_factory.mktemp("cips")
    options = [*SYNTHETIC, f"--trainer.default_root_dir={root}"]
    assert main(["fit", *options]) == 0
    return options


def root_of(options: list[str]) -> Path:
    return Path(options[-1].partition("=")[2])


def test_a_run_leaves_a_figure_whose_name_says_that_it_is_a_stand_ins(run: list[str]) -> None:
    report = json.loads((root_of(run) / "evaluation" / "val.json").read_text())
    assert report["figures"].keys() == {"fid_random"}
    assert report["sets"]["generated"] == 6 and report["sets"]["real"] == 16
    assert (root_of(run) / "media" / "val_0000000016.png").is_file()
    assert main(["test", *run]) == 0


@pytest.mark.parametrize(
    ("task", "options", "files"),
    [
        ("samples", ["--data.predict_samples=2"], ["samples_0.png", "samples_1.png"]),
        ("grid", ["--model.sampling.truncation=0.7"], ["grid_0.png"]),
        ("interpolation", ["--model.sampling.interpolation.frames_per_key=2"], ["interpolation_0.mp4"]),
        ("zoom", ["--model.sampling.zoom.frames=3"], ["zoom_0.mp4"]),
        (
            "foveated",
            [],
            [f"foveated_0/{name}" for name in ("foveated.png", "full.png", "computed.png", "figures.json")],
        ),
        ("spectrum", ["--model.sampling.spectrum.samples=4"], ["spectrum_0.png", "spectrum_0/figures.json"]),
    ],
)
def test_tasks_of_numbers(run: list[str], task: str, options: list[str], files: list[str]) -> None:
    given = [f"--model.sampling.task={task}", *options]
    if "--data.predict_samples=2" not in options:
        given.append("--data.predict_samples=1")
    assert main(["predict", *run, *given]) == 0
    assert all((root_of(run) / "predictions" / name).is_file() for name in files)


def test_photographs_are_inverted_and_completed(run: list[str], tmp_path: Path) -> None:
    """A photograph with a hole."""
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    known = np.full((16, 16), 255, np.uint8)
    known[4:8, 4:8] = 0
    for folder, image in (("photographs", pixels), ("masks", known)):
        (tmp_path / folder).mkdir()
        Image.fromarray(image).save(tmp_path / folder / "a.png")
    checkpoint = root_of(run) / "checkpoints" / "best.ckpt"
    assert (
        main(
            [
                "predict",
                *[option for option in run if not option.startswith("--data.")],
                f"--ckpt_path={checkpoint}",
                "--model.sampling.task=inversion",
                "--model.sampling.inversion.steps=3",
                "--data=repsynth.datamodules.photographs.Photographs",
                f"--data.root={tmp_path / 'photographs'}",
                f"--data.masks={tmp_path / 'masks'}",
                "--data.image_size=[16, 16]",
            ]
        )
        == 0
    )
    folder = root_of(run) / "predictions" / "inversion_a"
    composite = np.asarray(Image.open(folder / "composite.png"))
    assert np.array_equal(composite[known == 255], pixels[known == 255])
    assert (folder / "figures.json").is_file()


def test_panoramas_need_a_cylinder_and_close(
    run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *run, "--model.sampling.task=panorama"]) != 0
    assert "trained with model.generator.surface plane" in capsys.readouterr().err
    options = [*SYNTHETIC, "--model.generator.surface=cylinder", f"--trainer.default_root_dir={tmp_path}"]
    assert main(["fit", *options]) == 0
    task = ["--model.sampling.task=panorama", "--model.sampling.noise=none", "--data.predict_samples=1"]
    assert main(["predict", *options, *task]) == 0
    picture = np.asarray(Image.open(tmp_path / "predictions" / "panorama_0.png")).astype(int)
    assert picture.shape == (16, 64, 3)
    steps = np.abs(picture - np.roll(picture, 1, axis=1)).mean((0, 2))
    assert steps[0] <= steps.max(initial=0, where=np.arange(64) > 0) + 1


def test_photographs_of_the_shared_samples(shared_dir: Path, tmp_path: Path) -> None:
    """Random crops of real photographs, then samples and a resumed run."""
    options = [
        "--config",
        str(CONFIGS / "folder.yaml"),
        *TINY,
        f"--data.root={shared_dir / 'data' / 'landscapes'}",
        f"--data.cache_dir={tmp_path / 'cache'}",
        "--trainer.val_check_interval=3",
        "--data.val_samples=4",
        f"--trainer.default_root_dir={tmp_path / 'run'}",
    ]
    assert main(["fit", *options, "--trainer.max_steps=9"]) == 0
    assert (tmp_path / "run" / "media" / "val_0000000012.png").is_file()
    assert main(["predict", *options, "--data.predict_samples=2"]) == 0
    assert (tmp_path / "run" / "predictions" / "samples_1.png").is_file()
    assert main(["fit", *options, "--trainer.max_steps=13", "--resume"]) == 0


PAPER = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem not in ("synthetic", "folder"))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "ffhq256" else pytest.mark.slow) for name in PAPER]
)
def test_the_papers_experiments_run_dry_on_pictures(name: str, tmp_path: Path) -> None:
    """With small networks, on a folder of pictures of the size and names that the experiment expects."""
    config = (CONFIGS / f"{name}.yaml").read_text()
    side = 1024 if "image_size: 1024" in config else 256
    layout = "plain" if "layout: lsun" in config else None
    folder = tmp_path / "00000"
    folder.mkdir()
    for number in range(2):
        Image.new("RGB", (side, side), (number, 80, 120)).save(folder / f"{number:05d}.png")
    options = [
        "--config",
        str(CONFIGS / f"{name}.yaml"),
        *TINY,
        "--data.batch_size=2",
        f"--data.root={tmp_path}",
        f"--data.cache_dir={tmp_path / 'cache'}",
        f"--trainer.default_root_dir={tmp_path / 'run'}",
        "--model.discriminator.width=16",
        *([f"--data.layout={layout}"] if layout else []),
        *(["--data.allow_partial=true"] if "layout: ffhq" in config else []),
    ]
    assert main(["fit", *options, "--dry-run"]) == 0
