"""The part of an evaluation that compares the set of generated images with a set of real ones."""

from dataclasses import dataclass
from itertools import islice
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from repsynth.cache import cached, default_cache, key_of
from repsynth.callbacks.outputs import Stage, require_images
from repsynth.datamodules.image_sets import RealImages
from repsynth.errors import UserError
from repsynth.metrics.features import QUANTISATION
from repsynth.metrics.ranks import from_first, is_first
from repsynth.metrics.set_scores import SetScores
from repsynth.metrics.set_statistics import SetStatistics
from repsynth.metrics.table import Summary

_VERSION = 1
"""Of the cached form; a change makes older files useless."""


@dataclass(frozen=True)
class SetResult:
    """What an evaluation says of whole sets: figures, what to know of each, and of the sets."""

    figures: dict[str, Summary]
    settings: dict[str, Any]
    sets: dict[str, Any]


class SetFigures:
    """Statistics of the images that steps return, and of the real set, on the ranks that see them.

    Real images come from the data module if it is one of `datamodules.image_sets.RealImages`, once: their statistics
    are kept in the cache folder. Otherwise they are the `expected` images of steps that return `Paired`.
    """

    def __init__(self, scores: SetScores) -> None:
        self.scores = scores
        self._known: dict[Stage, SetStatistics | None] = {}
        """Of the data module's real sets, on rank zero; None on the others."""
        self._generated: SetStatistics | None = None
        self._returned: SetStatistics | None = None
        """Of the real images that steps return; None when the data module has them."""

    def prepare(self, device: torch.device, size: tuple[int, int] | None) -> None:
        """Move extractors to the device, forget real sets, and try images of a size (height, width).

        Raises:
            UserError: When the images are too small for an extractor.
        """
        self._known = {}
        self.scores.to(device)
        if size is not None:
            blank = torch.zeros(1, 3, *size, dtype=torch.uint8, device=device)
            self.scores.add(self.scores.nothing_seen("real"), ["blank"], blank)

    def start(self, stage: Stage, trainer: pl.Trainer) -> None:
        """Forget an evaluation that was broken off; find or compute the statistics of the real set.

        Every rank must call it.
        """
        self._generated = self.scores.nothing_seen("generated")
        data = _data(trainer)
        self._returned = None if isinstance(data, RealImages) else self.scores.nothing_seen("real")
        if isinstance(data, RealImages) and stage not in self._known:
            self._known[stage] = self._real_set(stage, data, trainer)

    def add(self, outputs: object, module: pl.LightningModule) -> None:
        """Count what a step returned.

        Raises:
            UserError: When that is neither `Generated` nor `Paired`, or there are no real images to compare with.
        """
        assert self._generated is not None
        images = require_images(outputs, module)
        self.scores.add(self._generated, images.ids, images.generated)
        if self._returned is None:
            return
        if images.real is None:
            raise UserError(
                f"the evaluation step of {type(module).__name__} returned generated images and no real ones, and "
                "neither does the data module have them: derive it from repsynth.datamodules.image_sets.RealImages, "
                "or return Paired"
            )
        self.scores.add(self._returned, images.ids, images.real)

    def finish(self, stage: Stage, trainer: pl.Trainer) -> SetResult:
        """Join the ranks and compute the figures on rank zero; every rank must call it and gets the result.

        Raises:
            UserError: On every rank, for too few images, repeated ids, or sets of different sizes of image.
        """
        assert self._generated is not None
        generated = self._generated.joined()
        real = self._returned.joined() if self._returned is not None else self._known[stage]
        self._generated = self._returned = None

        def result() -> SetResult:
            assert real is not None and generated is not None
            figures = self.scores.figures(real, generated)
            sets = _about(stage, trainer, real, generated)
            return SetResult(figures, self.scores.settings(real, generated), sets)

        return from_first(result)

    # The real set.

    def _real_set(self, stage: Stage, data: RealImages, trainer: pl.Trainer) -> SetStatistics | None:
        """Of the data module's images, on rank zero: from the cache, or computed by all ranks together."""
        limit = trainer.fast_dev_run or None  # type: ignore[attr-defined]  # a number of batches
        if limit is not None:
            return self._measured(data.real_loader(stage), trainer, limit)

        def build() -> SetStatistics:
            print(f"real images: statistics of {data.real_count(stage)}, once, to {path}", flush=True)
            from_first(lambda: True)
            found = self._measured(data.real_loader(stage), trainer)
            assert found is not None
            built.append(found)
            return found

        built: list[SetStatistics] = []
        words = self.scores.cache_words()
        key = from_first(lambda: key_of(_VERSION, data.signature(stage), data.real_count(stage), *words))
        path = default_cache() / f"set-{key}.npz"
        if is_first():
            found = cached(path, SetStatistics.read, build, SetStatistics.write)
            if not built:
                from_first(lambda: False)
            return found
        # Rank zero holds the lock and says whether there is something to do.
        return self._measured(data.real_loader(stage), trainer) if from_first(bool) else None

    def _measured(
        self, loader: DataLoader[Any], trainer: pl.Trainer, limit: int | None = None
    ) -> SetStatistics | None:
        statistics = self.scores.nothing_seen("real")
        for batch in islice(loader, limit):
            # Not by way of the strategy, whose hooks would make floats of bytes.
            images = batch["images"].to(trainer.strategy.root_device, non_blocking=True)
            self.scores.add(statistics, batch["ids"], images)
        return statistics.joined()


def _about(
    stage: Stage, trainer: pl.Trainer, real: SetStatistics, generated: SetStatistics
) -> dict[str, Any]:
    data = _data(trainer)
    own = isinstance(data, RealImages)
    return {
        "real": real.count,
        "generated": generated.count,
        "real_set": data.signature(stage) if own else "the expected images of the evaluation's steps",
        "image_size": list(generated.size or ()),
        "quantisation": QUANTISATION,
        "seed": getattr(data, "eval_seed", getattr(data, "seed", None)),
    }


def _data(trainer: pl.Trainer) -> Any:  # noqa: ANN401
    return trainer.datamodule  # type: ignore[attr-defined]
