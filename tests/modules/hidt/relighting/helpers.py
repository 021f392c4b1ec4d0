"""A method with tiny networks, run by a trainer as `repsynth predict` does."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from PIL import Image

from repsynth.callbacks.media import FrameWriter
from repsynth.datamodules.photo_files import PhotoFiles
from repsynth.exports.prediction import Prediction
from repsynth.modules.hidt.options import EnhancementOptions, PhotoOptions, TilingOptions
from repsynth.modules.hidt.relighting.checks import check_photos
from repsynth.modules.hidt.relighting.options import FileOptions, RelightingOptions
from repsynth.modules.hidt.relighting.prediction import begin, predict

from ..tiny import photo, tiny_enhancer, tiny_generator

SMALL = PhotoOptions(working_size=32)


def options(**changes: Any) -> RelightingOptions:  # noqa: ANN401
    """Small images; PNG keeps every level."""
    given: dict[str, Any] = {
        "photo": SMALL,
        "file": FileOptions(".png"),
        "tiling": TilingOptions(32),
        "enhancement": EnhancementOptions(),
    }
    found = RelightingOptions(**(given | changes))
    found.check()
    return found


class Method(pl.LightningModule):
    def __init__(self, relighting: RelightingOptions, enhancer: bool = True) -> None:
        super().__init__()
        self.generator = tiny_generator()
        self.enhancer = tiny_enhancer(factor=2) if enhancer else None
        self.relighting = relighting

    def on_predict_start(self) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.styles = begin(self.generator, self.enhancer, self.relighting, data)

    def predict_step(self, batch: Any, batch_idx: int) -> Prediction:  # noqa: ANN401
        return predict(self.generator, self.enhancer, self.relighting, batch, self.styles)


def run(root: Path, relighting: RelightingOptions, data: pl.LightningDataModule, **trainer: Any) -> Method:  # noqa: ANN401
    """Predict into `root`/predictions."""
    method = Method(relighting)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    check_photos(method.generator, method.enhancer, relighting, data)
    pl.Trainer(
        accelerator="cpu", default_root_dir=root, callbacks=[FrameWriter()], **(quiet | trainer)
    ).predict(method, datamodule=data)
    return method


def written(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "predictions").iterdir())


def pixels_of(path: Path) -> np.ndarray:
    """[3, H, W] uint8."""
    return np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)


def save(pixels: np.ndarray, path: Path, **more: Any) -> Path:  # noqa: ANN401
    """Write pixels [3, H, W]; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(path, **more)
    return path


def folders(root: Path, contents: int = 2, styles: int = 2) -> PhotoFiles:
    """Photographs of different sizes."""
    for number in range(contents):
        save(photo(40 + 7 * number, 61 - 3 * number, number), root / "content" / f"c{number}.png")
    for number in range(styles):
        save(photo(50 - number, 30, 10 + number), root / "style" / f"s{number}.png")
    data = PhotoFiles(str(root / "content"), str(root / "style") if styles else None)
    data.check("predict")
    return data
