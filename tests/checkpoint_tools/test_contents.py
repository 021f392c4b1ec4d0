"""What is said of a checkpoint, against the module and the trainer that wrote it."""

import json
import os
import zipfile
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from distributed.toy import ToyGAN

import repsynth
from repsynth import checkpoints
from repsynth.checkpoint_tools.contents import report, submodules
from repsynth.checkpoint_tools.exported import export
from repsynth.checkpoint_tools.mean import average
from repsynth.checkpoint_tools.table import text
from repsynth.errors import UserError


def test_the_figures_are_those_of_the_run(run: Path) -> None:
    found = report(run / "last.ckpt")
    assert found["bytes"] == (run / "last.ckpt").stat().st_size
    assert found["method"] == "distributed.toy.ToyGAN"
    assert (found["version"], found["lightning"]) == (repsynth.__version__, pl.__version__)
    assert (found["samples"], found["epoch"], found["ranks"]) == (40, 2, 1)
    assert found["iterations"] == 20  # two optimisers, ten batches, and no counter of the method's own
    for word in ("weights", "averaged weights", "optimisers", "learning rate schedules", "order of the data"):
        assert word in found["holds"]
    assert found["checksums"]["damaged"] == []
    with zipfile.ZipFile(run / "last.ckpt") as archive:
        assert found["checksums"]["records"] == len(archive.namelist())


def test_the_counts_are_those_of_the_networks(run: Path) -> None:
    found, module = report(run / "last.ckpt"), ToyGAN()
    for name in ("network", "critic", "network.0", "critic.3"):
        part = module.get_submodule(name)
        own = found["submodules"][name]
        assert own["parameters"] == sum(weight.numel() for weight in part.parameters())
        assert own["buffers"] == sum(buffer.numel() for buffer in part.buffers())
        assert own["bytes"] == 4 * (own["parameters"] + own["buffers"])
        assert own["tensors"] == len(part.state_dict())
    assert found["ema"]["parameters"] == sum(weight.numel() for weight in module.network.parameters())
    first = found["optimisers"][0]
    weights = list(module.network.parameters())
    assert first["moments"] == ["exp_avg", "exp_avg_sq", "step"]
    assert (first["parameters"], first["tensors"]) == (len(weights), 3 * len(weights))
    assert first["bytes"] == 8 * sum(weight.numel() for weight in weights) + 4 * len(weights)
    assert first["learning_rates"] == [pytest.approx(1e-2 * 0.9**10)]


def test_a_network_of_many_parts_is_shown_as_one() -> None:
    weights = {f"net.{part}.w": torch.ones(2) for part in range(5)} | {
        "a.b.c.w": torch.ones(3),
        "w": torch.ones(1),
    }
    found = submodules(weights, None)
    assert list(found) == ["net", "a", "a.b", ""]
    assert found["net"] == {"tensors": 5, "parameters": None, "buffers": None, "bytes": 40}


def test_it_can_be_json_and_text(run: Path) -> None:
    found = report(run / "last.ckpt")
    assert json.loads(json.dumps(found)) == found
    lines = text(found).splitlines()
    assert lines[0] == f"file       {run / 'last.ckpt'}, {found['bytes'] / 1024:.1f} KiB"
    assert "progress   40 samples, 20 iterations, epoch 2" in lines
    assert f"checksums  all {found['checksums']['records']} records match" in lines
    assert ["network", "6", "443", "35", "1.9", "KiB"] in [line.split() for line in lines]
    assert any(line.split()[:3] == ["0", "4", "0.003487"] for line in lines)


def test_files_that_tell_less(run: Path, tmp_path: Path) -> None:
    checkpoints.write({"state_dict": {"w": torch.ones(2)}}, tmp_path / "a.ckpt")
    found = report(tmp_path / "a.ckpt")
    assert (found["method"], found["version"], found["epoch"], found["ema"]) == (None,) * 4
    assert "method     not told by the file" in text(found)
    average([run / "early.ckpt", run / "last.ckpt"], tmp_path / "mean.ckpt")
    assert "last.ckpt (40 samples)" in text(report(tmp_path / "mean.ckpt"))


def test_an_exported_file(run: Path, tmp_path: Path) -> None:
    export(run / "last.ckpt", tmp_path / "a.safetensors")
    found = report(tmp_path / "a.safetensors")
    assert (found["method"], found["weights"], found["samples"]) == ("distributed.toy.ToyGAN", "ema", 40)
    assert found["submodules"] == report(run / "last.ckpt")["submodules"]
    assert "exported   ema weights" in text(found) and "checksums  the tensors match" in text(found)


def damaged(path: Path, record: str) -> None:
    """Change one byte inside a record of an archive."""
    with zipfile.ZipFile(path) as archive:
        offset = next(info.header_offset for info in archive.infolist() if info.filename.endswith(record))
    content = bytearray(path.read_bytes())
    head = 30 + int.from_bytes(content[offset + 26 : offset + 28], "little")
    head += int.from_bytes(content[offset + 28 : offset + 30], "little")
    content[offset + head] ^= 1
    path.write_bytes(content)


def test_damage_in_a_tensor_is_named_and_the_rest_is_told(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes((run / "last.ckpt").read_bytes())
    damaged(path, "/data/3")
    found = report(path)
    assert found["checksums"]["damaged"] == ["last.ckpt/data/3"] or found["checksums"]["damaged"][0].endswith(
        "/data/3"
    )
    assert found["samples"] == 40
    assert f"checksums  1 of {found['checksums']['records']} records are damaged: " in text(found)


def test_damage_in_the_table_of_contents_is_one_sentence(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes((run / "last.ckpt").read_bytes())
    damaged(path, "/data.pkl")
    with pytest.raises(
        UserError, match=r"a\.ckpt is damaged \(record .*data\.pkl does not match its checksum\)"
    ):
        report(path)
    path.write_bytes(os.urandom(1000))
    with pytest.raises(UserError, match=r"a\.ckpt is damaged \(it has no whole zip archive\)"):
        report(path)
    with pytest.raises(UserError, match=r"there is no checkpoint .*none\.ckpt"):
        report(tmp_path / "none.ckpt")
