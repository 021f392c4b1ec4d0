"""`repsynth ckpt`, and what it writes in the verbs that read it."""

import json
from pathlib import Path

import pytest
import torch

from repsynth.checkpoint_tools.exported import read
from repsynth.cli import main

from .conftest import YAML

RUN = Path("runs/toy-synthetic")
LAST = RUN / "checkpoints" / "last.ckpt"
EMA = (
    '--trainer.callbacks+={"class_path": "repsynth.callbacks.ema.EMA", "init_args": {"modules": ["encoder"], '
    '"half_life": 4}}'
)


@pytest.fixture
def trained(toy: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["fit", "--config", YAML, EMA]) == 0
    capsys.readouterr()
    return toy


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return state


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_inspect(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ckpt", "inspect", str(LAST)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["method", "toy_method.module.ToyMethod"] in lines
    assert ["progress", "12", "samples,", "6", "iterations,", "epoch", "2"] in lines
    assert ["encoder", "2", "20", "0", "80", "B"] in lines
    assert ["(averaged", "weights)", "2", "20", "0", "80", "B"] in lines
    assert main(["ckpt", "inspect", str(LAST), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["submodules"]["decoder"]["parameters"] == 18


def test_inspect_of_a_damaged_file_tells_what_it_can_and_fails(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = LAST.read_bytes()
    value = weights(LAST)["encoder.weight"].numpy().tobytes()
    assert content.count(value) == 1
    LAST.write_bytes(content.replace(value, bytes(len(value))))
    assert main(["ckpt", "inspect", str(LAST)]) == 2
    told = capsys.readouterr()
    assert "12 samples" in told.out and "1 of " in told.out
    assert (
        f"error: the checkpoint {LAST} is damaged (1 records do not match their checksums, first " in told.err
    )


def test_average_is_tested_and_started_from(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["fit", "--config", YAML, EMA, "--seed_everything=4", "--trainer.default_root_dir=runs/b"]) == 0
    )
    other = Path("runs/b/checkpoints/last.ckpt")
    assert main(["ckpt", "average", str(LAST), str(other), "--out", "mean.ckpt"]) == 0
    assert "mean.ckpt: the mean raw weights of 2 checkpoints; use it with --ckpt_path mean.ckpt" in (
        capsys.readouterr().out
    )
    assert main(["test", "--config", YAML, "--ckpt_path=mean.ckpt"]) == 0
    root = "--trainer.default_root_dir=runs/c"
    assert main(["fit", "--config", YAML, "--init_from=mean.ckpt", "--model.schedule.lr=0", root]) == 0
    mean = weights(Path("runs/c/checkpoints/last.ckpt"))
    for name, value in mean.items():
        torch.testing.assert_close(value, (weights(LAST)[name] + weights(other)[name]) / 2)


def test_training_does_not_go_on_from_weights_only(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ckpt", "export", str(LAST), "--out", "a.safetensors"]) == 0
    capsys.readouterr()
    torch.save({"state_dict": weights(LAST)}, "mean.ckpt")
    for path in ("mean.ckpt", "a.safetensors"):
        root = "--trainer.default_root_dir=runs/c"
        assert main(["fit", "--config", YAML, "--ckpt_path", path, root]) == 2
        assert (
            f"error: {path} holds weights only, and training cannot go on from it: start with its weights "
            f"(--init_from {path})\n"
        ) in capsys.readouterr().err
    assert not Path("runs/c").exists()


def test_exported_averages_are_started_from(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ckpt", "export", str(LAST), "--out", "a.safetensors"]) == 0
    assert f"a.safetensors: the ema weights of {LAST}; use it with --ckpt_path a.safetensors" in (
        capsys.readouterr().out
    )
    root = "--trainer.default_root_dir=runs/c"
    assert main(["fit", "--config", YAML, "--init_from=a.safetensors", "--model.schedule.lr=0", root]) == 0
    started = weights(Path("runs/c/checkpoints/last.ckpt"))
    assert same(started, read(Path("a.safetensors"))["state_dict"])
    assert not same(started, weights(LAST))


def test_exported_weights_are_tested(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toy_method.module import ToyMethod

    assert main(["ckpt", "export", str(LAST), "--out", "a.safetensors", "--weights=raw"]) == 0
    seen: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(ToyMethod, "on_test_end", lambda self: seen.append(self.state_dict()))
    for path in ("a.safetensors", str(LAST)):
        assert main(["test", "--config", YAML, "--ckpt_path", path]) == 0
    assert same(seen[0], seen[1]) and same(seen[0], weights(LAST))


def test_mistakes_are_one_sentence(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mistakes = {
        (
            "inspect",
            "none.ckpt",
        ): "none.ckpt: no such file; name a checkpoint, such as runs/NAME/checkpoints/last.ckpt",
        (
            "inspect",
            str(LAST),
            "--jason",
        ): "repsynth ckpt inspect: unrecognized arguments: --jason (see `repsynth ckpt inspect --help`)",
        ("average", str(LAST), "--out", "x.ckpt"): "a mean needs at least two checkpoints: name more of them",
        ("export", str(LAST), "--out", "x.pt"): "x.pt does not end in .safetensors (option --out), by which "
        "`--init_from` knows such files",
    }
    for words, sentence in mistakes.items():
        assert main(["ckpt", *words]) == 2
        assert capsys.readouterr().err == f"error: {sentence}\n"
    assert main(["ckpt", "export", str(LAST)]) == 2
    assert "the following arguments are required: --out" in capsys.readouterr().err


def test_a_file_that_does_not_fit_or_is_damaged_is_refused(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ckpt", "export", str(LAST), "--out", "a.safetensors"]) == 0
    root = "--trainer.default_root_dir=runs/c"
    assert main(["fit", "--config", YAML, "--init_from=a.safetensors", "--model.width=9", root]) == 2
    assert "does not fit the networks of this experiment" in capsys.readouterr().err
    content = bytearray(Path("a.safetensors").read_bytes())
    content[-3] ^= 1
    Path("a.safetensors").write_bytes(content)
    for words in (["fit", "--init_from=a.safetensors", root], ["test", "--ckpt_path=a.safetensors"]):
        assert main([words[0], "--config", YAML, *words[1:]]) == 2
        assert "a.safetensors is damaged (its tensors do not match their checksum)" in capsys.readouterr().err
    assert not Path("runs/c").exists()
