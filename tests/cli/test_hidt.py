"""Both stages of HiDT through the command line: trained, tested, resumed, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from repsynth.cli import main
from repsynth.modules.hidt.learning import EnhancerLossWeights, LearningOptions, LossWeights
from repsynth.modules.hidt.options import DiscriminatorOptions, EnhancerOptions, GeneratorOptions

CONFIGS = Path(__file__).parents[2] / "experiments" / "hidt"
TINY = [
    "--model.generator.width=4",
    "--model.generator.skip_channels=2",
    "--model.generator.content_blocks=1",
    "--model.generator.decoder_blocks=1",
    "--model.discriminator.width=4",
    "--model.discriminator.levels=2",
    "--data.batch_size=2",
    "--data.eval_samples=3",
    "--trainer.max_epochs=1",
    "--trainer.logger=false",
    "--trainer.enable_progress_bar=false",
]
STAGE = [*TINY, "--data.image_size=32", "--data.train_samples=4"]  # LPIPS needs 31 pixels
ENHANCER = [*TINY, "--model.enhancer.width=8", "--model.enhancer.blocks=0", "--data.image_size=64"]
ENHANCER += ["--data.train_samples=2"]
FIGURES = {"psnr", "ssim", "lpips_random"}


def words(name: str, root: Path, *options: str) -> list[str]:
    return ["--config", str(CONFIGS / f"{name}.yaml"), *options, f"--trainer.default_root_dir={root}"]


@pytest.fixture(scope="module")
def translation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a translation network that has been trained."""
    root = tmp_path_factory.mktemp("hidt")
    assert main(["fit", *words("synthetic", root, *STAGE)]) == 0
    return root


def figures(root: Path, stage: str) -> dict[str, float]:
    report = json.loads((root / "evaluation" / f"{stage}.json").read_text())
    assert report["count"] == 3
    return {name: figure["mean"] for name, figure in report["figures"].items()}


def test_translation_is_trained_and_tested(translation: Path) -> None:
    assert figures(translation, "val").keys() == FIGURES
    assert (translation / "media" / "val_0000000004.png").is_file()
    options = words("synthetic", translation, *STAGE)
    assert main(["test", *options]) == 0
    assert figures(translation, "test").keys() == FIGURES


def test_it_goes_on_where_it_was(translation: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    small = [
        *STAGE,
        "--data.image_size=32",
        "--trainer.limit_val_batches=0",
        "--model.learning.halve_every=1",
    ]
    assert main(["fit", *words("synthetic", whole, *small)]) == 0
    assert main(["fit", *words("synthetic", parts, *small, "--trainer.max_steps=2")]) == 0
    assert main(["fit", "--resume", *words("synthetic", parts, *small)]) == 0
    first, second = (
        torch.load(root / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for root in (whole, parts)
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_without_maps(tmp_path: Path) -> None:
    small = [*STAGE, "--trainer.limit_val_batches=0"]
    assert main(["fit", *words("synthetic_without_maps", tmp_path, *small)]) == 0


def test_the_enhancer_is_trained_on_a_trained_network(translation: Path, tmp_path: Path) -> None:
    given = f"--model.translation={translation / 'checkpoints' / 'best.ckpt'}"
    options = words("synthetic_enhancer", tmp_path, *ENHANCER, given, "--data.image_size=128")
    assert main(["fit", *options]) == 0
    assert main(["test", *options, "--model.translation=gone.ckpt"]) == 0
    assert figures(tmp_path, "test").keys() == FIGURES


def test_what_is_refused(translation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(name: str, *options: str) -> str:
        assert main(["fit", *words(name, tmp_path, *options)]) == 2
        return capsys.readouterr().err

    assert "SyntheticLandscapes gives none" in refused("synthetic", *STAGE, "--data.maps=false")
    assert "batch_size is 1" in refused("synthetic", *STAGE, "--data.batch_size=1")
    assert "multiples of 2" in refused("synthetic", *STAGE, "--data.image_size=17")
    assert "model.translation is nowhere.ckpt, and there is no such file" in refused(
        "synthetic_enhancer", *ENHANCER, "--model.translation=nowhere.ckpt"
    )
    best = translation / "checkpoints" / "best.ckpt"
    other = ["--model.generator.decoder_blocks=3", f"--model.translation={best}"]
    assert "with its options of model.generator" in refused("synthetic_enhancer", *ENHANCER, *other)
    odd = ["--data.image_size=60", f"--model.translation={best}"]
    assert "multiples of 8, but gets 60x60" in refused("synthetic_enhancer", *ENHANCER, *odd)


def of(name: str, part: str) -> dict[str, Any]:
    """What an experiment says of a part of its model."""
    found: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["model"]["init_args"][part]
    return found


def test_the_papers_experiments_write_out_the_defaults() -> None:
    """Their values can be read in the file, and the classes start from the same ones."""
    assert LossWeights(**of("landscapes256", "loss_weights")) == LossWeights()
    assert of("landscapes256", "loss_weights").keys() == LossWeights.__dataclass_fields__.keys()
    for name in ("landscapes256", "paintings"):
        assert LearningOptions(**of(name, "learning")) == LearningOptions()
        assert DiscriminatorOptions(**of(name, "discriminator")) == DiscriminatorOptions()
    assert GeneratorOptions(**of("landscapes256", "generator")) == GeneratorOptions()
    paintings = GeneratorOptions(style_size=12, segmentation="none")
    assert GeneratorOptions(**of("paintings", "generator")) == paintings
    assert of("enhancer", "generator") == of("landscapes256", "generator")
    assert EnhancerLossWeights(**of("enhancer", "loss_weights")) == EnhancerLossWeights()
    assert EnhancerOptions(**of("enhancer", "enhancer")) == EnhancerOptions()
    assert of("synthetic_enhancer", "generator") == of("synthetic", "generator")
