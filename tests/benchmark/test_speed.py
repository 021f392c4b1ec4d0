"""Times and memory of what a model does with one scene."""

import subprocess
import time
from pathlib import Path

import pytest
import torch

from repsynth.batches import PosedViews
from repsynth.benchmark import measure, speed
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes
from repsynth.modules.stereo_baselines.module import NearestView
from tests.modules.stereolayers.tiny import tiny_stereolayers


@pytest.fixture(scope="module")
def batch() -> PosedViews:
    data = SyntheticScenes(image_size=(32, 32), eval_scenes=2, novel_views=2)
    examples = [data.eval_dataset("test")[SampleKey(0, index)] for index in range(2)]
    found: PosedViews = data.on_after_batch_transfer(data.collate(examples), 0)
    return found


def test_stages_build_one_scene_and_render_one_view(batch: PosedViews) -> None:
    model = tiny_stereolayers()
    scene, view = speed.stages(model, batch, "32-true")
    assert scene is not None
    built, rendered = scene(), view()
    assert built.depth.shape[0] == 1  # type: ignore[attr-defined]
    assert rendered.features.shape == (1, 3, 32, 32)  # type: ignore[attr-defined]
    with torch.inference_mode():
        expected = model.eval().render_views(model.build(batch), batch["novel"])
    torch.testing.assert_close(rendered.features[0], expected.features[0])  # type: ignore[attr-defined]
    assert speed.stages(NearestView(), batch, "32-true").scene is None


def test_mixed_precision_reaches_the_networks(batch: PosedViews) -> None:
    model = tiny_stereolayers()
    kinds = []
    model.generator.register_forward_hook(lambda *_: kinds.append(torch.is_autocast_enabled("cpu")))
    speed.stages(model, batch, "bf16-mixed")
    speed.stages(model, batch, "32-true")
    assert kinds == [True, False]


def test_models_are_timed_in_turn(batch: PosedViews, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    stages = {
        "slow": speed.Stages(lambda: calls.append("b"), lambda: (time.sleep(0.02), calls.append("s"))),
        "fast": speed.Stages(None, lambda: calls.append("f")),
    }
    monkeypatch.setattr(speed, "stages", lambda model, *_: stages[model])
    times = speed.race({"slow": "slow", "fast": "fast"}, batch, "32-true", rounds=3)  # type: ignore[dict-item]
    assert calls == ["s", "b", "f"] * 4
    assert times["slow"][1].best >= 0.02 > times["fast"][1].median and times["fast"][0] is None


@pytest.mark.slow
def test_memory_is_that_of_a_fresh_process(
    batch: PosedViews, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "model: {class_path: tests.benchmark.greedy.Greedy, init_args: {mebibytes: 40}}\n"
        "data: {class_path: repsynth.datamodules.synthetic.posed_scenes.SyntheticScenes}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    taken = speed.peak_memory(config, NearestView(), batch, "32-true", torch.device("cpu"))
    assert taken is not None and 40 <= taken / 2**20 < 60  # 10 MiB of weights, 30 MiB of work


def test_memory_that_cannot_be_measured_is_told(batch: PosedViews, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(arguments: list[str]) -> int:
        raise subprocess.CalledProcessError(1, arguments, stderr="Traceback\nMemoryError: too much\n")

    monkeypatch.setattr(measure, "memory_of", fails)
    with pytest.warns(
        UserWarning, match=r"the memory of c\.yaml could not be measured \(MemoryError: too much\)"
    ):
        found = speed.peak_memory(Path("c.yaml"), NearestView(), batch, "32-true", torch.device("cpu"))
    assert found is None


def test_only_the_first_scene_and_view_travel(batch: PosedViews, tmp_path: Path) -> None:
    one = speed._first(batch)
    torch.save(one, tmp_path / "one.pt")
    assert one["novel"]["images"].shape == (1, 1, 3, 32, 32) and one["source"]["images"].shape[:2] == (1, 2)
    assert (tmp_path / "one.pt").stat().st_size < 2 * 3 * 3 * 32 * 32 * 4


def test_seconds_leave_the_warm_up_out() -> None:
    waits = iter([0.05, 0.0, 0.0, 0.0])
    taken = measure.seconds(lambda: time.sleep(next(waits)), repeats=3)
    assert taken.best <= taken.median <= taken.worst < 0.05
