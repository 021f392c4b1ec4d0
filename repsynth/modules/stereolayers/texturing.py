"""Texturing heads: from the colouring network's raw output to RGBA per layer, back to front (paper section 3.3).

RSBg  mixes the reference view, the side view on the layer and a predicted background image.
RBg   mixes the reference view and the background.
RAW   predicts colours; trained with an adversarial loss.
"""

from typing import Literal

import torch
from torch import Tensor

Texturing = Literal["RSBg", "RBg", "RAW"]


def raw_channels(scheme: Texturing, layers: int) -> int:
    """Number of channels that the colouring network must put out."""
    return {"RSBg": 4 * layers + 3, "RBg": 2 * layers + 3, "RAW": 4 * layers}[scheme]


def texture_layers(raw: Tensor, scheme: Texturing, reference: Tensor, side_on_layers: Tensor) -> Tensor:
    """Turn raw outputs into textures.

    Args:
        raw: [B, `raw_channels(...)`, H, W]; for RSBg and RBg the background comes first (official code).
        scheme: the parametrisation.
        reference: [B, 3, H, W] in [-1, 1].
        side_on_layers: [B, L, 3, H, W] in [-1, 1], the side view sampled at the layers' vertices.

    Returns:
        [B, L, 4, H, W] float32: RGB in [-1, 1] and alpha in [0, 1].
    """
    raw = raw.float()
    layers = side_on_layers.shape[1]
    if scheme == "RAW":
        colours, alpha = raw.unflatten(1, (layers, 4)).split((3, 1), dim=2)
        return torch.cat((colours.tanh(), alpha.sigmoid()), dim=2)
    background = raw[:, None, :3].tanh()
    outputs = raw[:, 3:].unflatten(1, (layers, -1))
    if scheme == "RBg":
        weight, alpha = outputs.sigmoid().split(1, dim=2)
        colours = weight * reference[:, None] + (1 - weight) * background
        return torch.cat((colours, alpha), dim=2)
    of_reference, of_background, of_side = outputs[:, :, :3].softmax(dim=2).split(1, dim=2)
    colours = of_reference * reference[:, None] + of_background * background + of_side * side_on_layers
    return torch.cat((colours, outputs[:, :, 3:].sigmoid()), dim=2)
