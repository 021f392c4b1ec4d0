"""Sort the faces that cover each pixel by depth: the nearest, then the nearest of the rest, and so on."""

import torch
from torch import Tensor

from repsynth.geometry.rasterizers.coverage import Hits

EMPTY = torch.iinfo(torch.int64).max
INDEX_BITS = (1 << 32) - 1
SAME_DEPTH = 1e-5
"""Relative difference of depth below which two fragments on a common edge are the same point of the
surface."""


def depth_keys(depth: Tensor) -> Tensor:
    """Return [N] int64 keys that sort like (depth in float32, index)."""
    bits = depth.float().view(torch.int32)
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    return (ordered << 32) | torch.arange(depth.numel(), device=depth.device)


def peel(hits: Hits, pixels: int, fragments: int) -> Tensor:
    """Return the hit that each of P pixels shows in each of K <= `fragments` slots, nearest first.

    Each round takes the nearest hit of every pixel by a scatter-min over (depth, index) keys and goes on with
    what is behind: cheaper than sorting, as there are few more rounds than layers. Hits of equal depth count
    once.

    Returns:
        [P, K] int64 index into the hits, -1 where there is none; K is at least 1.
    """
    pixel, key = hits.pixel, depth_keys(hits.depth)
    shared_edges = bool(hits.on_edge.any())
    slots: list[Tensor] = []
    while len(slots) < fragments and (key.numel() or not slots):
        best = key.new_full((pixels,), EMPTY).scatter_reduce_(0, pixel, key, "amin")
        slots.append(torch.where(best == EMPTY, -1, best & INDEX_BITS))
        if len(slots) == fragments:
            break
        shown = best.index_select(0, pixel)
        behind = (key >> 32) != (shown >> 32)
        if shared_edges:
            behind &= ~_same_point(hits, key & INDEX_BITS, shown & INDEX_BITS)
        left = behind.nonzero()[:, 0]
        pixel, key = pixel.index_select(0, left), key.index_select(0, left)
    return torch.stack(slots, dim=-1)


def _same_point(hits: Hits, one: Tensor, other: Tensor) -> Tensor:
    """Return where two hits [N] of a pixel lie on edges and at the same depth up to rounding."""
    near = (hits.depth[one] - hits.depth[other]).abs() <= SAME_DEPTH * hits.depth[other].abs()
    return near & hits.on_edge[one] & hits.on_edge[other]
