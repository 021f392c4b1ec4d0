"""Pictures of every evaluation, and videos of predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from torch import Tensor

from repsynth.batches import Paired
from repsynth.callbacks.determinism import samples_seen
from repsynth.callbacks.outputs import Stage, require_images
from repsynth.callbacks.shards import let_every_rank_evaluate
from repsynth.errors import UserError
from repsynth.exports.pictures import as_unit
from repsynth.exports.prediction import Frames, MadeFrames, Prediction, checked
from repsynth.exports.samples import name_of, write_sample
from repsynth.media import Panel, false_colours, gif, grid, tiled, to_bytes, write_png
from repsynth.metrics.table import gather

Panels = dict[str, Panel]
"""The cells of a sample's row, by title."""


_LARGEST_LOGGED = 2048
"""Pixels of the longer side of a predicted picture in a logger."""
_SAMPLE = "sample"
"""Title of the only cell of a sample without truth."""


class Media(pl.Callback):
    """Draws the same samples at every evaluation, so that the pictures can be flipped through in time.

    The samples are the first ids in sorted order, whatever the number of ranks. A row holds the step's
    pictures (`Paired["panels"]` with three channels), prediction, truth, error, and then the step's maps of
    one channel (depth) in false colours; samples without truth (`batches.Generated`) fill a square. The picture
    goes to `media/<stage>_<samples seen>.png` below the trainer's `default_root_dir` and to the TensorBoard and
    W&B loggers that are on.

    Args:
        samples: How many samples; each with a truth is a row.
        stages: Where to draw.
        largest_error: Absolute difference, mean over channels, that gets the brightest colour; fixed, so that
            grids of different times compare.

    Raises:
        UserError: For fewer than one sample.
    """

    def __init__(
        self, samples: int = 4, stages: Sequence[Stage] = ("val", "test"), largest_error: float = 0.5
    ) -> None:
        if samples < 1:
            raise UserError(
                f"media option samples is {samples}: expected at least 1, or leave the callback out"
            )
        self.samples = samples
        self.stages = tuple(stages)
        self.largest_error = largest_error
        self._kept: dict[str, Panels] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make ranks without samples take part."""
        let_every_rank_evaluate(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget an evaluation that was broken off."""
        self._kept = {}

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget an evaluation that was broken off."""
        self._kept = {}

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 (whatever the step returned)
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what of the batch may be drawn."""
        if "val" in self.stages and not trainer.sanity_checking:
            self._keep(outputs, pl_module)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what of the batch may be drawn."""
        if "test" in self.stages:
            self._keep(outputs, pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the validation."""
        if "val" in self.stages and not trainer.sanity_checking:
            self._draw("val", trainer)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the test."""
        if "test" in self.stages:
            self._draw("test", trainer)

    def _keep(self, outputs: object, module: pl.LightningModule) -> None:
        for index, name in enumerate(require_images(outputs, module).ids):
            if len(self._kept) < self.samples or name < max(self._kept):
                self._kept[name] = _cells(outputs, index, self.largest_error)
        self._kept = dict(sorted(self._kept.items())[: self.samples])

    def _draw(self, stage: Stage, trainer: pl.Trainer) -> None:
        rows = gather(list(self._kept.items()))[: self.samples]
        self._kept = {}
        if not trainer.is_global_zero:
            return
        seen = samples_seen(trainer)
        picture = _grid_of(rows)
        write_png(picture, Path(trainer.default_root_dir) / "media" / f"{stage}_{seen:010d}.png")
        for logger in trainer.loggers:
            log_picture(logger, f"{stage}/samples", picture, seen)


class FrameWriter(pl.Callback):
    """Writes what `predict_step` returns to `predictions/` below the trainer's `default_root_dir`.

    The step returns `exports.prediction.Prediction`: a video `<id>.mp4` of each sample, or `<id>.png` of a single
    frame; named single views, depth maps and scenes go to a folder `<id>`, see docs/prediction.md. Characters of an id
    that file systems dislike become underscores. The first samples also go to the TensorBoard (as GIF) and W&B
    loggers that are on; with several ranks those of rank zero. What is written is let go: `Trainer.predict` returns
    nothing, so that the predictions of a large set need no memory.

    Args:
        fps: Frames per second of the videos.
        logged: How many samples go to the loggers.

    Attributes:
        files: What this rank wrote, in order; of a folder of layers its description.
    """

    def __init__(self, fps: int = 25, logged: int = 8) -> None:
        if fps < 1 or logged < 0:
            raise UserError(
                f"FrameWriter options fps and logged are {fps} and {logged}: expected at least 1 and at least 0"
            )
        self.fps = fps
        self.logged = logged
        self.files: list[Path] = []
        self._names: set[str] = set()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Keep Lightning from collecting all predictions."""
        trainer.predict_loop.return_predictions = False

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin a new list of files."""
        self.files, self._names = [], set()

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the batch.

        Raises:
            UserError: When the step returned something else, two ids would share a file, or a scene cannot be
                written.
        """
        prediction = checked(outputs, type(pl_module).__name__)
        folder = _predictions(trainer)
        for index in range(len(prediction["ids"])):
            self._claim(folder, name_of(prediction, index))
            written = write_sample(prediction, index, folder, self.fps)
            self.files += written
            if len(self._names) <= self.logged and trainer.is_global_zero:
                self._log(trainer, prediction, index, written[0])

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what was written."""
        if self.files:
            folder = _predictions(trainer)
            first, last = (file.relative_to(folder) for file in (self.files[0], self.files[-1]))
            names = f"{first}" if first == last else f"{first} .. {last}"
            print(f"predictions: {len(self.files)} file(s) in {folder} ({names})")

    def _claim(self, folder: Path, name: str) -> None:
        if name in self._names:
            raise UserError(
                f"two predictions would be written to {folder / name}: give samples ids that differ in letters"
            )
        self._names.add(name)

    def _log(self, trainer: pl.Trainer, prediction: Prediction, index: int, first_file: Path) -> None:
        seen, title = samples_seen(trainer), f"predict/{prediction['ids'][index]}"
        frames = prediction["frames"][index]
        names = prediction.get("names", [""] if len(frames) == 1 else None)
        for logger in trainer.loggers:
            if names is None:
                log_video(logger, title, first_file, frames, self.fps, seen)
            else:
                for name, frame in zip(names, frames, strict=True):
                    log_picture(
                        logger, f"{title}/{name}".rstrip("/"), to_bytes(as_unit(_thinned(frame))), seen
                    )


def log_picture(logger: Logger, title: str, picture: np.ndarray, step: int) -> None:
    """Show uint8 [H, W, 3] in a logger that has pictures (TensorBoard, W&B); others are left alone."""
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(title, picture, step, dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        logger.log_image(title, [picture], step)


def log_video(logger: Logger, title: str, path: Path, frames: Frames, fps: int, step: int) -> None:
    """Show T frames [3, H, W], bytes or in [0, 1], in TensorBoard, their video `path` in W&B; leave others alone.

    TensorBoard would need all frames at once, so that it does not get those that are made one at a time.
    """
    if isinstance(logger, TensorBoardLogger):
        if isinstance(frames, MadeFrames):
            return
        from tensorboard.compat.proto.summary_pb2 import Summary

        # SummaryWriter.add_video does this with moviepy, which would be one more package to install.
        pictures = np.stack([to_bytes(as_unit(frame)) for frame in frames])
        height, width = pictures.shape[1:3]
        moving = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=gif(pictures, fps)
        )
        summary = Summary(value=[Summary.Value(tag=title, image=moving)])
        logger.experiment._get_file_writer().add_summary(summary, step)
    elif isinstance(logger, WandbLogger):
        logger.log_video(title, [str(path)], step, format=["mp4"])


def _thinned(picture: Tensor) -> Tensor:
    """A picture [3, H, W] with every so manieth pixel, where it is too large to look at in a logger."""
    step = -(-max(picture.shape[1:]) // _LARGEST_LOGGED)
    return picture[:, ::step, ::step]


def _predictions(trainer: pl.Trainer) -> Path:
    return Path(trainer.default_root_dir) / "predictions"


def _grid_of(rows: Sequence[tuple[str, Panels]]) -> np.ndarray:
    if list(rows[0][1]) == [_SAMPLE]:
        return tiled([panels[_SAMPLE].image for _, panels in rows])
    titles = list(rows[0][1])
    labelled = []
    for name, panels in rows:
        first, *others = (panels[title] for title in titles)
        labelled.append([first._replace(note=f"{name} {first.note}".strip()), *others])
    return grid(titles, labelled)


def _cells(outputs: Any, index: int, largest_error: float) -> Panels:  # noqa: ANN401  Paired or Generated
    """What is drawn of one sample."""
    if "generated" in outputs:
        return {_SAMPLE: Panel(to_bytes(outputs["generated"][index]))}
    return _row(outputs, index, largest_error)


def _row(pair: Paired, index: int, largest_error: float) -> Panels:
    panels: Mapping[str, Tensor] = pair.get("panels", {})
    pictures = {title: images[index] for title, images in panels.items() if images.shape[1] == 3}
    maps = {title: images[index, 0] for title, images in panels.items() if images.shape[1] != 3}
    predicted, expected = pair["predicted"][index].float(), pair["expected"][index].float()
    pictures |= {"prediction": predicted, "truth": expected}
    return {
        **{title: Panel(to_bytes(image)) for title, image in pictures.items()},
        "error": false_colours((predicted - expected).abs().mean(0), 0.0, largest_error),
        **{title: false_colours(values) for title, values in maps.items()},
    }
