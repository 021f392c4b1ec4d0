"""`Trainer.predict` with the files that it leaves, as `repsynth predict` runs it."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from PIL import Image

from repsynth.callbacks.media import FrameWriter
from repsynth.datamodules.image_sets import Numbers
from repsynth.datamodules.photographs import Photographs
from repsynth.datamodules.samplers import EvalBatchSampler
from repsynth.exports.prediction import Prediction
from repsynth.modules.cips.sampling.options import (
    FoveatedOptions,
    InterpolationOptions,
    InversionOptions,
    PanoramaOptions,
    SamplingOptions,
    SpectrumOptions,
    ZoomOptions,
)
from repsynth.modules.cips.sampling.prediction import predict

from ..tiny import tiny_generator
from .helpers import CANVAS


class Method(pl.LightningModule):
    def __init__(self, options: SamplingOptions) -> None:
        super().__init__()
        self.generator = tiny_generator(surface="cylinder" if options.task == "panorama" else "plane")
        self.options = options

    def predict_step(self, batch: Any, batch_idx: int) -> Prediction:  # noqa: ANN401
        real = torch.rand(3, 3, 16, 16)
        return predict(self.generator, self.options, batch, CANVAS, real=lambda: [real])


def trainer(root: Path) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(accelerator="cpu", default_root_dir=root, callbacks=[FrameWriter()], **quiet)  # type: ignore[arg-type]


def files(root: Path) -> list[str]:
    predictions = root / "predictions"
    return sorted(str(path.relative_to(predictions)) for path in predictions.rglob("*") if path.is_file())


VIEWS = {
    "foveated": ["computed", "foveated", "full"],
    "inversion": ["composite", "photograph", "reconstruction"],
}
WRITTEN = {
    "samples": ["0.png", "1.png"],
    "grid": ["0.png", "1.png"],
    "interpolation": ["0.mp4", "1.mp4"],
    "zoom": ["0.mp4", "1.mp4"],
    "foveated": [
        f"{number}/{name}"
        for number in "01"
        for name in ("computed.png", "figures.json", "foveated.png", "full.png")
    ],
    "panorama": ["0.png", "1.png"],
    "spectrum": ["0.png", "0/figures.json", "1.png", "1/figures.json"],
}


@pytest.mark.parametrize("task", list(WRITTEN))
def test_every_task_of_numbers_is_written(task: Any, tmp_path: Path) -> None:  # noqa: ANN401
    options = SamplingOptions(
        task=task,
        interpolation=InterpolationOptions(2, 2),
        zoom=ZoomOptions(frames=3),
        foveated=FoveatedOptions(share=0.5),
        panorama=PanoramaOptions(scenes=2),
        spectrum=SpectrumOptions(samples=3),
    )
    loader = torch.utils.data.DataLoader(Numbers(2, 0), batch_sampler=EvalBatchSampler(2, 2, 0, 1))
    trainer(tmp_path).predict(Method(options), loader)
    assert files(tmp_path) == WRITTEN[task]


def test_photographs_are_inverted_and_filled_in(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    mask = np.zeros((20, 24), np.uint8)
    mask[:, :12] = 255
    for folder, picture in (("photographs", pixels), ("masks", mask)):
        (tmp_path / folder).mkdir()
        Image.fromarray(picture).save(tmp_path / folder / "street.png")
    data = Photographs(str(tmp_path / "photographs"), str(tmp_path / "masks"), image_size=(16, 16))
    options = SamplingOptions(task="inversion", mean_w_draws=50, inversion=InversionOptions(steps=20))
    trainer(tmp_path).predict(Method(options), datamodule=data)
    names = ["composite.png", "figures.json", "photograph.png", "reconstruction.png"]
    assert files(tmp_path) == [f"street/{name}" for name in names]
    views = {
        name: np.asarray(Image.open(tmp_path / "predictions" / "street" / f"{name}.png"))
        for name in ("composite", "photograph", "reconstruction")
    }
    assert (views["photograph"][:, 9:] == 128).all() and (views["photograph"][:, :6] != 128).any()
    np.testing.assert_array_equal(views["composite"][:, :6], views["photograph"][:, :6])
    np.testing.assert_array_equal(views["composite"][:, 9:], views["reconstruction"][:, 9:])
    figures = json.loads((tmp_path / "predictions" / "street" / "figures.json").read_text())
    assert figures["steps"] == 20 and len(figures["w"]) == 8
