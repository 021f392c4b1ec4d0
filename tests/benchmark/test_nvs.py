"""Comparisons in this process: two tiny models, two baselines, procedural scenes."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from repsynth.benchmark import nvs, observers, speed
from repsynth.benchmark.command import run_nvs
from repsynth.cli import main
from repsynth.comparison import score
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes
from repsynth.errors import UserError
from repsynth.geometry.rendering import Rendering
from repsynth.metrics.crop import central_crop
from repsynth.metrics.psnr import psnr
from repsynth.modules.stereolayers.module import StereoLayers
from tests.benchmark.conftest import write_protocol

MODELS = ["a=first", "b=second/checkpoints/last.ckpt", "nearest=NearestView", "plane=PlaneWarp"]


@pytest.fixture(autouse=True)
def no_fresh_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "peak_memory", lambda *_: 2**20)


def results(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "benchmark.json").read_text())
    return content["results"]


def test_all_models_see_the_same_and_get_the_figures_of_a_test(
    folder: Path, protocol: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["--models", *MODELS, "--data", "first.yaml", "--protocol", str(protocol), "--out", str(out)]
    assert main(["benchmark", "nvs", *words, "--device", "cpu"]) == 0
    rows = results(out)["first"]
    assert list(rows) == ["a", "b", "nearest", "plane"]
    # The averaged weights count, as in `repsynth test`.
    tested = json.loads((folder / "first" / "evaluation" / "test.json").read_text())
    assert rows["a"]["figures"] == tested["figures"] != rows["b"]["figures"]
    assert rows["a"]["averaged_weights"] and rows["a"]["samples_seen"] == 4
    assert rows["a"]["evaluated"].startswith("SyntheticScenes, 1 novel from 2 input views")
    baseline = score(
        "repsynth.modules.stereo_baselines.module.PlaneWarp",
        yaml.safe_load((folder / "first" / "config.yaml").read_text()),
        tmp_path / "baseline",
    )
    assert rows["plane"]["figures"]["psnr"]["mean"] == baseline.figures["psnr"]
    assert rows["nearest"]["parameters"] == 0 < rows["a"]["parameters"]
    assert rows["nearest"]["coverage"] is None and 0 < rows["a"]["coverage"]["mean"] <= 1
    ids = []
    for row in rows.values():
        with Path(row["images_csv"]).open(newline="") as lines:
            ids.append([line["id"] for line in csv.DictReader(lines)])
    assert ids == [[f"test-00000{number}" for number in range(3)]] * 4
    printed = capsys.readouterr().out
    assert printed.startswith("| model | data | PSNR | SSIM | parameters |") and "| a | first | " in printed
    assert (out / "table.md").read_text().strip() in printed


def test_the_checkpoint_decides_and_not_the_configuration_alone(
    folder: Path, protocol: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    state = torch.load("first/checkpoints/last.ckpt", weights_only=True)
    for name in state["callbacks"]["EMA"]["averages"]:
        state["callbacks"]["EMA"]["averages"][name].zero_()
    torch.save(state, tmp_path / "first.ckpt")
    (tmp_path / "first.yaml").write_text(Path("first/config.yaml").read_text())
    models = ["trained=first/checkpoints/last.ckpt", f"emptied={tmp_path / 'first.ckpt'}"]
    run_nvs(models, ["first.yaml"], protocol, out, "cpu")
    rows = results(out)["first"]
    assert rows["trained"]["figures"]["psnr"] != rows["emptied"]["figures"]["psnr"]


def test_figures_over_seeds_are_averaged_per_image_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    render = StereoLayers.render

    def noisy(self: StereoLayers, *arguments: Any) -> Rendering:  # noqa: ANN401
        rendering = render(self, *arguments)
        rendering.features.add_(0.1 * torch.randn_like(rendering.features))
        return rendering

    monkeypatch.setattr(StereoLayers, "render", noisy)
    protocol = write_protocol(tmp_path / "p.yaml", seeds=[3, 4])
    run_nvs(["a=first"], ["first.yaml"], protocol, out, "cpu")
    row = results(out)["first"]["a"]
    single = [
        [float(line["psnr"]) for line in csv.DictReader(path.open(newline=""))]
        for path in (out / "first" / "a" / f"seed-{seed}" / "evaluation" / "test.csv" for seed in (3, 4))
    ]
    assert single[0] != single[1]
    np.testing.assert_allclose(row["figures"]["psnr"]["mean"], np.mean(single), rtol=1e-12)
    np.testing.assert_allclose(row["figures"]["psnr"]["std"], np.mean(single, axis=0).std(ddof=1), rtol=1e-9)
    np.testing.assert_allclose(
        row["over_seeds"]["psnr"]["std"], np.mean(single, axis=1).std(ddof=1), rtol=1e-9
    )


def test_coverage_is_the_share_of_the_crop_that_the_scene_covers(
    folder: Path, protocol: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = StereoLayers.render

    def half(self: StereoLayers, *arguments: Any) -> Rendering:  # noqa: ANN401
        rendering = render(self, *arguments)
        rendering.opacity[:] = -1e-6  # what an empty pixel has
        rendering.opacity[..., : rendering.opacity.shape[-1] // 2] = 1
        return rendering

    monkeypatch.setattr(StereoLayers, "render", half)
    run_nvs(["a=first"], ["first.yaml"], protocol, tmp_path / "out", "cpu")
    assert results(tmp_path / "out")["first"]["a"]["coverage"] == {"mean": 0.5, "std": 0, "standard_error": 0}


def test_several_data_sets_and_timing(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    protocol = write_protocol(tmp_path / "p.yaml", repeats=2, published=["stereolayers/table1/sword"])
    scenes = "repsynth.datamodules.synthetic.posed_scenes.SyntheticScenes"
    two = tmp_path / "two.yaml"
    two.write_text(yaml.safe_dump({"data": {"class_path": scenes, "init_args": {"eval_scenes": 2}}}))
    run_nvs(["a=first", "n=NearestView"], ["three=first.yaml", str(two)], protocol, out, "cpu")
    found = results(out)
    assert {name: rows["a"]["images"] for name, rows in found.items()} == {"three": 3, "two": 2}
    timed = found["two"]["a"]["speed"]
    assert (
        0
        < timed["scene_seconds"]["best"]
        <= timed["scene_seconds"]["median"]
        <= timed["scene_seconds"]["worst"]
    )
    assert timed["frames_per_second"] == pytest.approx(1 / timed["view_seconds"]["median"])
    assert timed["peak_memory_bytes"] == 2**20
    assert found["two"]["n"]["speed"]["scene_seconds"] is None
    table = (out / "table.md").read_text()
    assert "| StereoLayers-4 | published [1] | 25.95 | 0.81 | " in table
    assert "published [1], not measured here: Khakhulin et al., Stereo Magnification" in table


def test_examples_that_differ_between_models_are_refused(
    folder: Path, protocol: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repsynth.datamodules.synthetic import posed_scenes

    made = posed_scenes.render_example
    calls = iter(range(100))

    def unsteady(*arguments: Any) -> Any:  # noqa: ANN401
        example = made(*arguments)
        example["source"]["images"][0, 0, 0, 0] = next(calls)
        return example

    monkeypatch.setattr(posed_scenes, "render_example", unsteady)
    with pytest.raises(UserError) as caught:
        run_nvs(["n=NearestView", "p=PlaneWarp"], ["first.yaml"], protocol, tmp_path / "out", "cpu")
    assert str(caught.value) == (
        "'n' and 'p' were shown different examples of 'first' (3, first test-000000), so their figures cannot be "
        "compared: the data module must give the same evaluation examples every time"
    )


def test_figures_are_those_of_the_crop_of_the_prediction(
    folder: Path, protocol: Path, tmp_path: Path
) -> None:
    from repsynth.modules.stereo_baselines.module import NearestView

    run_nvs(["n=NearestView"], ["first.yaml"], protocol, tmp_path / "out", "cpu")
    data = SyntheticScenes(image_size=(32, 32), eval_scenes=3, eval_batch_size=3)
    batch = data.on_after_batch_transfer(
        data.collate([data.eval_dataset("test")[SampleKey(0, i)] for i in range(3)]), 0
    )
    pair = NearestView().test_step(batch, 0)
    expected = psnr(central_crop(pair["predicted"], 0.75), central_crop(pair["expected"], 0.75))
    found = results(tmp_path / "out")["first"]["n"]["figures"]["psnr"]["mean"]
    assert found == pytest.approx(float(expected.double().mean()), abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "models", "sentence"),
    [
        (
            {"image_size": [33, 32]},
            ["a=first"],
            r"needs image sides that are multiples of 32, but gets 33x32; change data\.image_size",
        ),
        (
            {"crop": 40},
            ["n=NearestView"],
            r"evaluation option crop asks for 40 pixels, but the images are 32 x 32: give a smaller number, or a "
            r"fraction of each side",
        ),
        (
            {"views": {"eval_draws": 2}},
            ["n=NearestView"],
            r"p\.yaml sets views\.eval_draws, but SyntheticScenes \(in first\.yaml\) has no option 'eval_draws': its "
            r"evaluation does not depend on it, or it cannot be chosen; leave the key out, or compare on other data",
        ),
        (
            {"views": {"window": "long"}},
            ["n=NearestView"],
            r"option 'data\.init_args\.window' \(in .*p\.yaml\) expects a whole number, but got 'long'",
        ),
        (
            {"views": {"window": 2}},
            ["n=NearestView"],
            r"a path of data\.clip_frames 5 with data\.window 2 cannot give 2 input and 1 novel views",
        ),
        (
            {},
            ["s=repsynth.modules.stereolayers.module.StereoLayers"],
            r"--models s: StereoLayers has 28428503 parameters and no weights were given; name a run directory or a "
            r"checkpoint",
        ),
        (
            {},
            ["a=broken"],
            r"the checkpoint broken/checkpoints/last\.ckpt does not fit the networks of this experiment",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    models: list[str],
    sentence: str,
) -> None:
    monkeypatch.setattr(nvs, "_test_all", lambda *_: pytest.fail("something ran"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    broken = Path("broken/checkpoints")
    broken.mkdir(parents=True, exist_ok=True)
    (broken / "last.ckpt").write_bytes(Path("first/checkpoints/last.ckpt").read_bytes())
    Path("broken/config.yaml").write_text(
        Path("first/config.yaml").read_text().replace("planes: 2", "planes: 5")
    )
    out = tmp_path / "out"
    with pytest.raises(UserError, match=sentence):
        run_nvs(models, ["first.yaml"], write_protocol(tmp_path / "p.yaml", **changes), out, "cpu")
    assert not out.exists()


def test_a_used_folder_and_a_missing_device_are_refused(folder: Path, protocol: Path, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(
        UserError, match=r"--out .*used holds files already; name a new folder or empty this one"
    ):
        run_nvs(["n=NearestView"], ["first.yaml"], protocol, tmp_path / "used", "cpu")
    for word, sentence in (
        ("gpu", "--device is 'gpu'; expected auto, cpu, cuda or cuda:N"),
        ("cuda:99", "--device is 'cuda:99', but .* CUDA devices are there; use another, or cpu"),
    ):
        with pytest.raises(UserError, match=sentence):
            run_nvs(["n=NearestView"], ["first.yaml"], protocol, None, word)


def test_checksums_see_every_part_of_an_example() -> None:
    data = SyntheticScenes(image_size=(32, 32), eval_scenes=2)
    batch = data.on_after_batch_transfer(data.collate([data.eval_dataset("test")[SampleKey(0, 0)]]), 0)
    before = observers._checksum(batch, 0)
    for part, key in (("source", "extrinsics"), ("novel", "images"), ("novel", "intrinsics")):
        batch[part][key][0, 0, 0, 0] += 0.5
        after = observers._checksum(batch, 0)
        assert after != before
        before = after
    batch["median_depth"] += 1
    assert observers._checksum(batch, 0) != before
