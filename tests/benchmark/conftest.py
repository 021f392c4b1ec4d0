from pathlib import Path
from typing import Any

import pytest
import yaml

from repsynth.cli import main

EXPERIMENT = """
seed_everything: {seed}
model:
  class_path: repsynth.modules.stereolayers.module.StereoLayers
  init_args: {{layers: 1, planes: {planes}, near: 1.5, far: 15, geometry_width: 1, geometry_levels: 0,
               coloring_width: 1, perceptual: random, perceptual_levels: 1}}
data:
  class_path: repsynth.datamodules.synthetic.posed_scenes.SyntheticScenes
  init_args: {{image_size: [32, 32], train_scenes: 4, eval_scenes: 3, eval_batch_size: 2}}
trainer:
  default_root_dir: {name}
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - class_path: repsynth.callbacks.evaluation.Evaluation
      init_args: {{metrics: [psnr, ssim], crop: 0.75}}
    - class_path: repsynth.callbacks.ema.EMA
      init_args: {{modules: [generator], half_life: 1000}}
"""
PROTOCOL: dict[str, Any] = {
    "image_size": [32, 32],
    "views": {"mode": "extrapolation", "window": 5, "source_views": 2, "novel_views": 1},
    "crop": 0.75,
    "metrics": ["psnr", "ssim"],
    "repeats": 0,
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two trained runs, `first` and `second`, and a test of the first in itself."""
    folder = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed, name in enumerate(("first", "second")):
            path = folder / f"{name}.yaml"
            path.write_text(EXPERIMENT.format(seed=seed, name=name, planes=2 + seed))
            assert main(["fit", f"--config={path}"]) == 0
        assert main(["test", "--config=first/config.yaml"]) == 0
    return folder


@pytest.fixture
def folder(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder as the current one."""
    monkeypatch.chdir(trained)
    return trained


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    return write_protocol(tmp_path / "protocol.yaml")


def write_protocol(path: Path, **changes: Any) -> Path:  # noqa: ANN401
    path.write_text(yaml.safe_dump({**PROTOCOL, **changes}))
    return path
