"""The mean of checkpoints, against closed forms and against plain torch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from distributed.toy import ToyGAN
from torch import Tensor

import repsynth
from repsynth import checkpoints
from repsynth.checkpoint_tools.mean import average
from repsynth.checkpoints import check_fits, verify
from repsynth.errors import UserError


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def save(path: Path, weights: dict[str, Any], method: str = "a.Method", **others: Any) -> Path:  # noqa: ANN401
    checkpoints.write({"state_dict": weights, "method": method, "buffers": ["mean"], **others}, path)
    return path


def three(folder: Path, values: list[Tensor]) -> list[Path]:
    return [save(folder / f"{i}.ckpt", {"w": value, "mean": value}) for i, value in enumerate(values)]


def test_parameters_are_averaged_and_buffers_are_the_last_ones(run: Path, tmp_path: Path) -> None:
    files = [run / "early.ckpt", run / "last.ckpt"]
    average(files, tmp_path / "mean.ckpt")
    before, last, mean = (load(path)["state_dict"] for path in (*files, tmp_path / "mean.ckpt"))
    names = dict(ToyGAN().named_parameters())
    buffers = [name for name in last if name not in names]
    assert len(buffers) == 4 and len(names) == 8  # the two vectors of each spectral norm
    for name in names:
        torch.testing.assert_close(mean[name], (before[name] + last[name]) / 2, rtol=1e-6, atol=0)
    assert (
        sum(not torch.equal(mean[name], last[name]) for name in names) == 7
    )  # a bias of the critic learns nothing
    assert all(torch.equal(mean[name], last[name]) for name in buffers)
    assert not any(torch.equal(mean[name], before[name]) for name in buffers)


def test_it_fits_its_method_and_tells_where_it_comes_from(run: Path, tmp_path: Path) -> None:
    files = [run / "early.ckpt", run / "last.ckpt"]
    average(files, tmp_path / "mean.ckpt")
    state = verify(tmp_path / "mean.ckpt")
    check_fits(state, ToyGAN(), tmp_path / "mean.ckpt")
    assert state["averaged"] == {str(path): checkpoints.seen(load(path)) for path in files}
    assert state["version"] == repsynth.__version__
    assert "optimizer_states" not in state


def test_running_averages_can_be_averaged(run: Path, tmp_path: Path) -> None:
    files = [run / "early.ckpt", run / "last.ckpt"]
    average(files, tmp_path / "mean.ckpt", "ema")
    states = [load(path) for path in files]
    mean = load(tmp_path / "mean.ckpt")["state_dict"]
    for name, last in states[-1]["callbacks"]["EMA"]["averages"].items():
        expected = (states[0]["callbacks"]["EMA"]["averages"][name] + last) / 2
        torch.testing.assert_close(mean[name], expected, rtol=1e-6, atol=0)
    raw = [state["state_dict"]["critic.3.bias"] for state in states]  # has no average
    torch.testing.assert_close(mean["critic.3.bias"], (raw[0] + raw[1]) / 2, rtol=1e-6, atol=0)


def test_sums_are_exact_where_the_type_of_the_weights_is_not(tmp_path: Path) -> None:
    """Three times 60000 overflows float16, and 1 is lost beside 2e8 in float32."""
    half = [torch.tensor([60000.0], dtype=torch.float16)] * 3
    average(three(tmp_path / "half", half), tmp_path / "half.ckpt")
    found = load(tmp_path / "half.ckpt")["state_dict"]["w"]
    assert found.dtype == torch.float16 and found.item() == 60000
    single = [torch.tensor([value]) for value in (2e8, 1.0, -2e8)]
    average(three(tmp_path / "single", single), tmp_path / "single.ckpt")
    assert load(tmp_path / "single.ckpt")["state_dict"]["w"].item() == torch.tensor(1 / 3).item()


def test_numbers_that_are_not_floating_point_are_the_last_ones(tmp_path: Path) -> None:
    average(three(tmp_path, [torch.tensor([i]) for i in (1, 2, 9)]), tmp_path / "mean.ckpt")
    assert load(tmp_path / "mean.ckpt")["state_dict"]["w"].tolist() == [9]


def refused(paths: list[Path], out: Path, words: str) -> None:
    with pytest.raises(UserError, match=words):
        average(paths, out)


def test_what_cannot_be_averaged_is_one_sentence(tmp_path: Path) -> None:
    out, w = tmp_path / "mean.ckpt", torch.ones(2)
    one = save(tmp_path / "one.ckpt", {"w": w})
    refused([one], out, "a mean needs at least two checkpoints")
    refused([one, tmp_path / "." / "one.ckpt"], out, r"one\.ckpt is named twice and would count twice")
    other = save(tmp_path / "other.ckpt", {"w": w}, "b.Method")
    refused([one, other], out, r"other\.ckpt belongs to b\.Method, .*one\.ckpt to a\.Method: a mean is of")
    wide = save(tmp_path / "wide.ckpt", {"w": torch.ones(3)})
    refused([one, wide], out, r"have different networks, first w with \[2\] and \[3\]: a mean is of")
    more = save(tmp_path / "more.ckpt", {"w": w, "v": w})
    refused([one, more], out, r"have different networks, first v with nothing and \[2\]")
    bad = save(tmp_path / "bad.ckpt", {"w": torch.tensor([1.0, torch.nan])})
    refused(
        [one, bad], out, r"bad\.ckpt holds values in w that are not finite, and so would the mean: leave it"
    )
    old = tmp_path / "old.ckpt"
    checkpoints.write({"state_dict": {"w": w}, "method": "a.Method"}, old)
    refused(
        [one, old], out, r"old\.ckpt does not tell which of its weights are buffers, which a mean must not"
    )
    checkpoints.write({"weights": w}, tmp_path / "none.ckpt")
    refused([one, tmp_path / "none.ckpt"], out, r"none\.ckpt is not a checkpoint of repsynth")
    refused([one, tmp_path / "missing.ckpt"], out, r"there is no checkpoint .*missing\.ckpt")
    old.write_bytes(one.read_bytes()[:-100])
    refused([one, old], out, r"old\.ckpt is damaged")
    assert not out.exists()
    out.touch()
    refused([one, bad], out, r"mean\.ckpt is there already; remove it or name another file with --out")
