"""Texturing heads: from the network's raw output to RGBA per plane, back to front.

RBg   mixes the reference view and a predicted background image (StereoMag).
RSBg  mixes the reference view, the side view on the plane and the background, as StereoLayers does on its layers.
"""

from typing import Literal

import torch
from torch import Tensor

Texturing = Literal["RBg", "RSBg"]


def raw_channels(scheme: Texturing, planes: int) -> int:
    """Number of channels that the network must put out."""
    return {"RBg": 2 * planes + 3, "RSBg": 4 * planes + 3}[scheme]


def texture_planes(raw: Tensor, scheme: Texturing, reference: Tensor, sweep: Tensor) -> Tensor:
    """Turn raw outputs into the textures of planes.

    Args:
        raw: [B, `raw_channels(...)`, H, W]. RBg: P weights of the reference, P alphas, the background (official
            code). RSBg: the background, then for each plane the logits of reference, background, side and alpha
            (StereoLayers' order).
        scheme: the parametrisation.
        reference: [B, 3, H, W] in [-1, 1].
        sweep: [B, P, 3, H, W] in [-1, 1], the side view on every plane.

    Returns:
        [B, P, 4, H, W] float32: RGB in [-1, 1] and alpha in [0, 1].
    """
    raw, planes = raw.float(), sweep.shape[1]
    if scheme == "RBg":
        weight, alpha, background = raw.tanh().split((planes, planes, 3), dim=1)
        weight, alpha = (weight[:, :, None] + 1) / 2, (alpha[:, :, None] + 1) / 2
        colours = weight * reference[:, None] + (1 - weight) * background[:, None]
        return torch.cat((colours, alpha), dim=2)
    background, mixing = raw[:, None, :3].tanh(), raw[:, 3:].unflatten(1, (planes, 4))
    of_reference, of_background, of_side = mixing[:, :, :3].softmax(dim=2).split(1, dim=2)
    colours = of_reference * reference[:, None] + of_background * background + of_side * sweep
    return torch.cat((colours, mixing[:, :, 3:].sigmoid()), dim=2)
