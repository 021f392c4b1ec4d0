"""The part of an evaluation that judges translations of photographs without a truth."""

import lightning.pytorch as pl
import torch
from torch import Tensor

from repsynth.callbacks.outputs import require_images
from repsynth.errors import UserError
from repsynth.metrics.ranks import from_first
from repsynth.metrics.table import Summary, gather
from repsynth.metrics.translation_scores import Judged, TranslationScores


class TranslationFigures:
    """What is said of the images that steps return, on the ranks that see them; only numbers are kept."""

    def __init__(self, scores: TranslationScores) -> None:
        self.scores = scores
        self._judged: list[tuple[str, Judged]] = []

    def prepare(self, device: torch.device, size: tuple[int, int] | None) -> None:
        """Move networks to the device, and try images of a size (height, width).

        Raises:
            UserError: When the images are too small for a network.
        """
        self.scores.to(device)
        if size is not None:
            blank = torch.zeros(1, 3, *size, device=device)
            self.scores(["blank"], blank, blank)

    def start(self) -> None:
        """Forget an evaluation that was broken off."""
        self._judged = []

    def add(self, outputs: object, module: pl.LightningModule) -> None:
        """Judge what a step returned.

        Raises:
            UserError: When that is neither `Generated` nor `Paired`, or lacks the photographs that dipd needs.
        """
        images = require_images(outputs, module)
        self._judged += self.scores(
            images.ids, images.generated, self._inputs(outputs, images.generated, module)
        )

    def finish(self) -> tuple[dict[str, Summary], int]:
        """Join the ranks and return the figures and the count of images; every rank must call it and gets them.

        Raises:
            UserError: On every rank, for repeated ids, no image, or cis of photographs with one translation each.
        """
        judged, self._judged = gather(self._judged), []
        return from_first(lambda: self.scores.figures(judged)), len(judged)

    def _inputs(self, outputs: object, generated: Tensor, module: pl.LightningModule) -> Tensor | None:
        if self.scores.dipd is None:
            return None
        assert isinstance(outputs, dict)
        inputs = outputs.get("inputs")
        if not isinstance(inputs, Tensor) or inputs.shape != generated.shape:
            raise UserError(
                f"the evaluation step of {type(module).__name__} returned no inputs of the size of its images, with "
                "which dipd compares translations: return the photographs as inputs, or take dipd out of the metrics"
            )
        return inputs
