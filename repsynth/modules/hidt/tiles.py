"""Work on an image in overlapping parts, so that its memory does not grow with the image."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

Span = tuple[int, int]
Watch = Callable[[Sequence[tuple[Span, Span]]], Iterable[tuple[Span, Span]]]
"""Hands out tiles (rows, columns) one after the other, and may show how far the work is."""


def in_tiles(
    work: Callable[[Tensor], Tensor],
    image: Tensor,
    tile: int,
    halo: int,
    multiple: int = 1,
    scale: int = 1,
    watch: Watch = iter,
) -> Tensor:
    """Return `work(image)`, computed for tiles with what is around them; without gradients.

    It is the same where a result depends on nothing farther than the halo, and tiles at the border of the image see
    that border.

    Args:
        work: from an image [..., h, w] to one [..., h scale, w scale].
        image: [..., H, W], on any device; the result is there too.
        tile: largest side of a tile, rounded up to the multiple.
        halo: pixels around a tile that work sees, rounded up to the multiple.
        multiple: what starts and sides of the parts are multiples of; the image's sides must be too.
        scale: see above.
        watch: see `Watch`.
    """
    halo = _rounded_up(halo, multiple)
    height, width = image.shape[-2:]
    result: Tensor | None = None
    tiles = list(product(spans(height, tile, multiple), spans(width, tile, multiple)))
    for (top, bottom), (left, right) in watch(tiles):
        up, before = max(top - halo, 0), max(left - halo, 0)
        with torch.no_grad():
            found = work(image[..., up : min(bottom + halo, height), before : min(right + halo, width)])
        inner = found[
            ...,
            (top - up) * scale : (bottom - up) * scale,
            (left - before) * scale : (right - before) * scale,
        ]
        if result is None:
            shape = (*inner.shape[:-2], height * scale, width * scale)
            result = torch.empty(shape, dtype=inner.dtype, device=image.device)
        result[..., top * scale : bottom * scale, left * scale : right * scale] = inner
    assert result is not None
    return result


def spans(length: int, largest: int, multiple: int = 1) -> Iterator[Span]:
    """Yield (start, end) of parts of about equal length, at most `largest`, which is rounded up to the multiple."""
    parts = -(-length // _rounded_up(largest, multiple))
    step = _rounded_up(-(-length // parts), multiple)
    return ((start, min(start + step, length)) for start in range(0, length, step))


def _rounded_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
