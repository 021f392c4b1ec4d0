"""Which faces cover which pixel centres, with work proportional to the pixels of the faces' boxes."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

FACES_AT_ONCE = 1 << 18
CANDIDATES_AT_ONCE = 1 << 20
"""Bounds of the temporary memory: faces, and pixels of their boxes, that are looked at together."""

STEPS_ACROSS = 1 << 20
"""Coverage resolves about this part of an image's side; projection in float32 is off by a quarter of it."""


class Hits(NamedTuple):
    """N pairs of a pixel and a face that covers its centre, in the order of images and faces."""

    pixel: Tensor
    """[N] int64: (image * H + row) * W + column."""
    face: Tensor
    """[N] int64."""
    depth: Tensor
    """[N] interpolated depth."""
    on_edge: Tensor
    """[N] bool: the centre lies exactly on an edge, so that a neighbour may cover it too."""


class Boxes(NamedTuple):
    """N faces, and the first pixel, the number of columns and of pixels of the box around each in the
    image."""

    face: Tensor
    left: Tensor
    top: Tensor
    columns: Tensor
    pixels: Tensor
    corners: Tensor
    """[3 (x, y, depth), 3 corners, N], x and y in pixels."""

    def between(self, start: int, stop: int) -> "Boxes":
        """Return the faces from `start` to `stop`."""
        return Boxes(*(values[..., start:stop] for values in self))


def edge_functions(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return twice the signed areas between the origin and the edge opposite to each corner of triangles.

    With the pixel's centre as the origin the value of an edge is exactly opposite for the two faces that
    share it, so that no pixel falls between them.

    Args:
        x: [3 corners, ...].
        y: [3 corners, ...].
    """
    return x[1] * y[2] - y[1] * x[2], x[2] * y[0] - y[2] * x[0], x[0] * y[1] - y[0] * x[1]


def snapped(positions: Tensor, size: tuple[int, int]) -> Tensor:
    """Round x and y of positions [B, V, 3] to a power of two of steps per pixel, too small to be seen.

    A vertex that was lifted from the centre of a pixel and projected there again misses it by a rounding
    error; at the border of a mesh that would leave the pixel empty.
    """
    steps = STEPS_ACROSS >> max(size).bit_length()
    places = (positions[..., :2] * steps).round() / steps
    return torch.cat([places, positions[..., 2:]], dim=-1)


def find_hits(
    vertices: Tensor,
    faces: Tensor,
    size: tuple[int, int],
    perspective: bool,
    drawn: Tensor | None,
    far: float | None,
) -> Hits:
    """Find all pairs of pixel centres and faces.

    Args:
        vertices: [B, V, 3] in pixels, (0, 0) the outer corner of the image, and depth.
        faces: [F, 3].
        size: height and width.
        perspective: interpolate the inverse of the depth rather than the depth.
        drawn: [B, F] bool or None.
        far: largest depth or None.
    """
    found = []
    for image, table in enumerate(snapped(vertices, size).mT.contiguous()):
        chosen = None if drawn is None else drawn[image]
        for boxes in _boxes(table, faces, size, chosen):
            hits = _inside(boxes, image * size[0] * size[1], size[1], perspective)
            found.append(hits if far is None else _nearer_than(far, hits))
    return Hits(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _boxes(table: Tensor, faces: Tensor, size: tuple[int, int], drawn: Tensor | None) -> Iterator[Boxes]:
    """Yield the faces whose box holds a pixel centre, at most `CANDIDATES_AT_ONCE` pixels at a time."""
    for start in range(0, max(faces.shape[0], 1), FACES_AT_ONCE):
        part = faces[start : start + FACES_AT_ONCE]
        corners = table.index_select(1, part.T.flatten()).unflatten(1, (3, -1))
        low = [(corners[axis].amin(0) - 0.5).ceil().clamp(0, size[1 - axis]).long() for axis in (0, 1)]
        high = [(corners[axis].amax(0) - 0.5).floor().clamp(-1, size[1 - axis] - 1).long() for axis in (0, 1)]
        columns, rows = ((b - a + 1).clamp(min=0) for a, b in zip(low, high, strict=True))
        count = columns * rows * total(total(corners)).isfinite()
        if drawn is not None:
            count = count * drawn[start : start + FACES_AT_ONCE]
        some = count.nonzero()[:, 0]
        found = (value.index_select(-1, some) for value in (low[0], low[1], columns, count, corners))
        yield from _bounded(Boxes(some + start, *found))


def _bounded(boxes: Boxes) -> Iterator[Boxes]:
    """Split boxes so that none holds more than `CANDIDATES_AT_ONCE` pixels, if it has more than one face."""
    end = boxes.pixels.cumsum(0)
    total = int(end[-1]) if end.numel() else 0
    limits = end.new_tensor(range(CANDIDATES_AT_ONCE, total, CANDIDATES_AT_ONCE))
    cuts = sorted({0, *torch.searchsorted(end, limits).tolist(), end.numel()})
    for start, stop in zip(cuts, cuts[1:] or [0], strict=False):
        yield boxes.between(start, stop)


def _inside(boxes: Boxes, first_pixel: int, width: int, perspective: bool) -> Hits:
    """Look at all pixels of the boxes and keep those whose centre the face covers."""
    count = boxes.pixels
    index = torch.repeat_interleave(count)
    within = torch.arange(index.numel(), device=index.device) - (count.cumsum(0) - count).index_select(
        0, index
    )
    columns = boxes.columns.index_select(0, index)
    row = within // columns
    column = boxes.left.index_select(0, index) + within - row * columns
    row = row + boxes.top.index_select(0, index)
    edges = edge_functions(
        boxes.corners[0].index_select(1, index) - (column + 0.5).to(boxes.corners.dtype),
        boxes.corners[1].index_select(1, index) - (row + 0.5).to(boxes.corners.dtype),
    )
    low = torch.minimum(torch.minimum(edges[0], edges[1]), edges[2])
    high = torch.maximum(torch.maximum(edges[0], edges[1]), edges[2])
    hit = (((low >= 0) & (high > 0)) | ((high <= 0) & (low < 0))).nonzero()[:, 0]
    face = index.index_select(0, hit)
    weights = torch.stack([edge.index_select(0, hit) for edge in edges])
    depths = boxes.corners[2].index_select(1, face)
    depth = interpolated_depth(weights / total(weights), depths, perspective)
    pixel = first_pixel + row[hit] * width + column[hit]
    return Hits(pixel, boxes.face[face], depth, (low[hit] == 0) | (high[hit] == 0))


def total(corners: Tensor) -> Tensor:
    """Return the sum over the first dimension, which is 3 (much faster than `sum` for so few)."""
    return corners[0] + corners[1] + corners[2]


def interpolated_depth(affine: Tensor, depths: Tensor, perspective: bool) -> Tensor:
    """Return the depth [...] at affine barycentrics [3, ...] of corners at depths [3, ...]."""
    return 1 / total(affine / depths) if perspective else total(affine * depths)


def _nearer_than(far: float, hits: Hits) -> Hits:
    near = (hits.depth <= far).nonzero()[:, 0]
    return Hits(*(values[near] for values in hits))
