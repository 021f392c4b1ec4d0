"""Colours of the classes of segmentation maps, for a network that gives maps in colours."""

import torch
from torch import Tensor

COLOURS = (
    (0.35, 0.65, 1.00),
    (0.30, 0.75, 0.20),
    (0.60, 0.45, 0.25),
    (0.55, 0.50, 0.60),
    (0.00, 0.25, 0.75),
    (0.90, 0.15, 0.15),
    (0.00, 0.40, 0.10),
    (0.25, 0.25, 0.25),
    (1.00, 0.85, 0.10),
)
"""RGB in [0, 1] of sky, grass, ground, mountains, water, buildings, trees, roads, humans: the paper's classes; which
colours the released model was trained with is not known."""


def painted(maps: Tensor) -> Tensor:
    """Return maps of classes in colours, [B, 3, H, W] in [-1, 1]; black where the class is none of `COLOURS`.

    Args:
        maps: [B, H, W] integer classes.
    """
    palette = torch.tensor([*COLOURS, (0.0, 0.0, 0.0)], device=maps.device) * 2 - 1
    known = (maps >= 0) & (maps < len(COLOURS))
    return palette[torch.where(known, maps.long(), len(COLOURS))].movedim(-1, 1)
