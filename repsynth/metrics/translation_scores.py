"""Figures of translated images that need no truth: dipd against their photographs, is and cis by a classifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from repsynth.errors import UserError, require_at_least
from repsynth.metrics.classifier import classifier
from repsynth.metrics.dipd import DIPD
from repsynth.metrics.features import QUANTISATION, Extractor, quantised
from repsynth.metrics.inception_score import Array, conditional_inception_score, inception_score
from repsynth.metrics.table import Summary, summarize
from repsynth.weights import AUTO, RANDOM

TranslationMetric = Literal["dipd", "is", "cis"]
TRANSLATION_METRICS: tuple[TranslationMetric, ...] = ("dipd", "is", "cis")


@dataclass(frozen=True)
class TranslationOptions:
    """How figures of translations are computed.

    Args:
        vgg_weights: of dipd: "auto" finds or fetches the published file, "random" is a stand-in whose figure is called
            dipd_random, anything else is a path.
        classifier: of is and cis: path of a TorchScript file that gives logits, or of a state dict for `architecture`;
            "random" is a stand-in whose figures are called is_random and cis_random. The papers take a classifier of
            times of day, not of ImageNet.
        architecture: the timm model that the state dict belongs to; null for TorchScript.
        classifier_size: side of the square that images are stretched to for it, pixels.

    Raises:
        UserError: For options that make no sense.
    """

    vgg_weights: str = AUTO
    classifier: str | None = None
    architecture: str | None = None
    classifier_size: int = 224

    def __post_init__(self) -> None:
        require_at_least("translations", 1, classifier_size=self.classifier_size)


class Judged(NamedTuple):
    """What is kept of one image."""

    content: str
    """Which photograph it was made of."""
    distance: float | None
    """DIPD."""
    probabilities: tuple[float, ...]
    """Of the classes; empty without a classifier."""


class TranslationScores(nn.Module):
    """Networks and figures.

    Attributes:
        names: Of the figures in the order asked for; a stand-in's name says so ("is_random").
    """

    def __init__(
        self,
        metrics: Sequence[TranslationMetric],  # at least one, none twice
        options: TranslationOptions,
        download: bool = True,  # whether weights may be fetched
    ) -> None:
        super().__init__()
        self.metrics, self.options = list(metrics), options
        self.dipd = DIPD(options.vgg_weights, download) if "dipd" in metrics else None
        self.classifier: Extractor | None = None
        if {"is", "cis"} & set(metrics):
            if options.classifier is None:
                raise UserError(
                    "the metrics is and cis need a classifier; give its path as translations.classifier of the "
                    f'evaluation, or "{RANDOM}" for the stand-in'
                )
            self.classifier = classifier(options.classifier, options.architecture, options.classifier_size)

    @property
    def names(self) -> list[str]:
        """Of the figures."""
        return [self._name(metric) for metric in self.metrics]

    @torch.no_grad()
    def forward(
        self, ids: Sequence[str], generated: Tensor, inputs: Tensor | None
    ) -> list[tuple[str, Judged]]:
        """Judge N images; returns what is kept of each, with its id.

        Args:
            ids: N; what stands before the last slash is the photograph that an image was made of.
            generated: [N, 3, H, W] in [0, 1], taken as 8-bit pictures.
            inputs: [N, 3, H, W], the photographs, for dipd.

        Raises:
            UserError: For values that are not finite, and images that are too small.
        """
        pictures = quantised(generated, list(ids))
        distances: list[float | None] = [None] * len(ids)
        if self.dipd is not None:
            assert inputs is not None
            photographs = quantised(inputs, list(ids))
            distances = self.dipd(photographs.float() / 255, pictures.float() / 255).tolist()
        said: list[list[float]] = [[]] * len(ids)
        if self.classifier is not None:
            said = self.classifier(pictures).double().softmax(1).tolist()
        return [
            (name, Judged(name.rpartition("/")[0] or name, distance, tuple(probabilities)))
            for name, distance, probabilities in zip(ids, distances, said, strict=True)
        ]

    def figures(self, judged: Sequence[tuple[str, Judged]]) -> dict[str, Summary]:
        """Return the figures by name, in float64, from all images in the order of their ids.

        Raises:
            UserError: For cis without several images of one photograph.
        """
        return {self._name(metric): self._figure(metric, judged) for metric in self.metrics}

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return what a reader must know to repeat each figure, ready for JSON."""
        return {self._name(metric): self._about(metric) for metric in self.metrics}

    # Inner parts.

    def _name(self, metric: TranslationMetric) -> str:
        if metric == "dipd":
            assert self.dipd is not None
            return self.dipd.name
        return f"{metric}_random" if self.options.classifier == RANDOM else metric

    def _figure(self, metric: TranslationMetric, judged: Sequence[tuple[str, Judged]]) -> Summary:
        if metric == "dipd":
            return summarize([metric], [(name, (one.distance or 0.0,)) for name, one in judged])[metric]
        probabilities: Array = np.array([one.probabilities for _, one in judged], dtype=np.float64)
        if metric == "is":
            return Summary(inception_score(probabilities), None, None)
        contents = [one.content for _, one in judged]
        if len(set(contents)) == len(contents):
            raise UserError(
                f"cis compares translations of one photograph, but each of {len(contents)} images is made of another "
                "one (ids are photograph/translation); give data with several styles for a photograph, or leave cis "
                "out of metrics"
            )
        return Summary(conditional_inception_score(probabilities, contents), None, None)

    def _about(self, metric: TranslationMetric) -> dict[str, Any]:
        if metric == "dipd":
            return {
                "network": "vgg16 relu5_3",
                "weights": self.options.vgg_weights,
                "quantisation": QUANTISATION,
            }
        assert self.classifier is not None
        return {
            "classifier": self.options.classifier,
            "architecture": self.classifier.name,
            "weights_sha256": self.classifier.checksum,
            "classes": self.classifier.dimensions,
            "resize": self.classifier.resize,
            "quantisation": QUANTISATION,
        }
