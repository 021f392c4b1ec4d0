"""An official file through `repsynth import`, and what cannot be imported."""

import re
from pathlib import Path

import pytest
import torch
from modules.stereolayers.tiny import tiny_stereolayers
from torch import Tensor

from repsynth.cli import main

CONFIG = str(Path(__file__).parents[2] / "experiments" / "stereolayers" / "synthetic.yaml")
TINY = [
    "--config",
    CONFIG,
    "--model.layers=2",
    "--model.planes=4",
    "--model.geometry_width=4",
    "--model.geometry_levels=0",
    "--model.coloring_width=4",
    "--data.image_size=[64, 64]",
    "--data.eval_scenes=1",
    "--trainer.logger=false",
]
_OFFICIAL = (
    (r"^geometry_network\.", "depth_predictor.model."),
    (r"^coloring_network\.", "psv_net."),
    (r"conv\.parametrizations\.weight\.original$", "conv.weight_orig"),
    (r"conv\.parametrizations\.weight\.0\._([uv])$", r"conv.weight_\1"),
    (r"level_dconvs\.", "level_dconv."),
    (r"final_conv\.", "final_conv.conv."),
)


def official_state() -> dict[str, Tensor]:
    """A tiny generator under the official keys."""
    state = {}
    for key, value in tiny_stereolayers().generator.state_dict().items():
        for pattern, replacement in _OFFICIAL:
            key = re.sub(pattern, replacement, key)
        state[key] = value
    return state


def wrapped(how: str) -> object:
    state = official_state()
    if how == "distributed":
        return {f"module.{key}": value for key, value in state.items()}
    if how == "training":
        return {"gen": state, "dis": {"w": torch.zeros(1)}, "optimizer": {"lr": 0.1}, "epoch": 3}
    if how == "both":
        return {"state_dict": {f"module.gen.{key}": value for key, value in state.items()}}
    return state


@pytest.mark.parametrize("how", ["plain", "distributed", "training", "both"])
def test_an_official_file_becomes_a_checkpoint(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(wrapped(how), "model.gen_00500000.pt")
    assert main(["import", "stereolayers", "model.gen_00500000.pt", *TINY]) == 0
    assert "--ckpt_path model.gen_00500000.ckpt" in capsys.readouterr().out
    state = torch.load("model.gen_00500000.ckpt", weights_only=True)["state_dict"]
    wanted = tiny_stereolayers().state_dict()
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[key], wanted[key]) for key in wanted)


def test_the_checkpoint_is_tested_and_trained_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(official_state(), "official.pt")
    assert main(["import", "stereolayers", "official.pt", "--out", "ours.ckpt", *TINY]) == 0
    assert main(["test", *TINY, "--ckpt_path", "ours.ckpt"]) == 0
    short = ["--trainer.limit_train_batches=1", "--trainer.enable_progress_bar=false"]
    assert main(["fit", *TINY, *short, "--init_from", "ours.ckpt"]) == 0


def save(content: object) -> None:
    torch.save(content, "file.pt")


_BASELINE = "repsynth.modules.stereo_baselines.module.NearestView"
MISTAKES = {
    "unknown method": (
        lambda: save(official_state()),
        ["stereolayerz", "file.pt", *TINY],
        r"no import of 'stereolayerz' is known; expected one of .*stereolayers.*",
    ),
    "no file": (
        lambda: None,
        ["stereolayers", "file.pt", *TINY],
        r"file\.pt: no such file; expected a file of the official release",
    ),
    "no experiment": (
        lambda: save(official_state()),
        ["stereolayers", "file.pt"],
        r"repsynth import needs --config EXPERIMENT\.yaml, whose model says what the file fills",
    ),
    "other sizes": (
        lambda: save(official_state()),
        ["stereolayers", "file.pt", *TINY, "--model.coloring_width=8"],
        r"The official file does not fit StereoLayersGenerator: .* check layers, planes and widths\.",
    ),
    "foreign objects": (
        lambda: save({"gen": Path("x")}),
        ["stereolayers", "file.pt", *TINY],
        r"file\.pt holds objects other than tensors, numbers and text, or is no torch file, and loading .*",
    ),
    "no network": (
        lambda: save({"epoch": 3}),
        ["stereolayers", "file.pt", *TINY],
        r"file\.pt holds no state dictionary: expected tensors by name, .*",
    ),
    "damaged": (
        lambda: (save(official_state()), Path("file.pt").write_bytes(Path("file.pt").read_bytes()[:5000])),
        ["stereolayers", "file.pt", *TINY],
        r"file\.pt (is damaged|holds objects other than).*",
    ),
    "never overwritten": (
        lambda: (save(official_state()), Path("file.ckpt").touch()),
        ["stereolayers", "file.pt", *TINY],
        r"file\.ckpt is there already; remove it or name another file with --out",
    ),
    "another method": (
        lambda: save(official_state()),
        ["stereolayers", "file.pt", "--config", CONFIG, f"--model={_BASELINE}"],
        r".*(the experiment's model is NearestView).*",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_sentence(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    spoil, words, sentence = MISTAKES[case]
    spoil()
    before = {path: path.stat().st_size for path in tmp_path.iterdir()}
    assert main(["import", *words]) == 2
    *notes, answer = capsys.readouterr().err.splitlines()
    assert re.fullmatch(f"error: {sentence}", answer)
    assert all(note.startswith("note: ") for note in notes)
    assert {path: path.stat().st_size for path in tmp_path.iterdir()} == before
