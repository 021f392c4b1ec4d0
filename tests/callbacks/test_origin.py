from pathlib import Path

import pytest
import torch
from distributed.toy import Toy, ToyGAN, build
from torch import nn

import repsynth
from repsynth.callbacks.checkpoint import resume_path
from repsynth.callbacks.origin import Origin, buffers, rank_note


def train(root: Path, epochs: int = 1, method: type[Toy] = Toy) -> None:
    trainer, module, data = build(root, method, extra=(Origin(),), max_epochs=epochs)
    trainer.fit(module, datamodule=data, ckpt_path=resume_path(root))


def test_checkpoints_tell_version_ranks_and_buffers(tmp_path: Path) -> None:
    train(tmp_path, method=ToyGAN)
    for name in ("last.ckpt", "best.ckpt"):
        state = torch.load(tmp_path / "checkpoints" / name, weights_only=True)
        assert (state["version"], state["ranks"]) == (repsynth.__version__, 1)
        parameters = {name for name, _ in ToyGAN().named_parameters()}
        assert set(state["buffers"]) == state["state_dict"].keys() - parameters
        assert len(state["buffers"]) == 4


def test_buffers_that_are_not_kept_or_have_two_names() -> None:
    module = nn.Module()
    module.register_buffer("kept", torch.ones(1))
    module.register_buffer("again", module.kept)
    module.register_buffer("passing", torch.ones(1), persistent=False)
    module.weight = nn.Parameter(torch.ones(1))
    assert buffers(module) == ["kept", "again"]


def test_a_resume_as_it_was_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path)
    train(tmp_path, epochs=2)
    assert "note:" not in capsys.readouterr().err


def changed(path: Path, **entries: object) -> None:
    state = torch.load(path, weights_only=True)
    torch.save(state | entries, path)


def test_another_version_and_another_number_of_ranks_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path)
    changed(tmp_path / "checkpoints" / "last.ckpt", version="0.0.7", ranks=4)
    train(tmp_path, epochs=2)
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]
    assert notes == [
        f"note: the checkpoint was written by repsynth 0.0.7, this is {repsynth.__version__}",
        "note: this run was saved by 4 ranks and goes on with 1: the same samples follow in the same order, with batch "
        "size 4 over all ranks and the learning rate as they were, but not bit for bit: random numbers drawn in a step "
        "depend on the rank, and sums over ranks round differently",
    ]


def test_an_older_checkpoint_tells_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path)
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    for key in ("version", "ranks", "buffers"):
        del state[key]
    torch.save(state, tmp_path / "checkpoints" / "last.ckpt")
    train(tmp_path, epochs=2)
    assert "note:" not in capsys.readouterr().err


def test_batch_norm_is_told_unless_it_is_synchronised() -> None:
    norm = nn.Sequential(nn.BatchNorm2d(3), nn.GroupNorm(1, 3))
    note = rank_note(1, 4, 8, norm)
    assert note.startswith("note: this run was saved by 1 rank and goes on with 4: ")
    assert note.endswith(
        "; batch norm sees 2 samples at a time instead of 8 (trainer.sync_batchnorm: true makes it independent of the "
        "ranks)"
    )
    for other in (nn.SyncBatchNorm.convert_sync_batchnorm(norm), nn.InstanceNorm2d(3)):
        assert "batch norm" not in rank_note(1, 4, 8, other)
