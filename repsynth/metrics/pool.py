"""A bounded choice of samples whose features are kept, the same whatever order, batch or rank they come in."""

import hashlib
import heapq
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor


class Pool:
    """The features of at most `limit` samples: those whose ids have the smallest digests.

    The choice is random with regard to the samples and depends on nothing but the set of ids, so that pools of parts
    of a set merge to the pool of the set, and the first n of a pool are the pool of limit n.

    Args:
        limit: Samples to keep.
        dimensions: D, of the features.
        salt: Word that gives another choice from the same ids.
    """

    def __init__(self, limit: int, dimensions: int, salt: str) -> None:
        self.limit = limit
        self.salt = salt
        # Memory is taken when it is written to.
        self._features = torch.empty(limit, dimensions)
        self._heap: list[tuple[int, int]] = []
        """(minus the digest, row), the largest digest first."""

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, ids: Sequence[str], features: Tensor) -> None:
        """Offer features [N, D] of samples that were not offered before."""
        self._offer((_digest(self.salt, name) for name in ids), features.cpu())

    def add_all(self, digests: np.ndarray, features: Tensor) -> None:
        """Offer what another pool has kept, as `kept` gives it."""
        self._offer(map(int, digests), features)

    def kept(self) -> tuple[np.ndarray, Tensor]:
        """Digests [K] uint64 in rising order, and the features [K, D] float32 of their samples."""
        rows = sorted((-negative, row) for negative, row in self._heap)
        digests = np.array([digest for digest, _ in rows], np.uint64)
        return digests, self._features[[row for _, row in rows]]

    def _offer(self, digests: Iterable[int], features: Tensor) -> None:
        for digest, feature in zip(digests, features, strict=True):
            if len(self._heap) < self.limit:
                row = len(self._heap)
                heapq.heappush(self._heap, (-digest, row))
            elif self._heap and digest < -self._heap[0][0]:
                _, row = self._heap[0]
                heapq.heapreplace(self._heap, (-digest, row))
            else:
                continue
            self._features[row] = feature


def _digest(salt: str, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{salt} {name}".encode(), digest_size=8).digest())
