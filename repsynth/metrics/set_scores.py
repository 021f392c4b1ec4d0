"""Figures of whole sets: generated images against real ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from repsynth.errors import UserError, require_at_least
from repsynth.metrics.features import QUANTISATION, Extractor, quantised
from repsynth.metrics.frechet import frechet_distance
from repsynth.metrics.inception import inception
from repsynth.metrics.kernel_distance import kernel_distances
from repsynth.metrics.precision_recall import ball_radii, share_inside
from repsynth.metrics.random_features import random_extractor
from repsynth.metrics.set_statistics import FeatureStatistics, Role, SetStatistics
from repsynth.metrics.table import Summary
from repsynth.metrics.vgg16 import vgg16
from repsynth.weights import AUTO, RANDOM

SetMetric = Literal["fid", "kid", "precision", "recall"]
SET_METRICS: tuple[SetMetric, ...] = ("fid", "kid", "precision", "recall")


@dataclass(frozen=True)
class SetOptions:
    """How figures of whole sets are computed; the defaults are those of published figures.

    Args:
        inception_weights: of FID and KID: "auto" finds or fetches the published file, "random" is a small stand-in
            whose figures are called fid_random and kid_random, anything else is a path.
        vgg_weights: of precision and recall, likewise.
        kid_subsets: pairs of subsets that KID is the mean over.
        kid_subset_size: samples of each subset; a smaller set is taken whole.
        kid_samples: samples of each set that subsets are drawn from, chosen by their ids; bounds the memory.
        neighbours: of each image, that the manifolds of precision and recall reach to.
        manifold_samples: samples of each set that precision and recall compare, chosen by their ids; bounds the memory
            (16 KB each) and the time, which grows with its square.

    Raises:
        UserError: For options that make no sense.
    """

    inception_weights: str = AUTO
    vgg_weights: str = AUTO
    kid_subsets: int = 100
    kid_subset_size: int = 1000
    kid_samples: int = 10_000
    neighbours: int = 3
    manifold_samples: int = 50_000

    def __post_init__(self) -> None:
        require_at_least("sets", 1, kid_subsets=self.kid_subsets, neighbours=self.neighbours)
        require_at_least("sets", 2, kid_subset_size=self.kid_subset_size)
        require_at_least("sets", self.kid_subset_size, kid_samples=self.kid_samples)
        require_at_least("sets", self.neighbours + 1, manifold_samples=self.manifold_samples)


class SetScores(nn.Module):
    """Extractors, what to keep of their features, and the figures.

    Attributes:
        names: Of the figures in the order asked for; a stand-in's name says so ("fid_random").
    """

    def __init__(
        self,
        metrics: Sequence[SetMetric],  # at least one, none twice
        options: SetOptions,
        download: bool = True,  # whether weights may be fetched
    ) -> None:
        super().__init__()
        self.options = options
        self.metrics = list(metrics)
        weights = {
            "inception": options.inception_weights if {"fid", "kid"} & set(metrics) else None,
            "vgg16": options.vgg_weights if {"precision", "recall"} & set(metrics) else None,
        }
        built = [_extractor(name, given, download) for name, given in weights.items() if given is not None]
        # Both may be the stand-in, which then runs once.
        self.extractors = nn.ModuleDict({extractor.name: extractor for extractor in built})
        self._used = {name: RANDOM if given == RANDOM else name for name, given in weights.items()}
        self._radii: tuple[Tensor, Tensor] | None = None
        """Of the real set's balls, with the features that they are of."""

    @property
    def names(self) -> list[str]:
        """Of the figures."""
        return [
            f"{metric}_random" if self._extractor_of(metric).name == RANDOM else metric
            for metric in self.metrics
        ]

    def nothing_seen(self, role: Role) -> SetStatistics:
        """Return the statistics of a set before its first image; moments are kept where the extractors are."""
        return SetStatistics(
            {
                name: FeatureStatistics.none(
                    self._extractors[name].dimensions, moments, keep, role, self._device
                )
                for name, (moments, keep) in self._wanted().items()
            }
        )

    def add(self, statistics: SetStatistics, ids: Sequence[str], images: Tensor) -> None:
        """Count images of a set.

        Args:
            statistics: of the set, changed in place.
            ids: N, unique within the set.
            images: [N, 3, H, W] on the extractors' device, uint8 or in [0, 1].

        Raises:
            UserError: For values that are not finite, and sizes that an extractor or the set so far does not take.
        """
        images = quantised(images, list(ids))
        statistics.note(ids, images)
        for name, features in statistics.features.items():
            features.add(ids, self._extractors[name](images))

    def figures(self, real: SetStatistics, generated: SetStatistics) -> dict[str, Summary]:
        """Return the figures by name, in float64; of KID with its deviation over the subsets.

        Raises:
            UserError: For too few images, or sets of different sizes of image.
        """
        if real.size != generated.size:
            raise UserError(
                f"generated images are {_sides(generated)} and real ones {_sides(real)} (height x width): set figures "
                "compare images of one size; give the data module the size that the model generates"
            )
        return {
            name: self._figure(
                metric, *(s.features[self._extractor_of(metric).name] for s in (real, generated))
            )
            for name, metric in zip(self.names, self.metrics, strict=True)
        }

    def settings(self, real: SetStatistics, generated: SetStatistics) -> dict[str, dict[str, Any]]:
        """Return what a reader must know to repeat each figure, ready for JSON."""
        return {
            name: self._about(self._extractor_of(metric)) | self._choices(metric, real.count, generated.count)
            for name, metric in zip(self.names, self.metrics, strict=True)
        }

    def cache_words(self) -> list[object]:
        """Return what the statistics of a set depend on besides its images."""
        words: list[object] = [QUANTISATION]
        for name, wanted in self._wanted().items():
            extractor = self._extractors[name]
            words += [name, extractor.checksum, extractor.resize, *wanted]
        return words

    # Inner parts.

    @property
    def _extractors(self) -> dict[str, Extractor]:
        return dict(self.extractors.items())  # type: ignore[arg-type]  # all are extractors

    @property
    def _device(self) -> torch.device:
        return next(self.extractors.parameters()).device

    def _extractor_of(self, metric: SetMetric) -> Extractor:
        return self._extractors[self._used["inception" if metric in ("fid", "kid") else "vgg16"]]

    def _wanted(self) -> dict[str, tuple[bool, int]]:
        """By extractor: whether FID needs its moments, and how many samples' features are kept."""
        keep = {"fid": 0, "kid": self.options.kid_samples}
        wanted: dict[str, tuple[bool, int]] = {}
        for metric in self.metrics:
            name = self._extractor_of(metric).name
            moments, most = wanted.get(name, (False, 0))
            wanted[name] = (
                moments or metric == "fid",
                max(most, keep.get(metric, self.options.manifold_samples)),
            )
        return wanted

    def _figure(self, metric: SetMetric, real: FeatureStatistics, generated: FeatureStatistics) -> Summary:
        if metric == "fid":
            assert real.moments is not None and generated.moments is not None
            return Summary(frechet_distance(real.moments.cpu(), generated.moments.cpu()), None, None)
        limit = self.options.kid_samples if metric == "kid" else self.options.manifold_samples
        first, second = (statistics.kept(limit, self._device) for statistics in (real, generated))
        if metric == "kid":
            distances = kernel_distances(
                first, second, self.options.kid_subsets, self.options.kid_subset_size
            )
            return Summary(distances.mean().item(), _deviation(distances), None)
        if metric == "precision":
            return Summary(share_inside(second, first, self._real_radii(first)), None, None)
        return Summary(share_inside(first, second, ball_radii(second, self.options.neighbours)), None, None)

    def _real_radii(self, features: Tensor) -> Tensor:
        """Of the balls around real images, which are the same at every evaluation."""
        if self._radii is None or not torch.equal(self._radii[0], features):
            self._radii = features, ball_radii(features, self.options.neighbours)
        return self._radii[1]

    def _about(self, extractor: Extractor) -> dict[str, Any]:
        return {
            "extractor": extractor.name,
            "weights_sha256": extractor.checksum,
            "dimensions": extractor.dimensions,
            "resize": extractor.resize,
            "quantisation": QUANTISATION,
        }

    def _choices(self, metric: SetMetric, real: int, generated: int) -> dict[str, Any]:
        options = self.options
        if metric == "fid":
            return {"real": real, "generated": generated}
        limit = options.kid_samples if metric == "kid" else options.manifold_samples
        used = {"real": min(real, limit), "generated": min(generated, limit)}
        if metric != "kid":
            return used | {"neighbours": options.neighbours}
        if max(used.values()) <= options.kid_subset_size:
            return used | {"subsets": 1, "subset_size": "all"}
        size = min(options.kid_subset_size, *used.values())
        return used | {"subsets": options.kid_subsets, "subset_size": size}


def _extractor(name: str, weights: str, download: bool) -> Extractor:
    if weights == RANDOM:
        return random_extractor()
    if name == "inception":
        return inception(weights, download, "sets.inception_weights")
    return vgg16(weights, download, "sets.vgg_weights")


def _deviation(values: Tensor) -> float | None:
    return values.std().item() if len(values) > 1 else None


def _sides(statistics: SetStatistics) -> str:
    assert statistics.size is not None
    return "{} x {}".format(*statistics.size)
