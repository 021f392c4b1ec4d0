"""The comparison of a run with the baselines that need no learning."""

import json
from pathlib import Path

import pytest
import yaml

from repsynth.cli import main as run
from repsynth.comparison import compare, main, newest_config, table
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes
from repsynth.errors import UserError
from repsynth.metrics.crop import central_crop
from repsynth.metrics.psnr import psnr
from repsynth.modules.stereo_baselines.module import NearestView

CONFIG = """
seed_everything: 0
model:
  class_path: repsynth.modules.stereolayers.module.StereoLayers
  init_args: {layers: 1, planes: 2, near: 1.5, far: 15, geometry_width: 1, geometry_levels: 0, coloring_width: 1,
              perceptual: random, perceptual_levels: 1}
data:
  class_path: repsynth.datamodules.synthetic.posed_scenes.SyntheticScenes
  init_args: {image_size: [32, 32], train_scenes: 4, eval_scenes: 3, eval_batch_size: 2}
trainer:
  default_root_dir: run
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - class_path: repsynth.callbacks.evaluation.Evaluation
      init_args: {metrics: [psnr, ssim], crop: 0.75}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step, and its test; the folder above it is where commands are given."""
    folder = tmp_path_factory.mktemp("comparison")
    (folder / "experiment.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(["fit", "--config=experiment.yaml"]) == 0
        assert run(["test", "--config=run/config.yaml"]) == 0
    return folder


@pytest.fixture
def folder(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    return Path("run")


def test_baselines_are_scored_on_the_scenes_and_crop_of_the_run(folder: Path) -> None:
    rows = compare(folder)
    assert list(rows) == [
        "nearest input view",
        "reference on one plane at the true median depth",
        "StereoLayers",
    ]
    assert rows["StereoLayers"]["psnr"] == pytest.approx(
        json.loads((folder / "evaluation" / "test.json").read_text())["figures"]["psnr"]["mean"]
    )
    data = SyntheticScenes(image_size=(32, 32), eval_scenes=3, eval_batch_size=3)
    batch = data.on_after_batch_transfer(next(iter(data.test_dataloader())), 0)
    pair = NearestView().test_step(batch, 0)
    expected = psnr(central_crop(pair["predicted"], 0.75), central_crop(pair["expected"], 0.75))
    assert rows["nearest input view"]["psnr"] == pytest.approx(float(expected.double().mean()), abs=1e-4)


def test_figures_of_other_samples_are_not_put_in_one_table(folder: Path) -> None:
    assert run(["test", "--config=run/config.yaml", "--data.eval_scenes=2"]) == 0
    with pytest.raises(
        UserError, match=r"test\.json comes from other samples, crop or figures than .*config\.yaml"
    ):
        compare(folder)
    assert run(["test", "--config=run/config.yaml"]) == 0


def test_the_last_new_configuration_counts(tmp_path: Path) -> None:
    for name in ("config.yaml", "config-2.yaml", "config-10.yaml"):
        (tmp_path / name).touch()
    assert newest_config(tmp_path).name == "config-10.yaml"


def prepare(root: Path, report: str | None, callbacks: list[object]) -> None:
    config = yaml.safe_load(CONFIG)
    config["trainer"]["callbacks"] = callbacks
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    if report is not None:
        (root / "evaluation").mkdir()
        (root / "evaluation" / "test.json").write_text(report)
        (root / "evaluation" / "test.csv").write_text("id,psnr\na,1.0\n")


GOOD = json.dumps({"figures": {"psnr": {"mean": 1.0}}, "crop": 1.0, "settings": {}})


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (None, r"test\.json is missing: call `repsynth test --config .*config\.yaml` first\."),
        ('{"figures": {"psnr"', r"test\.json or the \.csv beside it is damaged \(JSONDecodeError"),
        ("{}", r"damaged \(KeyError\('figures'\)\): test the run again\."),
        (GOOD, r"trainer\.callbacks of the run's configuration has no Evaluation"),
    ],
)
def test_each_mistake_gets_its_sentence(tmp_path: Path, report: str | None, sentence: str) -> None:
    prepare(tmp_path, report, callbacks=[])
    with pytest.raises(UserError, match=sentence):
        compare(tmp_path)


def test_a_folder_that_is_no_run_is_answered_with_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith(
        "has no config.yaml: name the directory of a run (trainer.default_root_dir).\n"
    )
    assert main([]) == 2


def test_table_shows_a_figure_that_is_not_finite_as_a_dash() -> None:
    rows = {"a": {"psnr": 20.126, "ssim": 0.5}, "b": {"psnr": None, "ssim": 0.12345}}
    assert table(rows).splitlines() == [
        "| | psnr | ssim |",
        "|---|---|---|",
        "| a | 20.13 | 0.500 |",
        "| b | - | 0.123 |",
    ]
