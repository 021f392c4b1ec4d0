"""An official CIPS training file through `repsynth import`, and the training that goes on from it."""

from pathlib import Path

import pytest
import torch
from reference.test_cips import STYLE, WIDTH, checkpoint

from repsynth.cli import main

CONFIG = str(Path(__file__).parents[2] / "experiments" / "cips" / "synthetic.yaml")
TINY = [
    "--config",
    CONFIG,
    "--model.generator.grid_size=16",
    "--model.generator.features=6",
    f"--model.generator.width={WIDTH}",
    f"--model.generator.style_size={STYLE}",
    "--model.generator.mapping_layers=8",
    "--model.discriminator.size=16",
    f"--model.discriminator.width={WIDTH}",
    "--data.image_size=16",
    "--data.train_samples=40",
    "--data.real_samples=40",
    "--data.batch_size=4",
    "--data.val_samples=6",
    "--data.test_samples=6",
    "--trainer.logger=false",
    "--trainer.enable_progress_bar=false",
]


def test_the_official_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights, averages and both optimisers are taken up; the counters go on from the official iteration."""
    monkeypatch.chdir(tmp_path)
    _, _, content = checkpoint()
    torch.save(content, "000002.pt")
    assert main(["import", "cips", "000002.pt", *TINY]) == 0
    assert "at iteration 2" in capsys.readouterr().out
    imported = torch.load("000002.ckpt", weights_only=True)
    name = "generator.inputs.embedding"
    averages = imported["callbacks"]["EMA"]["averages"]
    assert torch.equal(imported["state_dict"][name], content["g"]["emb.input"][0])
    assert torch.equal(averages[name], content["g_ema"]["emb.input"][0])

    assert main(["fit", *TINY, "--trainer.max_epochs=1", "--ckpt_path", "000002.ckpt"]) == 0
    last = torch.load("runs/cips-synthetic/checkpoints/last.ckpt", weights_only=True)
    assert last["iterations"] == 12
    assert last["callbacks"]["Determinism"]["samples_seen"] == 2 * 32 + 40
    of_generator, of_discriminator = last["optimizer_states"]
    assert of_generator["state"][0]["step"] == 12
    assert of_discriminator["state"][0]["step"] == 12, "none of the iterations 2 to 11 has a penalty"
    assert of_generator["param_groups"][0]["lr"] == content["g_optim"]["param_groups"][0]["lr"]


def test_the_averaged_generator_alone_gives_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, _, content = checkpoint()
    torch.save({"g_ema": content["g_ema"]}, "g_ema.pt")
    assert main(["import", "cips", "g_ema.pt", *TINY]) == 0
    assert "optimizer_states" not in torch.load("g_ema.ckpt", weights_only=True)
    assert main(["test", *TINY, "--ckpt_path", "g_ema.ckpt"]) == 0


def test_another_architecture_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(checkpoint()[2], "000002.pt")
    assert main(["import", "cips", "000002.pt", *TINY, "--model.generator.grid_size=32"]) != 0
    assert "the official file does not fit CIPSGenerator" in capsys.readouterr().err
    assert not Path("000002.ckpt").exists()
