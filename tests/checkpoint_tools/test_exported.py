"""Exported weights, read back by us and by the format's own numpy reader."""

from pathlib import Path

import numpy as np
import pytest
import torch
from distributed.toy import ToyGAN
from safetensors import numpy as reader
from safetensors import safe_open

import repsynth
from repsynth import checkpoints
from repsynth.checkpoint_tools.exported import export, read
from repsynth.checkpoints import check_fits
from repsynth.errors import UserError


def test_every_bit_comes_back(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "raw.safetensors"
    assert export(run / "last.ckpt", out, "raw") == "raw"
    saved = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    found, foreign = read(out), reader.load_file(out)
    assert found["state_dict"].keys() == saved.keys() == foreign.keys()
    assert all(torch.equal(found["state_dict"][name], saved[name]) for name in saved)
    assert all(np.array_equal(foreign[name], saved[name].numpy()) for name in saved)
    check_fits(found, ToyGAN(), out)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_averages_are_exported_where_there_are_some(run: Path, tmp_path: Path) -> None:
    assert export(run / "last.ckpt", tmp_path / "a.safetensors") == "ema"
    state = torch.load(run / "last.ckpt", weights_only=True)
    found = read(tmp_path / "a.safetensors")["state_dict"]
    averaged = state["callbacks"]["EMA"]["averages"]
    assert len(averaged) == 4
    for name, value in state["state_dict"].items():
        assert torch.equal(found[name], averaged.get(name, value))
    assert not torch.equal(found["network.3.bias"], state["state_dict"]["network.3.bias"])


def test_without_averages_the_weights_themselves_are_exported(tmp_path: Path) -> None:
    checkpoints.write({"state_dict": {"w": torch.ones(2)}}, tmp_path / "a.ckpt")
    assert export(tmp_path / "a.ckpt", tmp_path / "a.safetensors") == "raw"
    with pytest.raises(
        UserError, match=r"a\.ckpt holds no averaged weights: take its own with --weights raw"
    ):
        export(tmp_path / "a.ckpt", tmp_path / "b.safetensors", "ema")


def test_the_metadata_tell_where_it_comes_from(run: Path, tmp_path: Path) -> None:
    export(run / "last.ckpt", tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "np") as file:
        told = file.metadata()
    assert told["method"] == "distributed.toy.ToyGAN"
    assert (told["version"], told["weights"], told["samples"]) == (repsynth.__version__, "ema", "40")
    found = read(tmp_path / "a.safetensors")
    assert found["samples"] == 40 and len(found["buffers"]) == 4


def test_tied_scalar_strided_and_half_weights(tmp_path: Path) -> None:
    """The format refuses tensors that share memory; a transposed one is not contiguous."""
    tied = torch.arange(6.0).reshape(2, 3)
    weights = {
        "a": tied,
        "b": tied.T,
        "c": torch.tensor(7),
        "d": torch.ones(3, dtype=torch.bfloat16),
        "e": torch.tensor([True, False]),
        "f": torch.ones(0, 3),
    }
    checkpoints.write({"state_dict": weights}, tmp_path / "a.ckpt")
    export(tmp_path / "a.ckpt", tmp_path / "a.safetensors")
    found = read(tmp_path / "a.safetensors")["state_dict"]
    assert all(
        torch.equal(found[name], weights[name]) and found[name].dtype == weights[name].dtype
        for name in weights
    )


@pytest.mark.parametrize("place", [0.1, 0.5, 0.999])
def test_damage_is_noticed(run: Path, tmp_path: Path, place: float) -> None:
    out = tmp_path / "a.safetensors"
    export(run / "last.ckpt", out)
    content = bytearray(out.read_bytes())
    content[int(place * len(content))] ^= 1
    out.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.safetensors (is damaged|cannot be read as a safetensors file)"):
        read(out)
    out.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        UserError, match=r"a\.safetensors cannot be read as a safetensors file \(.*\): export it"
    ):
        read(out)


def test_what_cannot_be_exported_is_one_sentence(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.pt does not end in \.safetensors \(option --out\)"):
        export(run / "last.ckpt", tmp_path / "a.pt")
    (tmp_path / "a.safetensors").touch()
    with pytest.raises(UserError, match=r"a\.safetensors is there already; remove it or name another"):
        export(run / "last.ckpt", tmp_path / "a.safetensors")
    checkpoints.write({"state_dict": {"w": torch.ones(2), "extra": {"n": 1}}}, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"a\.ckpt holds extra, which is no tensor, and a \.safetensors file"):
        export(tmp_path / "a.ckpt", tmp_path / "b.safetensors")
    with pytest.raises(UserError, match=r"b\.safetensors could not be written \(.*\): check free space"):
        export(run / "last.ckpt", tmp_path / "a.ckpt" / "b.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt", "a.safetensors"]
