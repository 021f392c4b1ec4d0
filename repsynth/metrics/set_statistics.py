"""What is kept of a set of images: sums for FID, the features of a bounded choice of samples for the other figures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

import numpy as np
import torch
from torch import Tensor

from repsynth.cache import from_arrays
from repsynth.errors import UserError
from repsynth.metrics.frechet import Moments
from repsynth.metrics.pool import Pool
from repsynth.metrics.ranks import several_ranks, to_first
from repsynth.metrics.table import gather

Role = Literal["real", "generated"]


@dataclass
class FeatureStatistics:
    """Of one extractor's features.

    Attributes:
        moments: For FID; None where they are not asked for.
        pool: For figures of pairs; None where no feature is kept.
    """

    moments: Moments | None
    pool: Pool | None

    @classmethod
    def none(cls, dimensions: int, moments: bool, keep: int, role: Role, device: torch.device) -> Self:
        """Return the statistics of no image; float64 sums stay off devices that have no float64."""
        place = "cpu" if device.type == "mps" else device
        return cls(
            Moments.none(dimensions, place) if moments else None,
            Pool(keep, dimensions, role) if keep else None,
        )

    def add(self, ids: Sequence[str], features: Tensor) -> None:
        """Count features [N, D] of N images."""
        if self.moments is not None:
            self.moments.add(features)
        if self.pool is not None:
            self.pool.add(ids, features)

    def kept(self, limit: int, device: torch.device) -> Tensor:
        """Return the kept features of at most `limit` samples, [K, D] float32, where float64 can be computed."""
        assert self.pool is not None
        features = self.pool.kept()[1][:limit]
        return features.to(device) if device.type == "cuda" else features

    def pack(self) -> dict[str, Any]:
        """Return arrays that `unpack` understands, on the CPU."""
        packed: dict[str, Any] = {}
        if self.moments is not None:
            packed |= {
                "count": np.array(self.moments.count),
                "total": self.moments.total.cpu().numpy(),
                "products": self.moments.products.cpu().numpy(),
            }
        if self.pool is not None:
            digests, features = self.pool.kept()
            packed |= {
                "digests": digests,
                "features": features.numpy(),
                "limit": np.array(self.pool.limit),
                "salt": np.array(self.pool.salt),
            }
        return packed

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Self:
        """Return what `pack` was called on."""
        moments = pool = None
        if "total" in packed:
            sums = (torch.from_numpy(packed[name]) for name in ("total", "products"))
            moments = Moments(int(packed["count"]), *sums)
        if "digests" in packed:
            features = torch.from_numpy(packed["features"])
            pool = Pool(int(packed["limit"]), features.shape[1], str(packed["salt"]))
            pool.add_all(packed["digests"], features)
        return cls(moments, pool)

    def add_all(self, other: "FeatureStatistics") -> None:
        """Count what another object has counted."""
        if self.moments is not None and other.moments is not None:
            self.moments.add_all(other.moments)
        if self.pool is not None and other.pool is not None:
            self.pool.add_all(*other.pool.kept())


@dataclass
class SetStatistics:
    """Of a set of images.

    Attributes:
        features: By extractor.
        ids: Of the images counted on this rank.
        count: Images.
        size: Height and width of all of them; None before the first.
    """

    features: dict[str, FeatureStatistics]
    ids: list[str] = field(default_factory=list)
    count: int = 0
    size: tuple[int, int] | None = None

    def note(self, ids: Sequence[str], images: Tensor) -> None:
        """Count images [N, 3, H, W]; their features are counted apart.

        Raises:
            UserError: When they differ in size from those before them.
        """
        size = (images.shape[-2], images.shape[-1])
        _require_one_size([size, self.size or size])
        self.size = size
        self.ids += ids
        self.count += len(ids)

    def joined(self) -> Self | None:
        """Return the statistics over all ranks on rank zero, None on the others; every rank must call it.

        Parts are added in the order of the ranks.

        Raises:
            UserError: On every rank, when an id comes twice, images differ in size, or there is no image at all.
        """
        _require_one_size([size for _, size in gather([(name, self.size) for name in self.ids])])
        if not several_ranks():
            return self
        parts = to_first(self._pack())
        if parts is None:
            return None
        first, *others = (self._unpack(part) for part in parts)
        for other in others:
            first._add_all(other)
        return first

    def write(self, file: BinaryIO) -> None:
        """Write an archive of arrays, which carries checksums."""
        np.savez(file, **self._pack())

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return what `write` wrote, or None when the file is not there or damaged."""
        return from_arrays(path, lambda arrays: cls._unpack(dict(arrays)))

    def _pack(self) -> dict[str, Any]:
        arrays = {"count": np.array(self.count), "size": np.array(self.size or (0, 0))}
        for name, statistics in self.features.items():
            arrays |= {f"{name}/{key}": array for key, array in statistics.pack().items()}
        return arrays

    @classmethod
    def _unpack(cls, arrays: dict[str, Any]) -> Self:
        packed: dict[str, dict[str, Any]] = {}
        for key, array in arrays.items():
            name, _, part = key.rpartition("/")
            packed.setdefault(name, {})[part] = array
        own = packed.pop("")
        height, width = own["size"].tolist()
        features = {name: FeatureStatistics.unpack(arrays) for name, arrays in packed.items()}
        return cls(features, [], int(own["count"]), (height, width) if height else None)

    def _add_all(self, other: "SetStatistics") -> None:
        self.count += other.count
        self.size = self.size or other.size
        for name, statistics in self.features.items():
            statistics.add_all(other.features[name])


def _require_one_size(sizes: Sequence[tuple[int, int] | None]) -> None:
    different = sorted({size for size in sizes if size is not None})
    if len(different) > 1:
        shown = " and ".join(f"{height} x {width}" for height, width in different[:2])
        raise UserError(
            f"evaluation images have {shown} pixels (height x width): set figures take images of one size; give the "
            "data module an image_size"
        )
