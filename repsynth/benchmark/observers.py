"""Callbacks that look on while a model is tested."""

import zlib
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from repsynth.batches import PosedViews, Views
from repsynth.callbacks.evaluation import require_paired
from repsynth.errors import UserError
from repsynth.geometry.rendering import Rendering
from repsynth.metrics.crop import central_crop
from repsynth.modules.novel_views import NovelViewMethod


class Examples(pl.Callback):
    """Notes what a model is shown, and gives it the seed of the test.

    Args:
        seed: of the data module; a checkpoint brings the one of its training.

    Attributes:
        seen: Id of an example -> checksum of its pictures, cameras and depths.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.seen: dict[str, int] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Set the seed of a model without checkpoint."""
        trainer.datamodule.seed = self.seed  # type: ignore[attr-defined]

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Set the seed again after the checkpoint's was taken."""
        trainer.datamodule.seed = self.seed  # type: ignore[attr-defined]

    def on_test_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: PosedViews,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note the examples of a batch."""
        for place, name in enumerate(batch["ids"]):
            self.seen[name] = _checksum(batch, place)


def require_same(first: tuple[str, dict[str, int]], other: tuple[str, dict[str, int]], data: str) -> None:
    """Raise UserError unless two models, told by name, have seen the same examples."""
    (name, seen), (other_name, other_seen) = first, other
    odd = sorted(key for key in seen.keys() | other_seen.keys() if seen.get(key) != other_seen.get(key))
    if odd:
        raise UserError(
            f"'{name}' and '{other_name}' were shown different examples of '{data}' ({len(odd)}, first {odd[0]}), so "
            "their figures cannot be compared: the data module must give the same evaluation examples every time"
        )


class Coverage(pl.Callback):
    """Notes which share of each novel view a method's scene covers, on the crop that the figures see.

    Args:
        crop: see `metrics.crop.central_crop`.

    Attributes:
        shares: Id of an image -> share in [0, 1]; empty for modules that render no scenes.
    """

    def __init__(self, crop: float) -> None:
        self.crop = crop
        self.shares: dict[str, float] = {}
        self._rendered: list[float] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Look on when the module renders."""
        if isinstance(pl_module, NovelViewMethod):
            pl_module.render_views = self._watched(pl_module.render_views)  # type: ignore[method-assign, assignment]

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the module as it was."""
        vars(pl_module).pop("render_views", None)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Give the shares of a batch their ids."""
        ids = require_paired(outputs, pl_module)["ids"]
        if len(self._rendered) == len(ids):
            self.shares |= dict(zip(ids, self._rendered, strict=True))
        self._rendered = []

    def _watched(self, render_views: Callable[[Any, Views], Rendering]) -> Callable[[Any, Views], Rendering]:
        def watched(scene: Any, views: Views) -> Rendering:  # noqa: ANN401
            rendering = render_views(scene, views)
            covered = central_crop(rendering.opacity > 0, self.crop)
            self._rendered += covered.float().mean(dim=(1, 2, 3)).tolist()
            return rendering

        return watched


def _checksum(batch: PosedViews, place: int) -> int:
    total = 0
    for part in (
        batch["source"],
        batch["novel"],
        {"range": batch["depth_range"], "median": batch["median_depth"]},
    ):
        for tensor in part.values():
            assert isinstance(tensor, Tensor)
            total = zlib.crc32(tensor[place].cpu().numpy().tobytes(), total)
    return total
