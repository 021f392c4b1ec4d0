"""Regularisers of layered depth (StereoLayers, section 3.4 and official code)."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

_UNDER_ROOT = 1e-6
"""Keeps the root's gradient finite at constant depth (official code)."""


def layered_depth_variation(depth: Tensor, per_item: bool = False) -> Tensor:
    """Return the total variation of layered depth as a float32 scalar.

    `sqrt(sum of squared differences between neighbours + 1e-6) / number of depths`. The released code takes
    one root over the whole batch, so its value per scene falls with the batch size.

    Args:
        depth: [B, L, H, W] in scene units.
        per_item: Take one root per item and average the items: independent of the batch size, and equal to
            the released form for one item.
    """
    depth = depth.float()
    across = depth.diff(dim=-1).square().sum((1, 2, 3))
    down = depth.diff(dim=-2).square().sum((1, 2, 3))
    squares = across + down
    if per_item:
        return ((squares + _UNDER_ROOT).sqrt() / depth[0].numel()).mean()
    return (squares.sum() + _UNDER_ROOT).sqrt() / depth.numel()


def order_hinge(depth: Tensor, power: Literal[1, 2] = 2) -> Tensor:
    """Punish layers that lie behind the layer which should be farther; a float32 scalar.

    Args:
        depth: [B, L, H, W] in scene units, back to front: depth must fall along L.
        power: 2 is the released code, 1 the paper's formula (margin 0).

    Returns:
        `relu(depth[l + 1] - depth[l]) ** power`, the mean over pixels, the sum over the L - 1 pairs, the
        mean over the batch. Zero for a single layer.
    """
    excess = F.relu(depth.float().diff(dim=1))
    return excess.pow(power).mean((2, 3)).sum(1).mean()
