"""Texturing heads: from the colouring network's raw output to RGBA per layer, back to front (paper section 3.3).

RSBg  mixes the reference view, the side view on the layer and a predicted background image.
RBg   mixes the reference view and the background.
RAW   predicts colours; trained with an adversarial loss.
"""

from typing import Literal

import torch
from torch import Tensor

Texturing = Literal["RSBg", "RBg", "RAW"]

AlphaScheme = Literal["sigmoid", "softmax"]
"""sigmoid: every layer's alpha by itself. softmax (official code, "reverse compose-over"): a softmax over the layers
says how much of each pixel is seen of each layer, and alphas follow from that: impact_l / sum of impacts up to l from
the back. The farthest layer is then opaque, and every layer can be seen from the first step on."""


def raw_channels(scheme: Texturing, layers: int) -> int:
    """Number of channels that the colouring network must put out."""
    return {"RSBg": 4 * layers + 3, "RBg": 2 * layers + 3, "RAW": 4 * layers}[scheme]


def texture_layers(
    raw: Tensor,
    scheme: Texturing,
    reference: Tensor,
    side_on_layers: Tensor,
    alpha_scheme: AlphaScheme = "sigmoid",
) -> Tensor:
    """Turn raw outputs into textures.

    Args:
        raw: [B, `raw_channels(...)`, H, W]; for RSBg and RBg the background comes first (official code).
        scheme: the parametrisation.
        reference: [B, 3, H, W] in [-1, 1].
        side_on_layers: [B, L, 3, H, W] in [-1, 1], the side view sampled on the layers.
        alpha_scheme: see `AlphaScheme`.

    Returns:
        [B, L, 4, H, W] float32: RGB in [-1, 1] and alpha in [0, 1].
    """
    raw = raw.float()
    layers = side_on_layers.shape[1]
    if scheme == "RAW":
        colours, alpha = raw.unflatten(1, (layers, 4)).split((3, 1), dim=2)
        return torch.cat((colours.tanh(), _alphas(alpha, alpha_scheme)), dim=2)
    background = raw[:, None, :3].tanh()
    outputs = raw[:, 3:].unflatten(1, (layers, -1))
    if scheme == "RBg":
        weight = outputs[:, :, :1].sigmoid()
        colours = weight * reference[:, None] + (1 - weight) * background
        return torch.cat((colours, _alphas(outputs[:, :, 1:], alpha_scheme)), dim=2)
    of_reference, of_background, of_side = outputs[:, :, :3].softmax(dim=2).split(1, dim=2)
    colours = of_reference * reference[:, None] + of_background * background + of_side * side_on_layers
    return torch.cat((colours, _alphas(outputs[:, :, 3:], alpha_scheme)), dim=2)


def _alphas(logits: Tensor, scheme: AlphaScheme) -> Tensor:
    """Alphas of logits [B, L, 1, H, W], back to front."""
    if scheme == "sigmoid":
        return logits.sigmoid()
    # softmax_l / cumulative sum of softmax = exp(x_l - log of the cumulative sum of exp(x)), which cannot be 0 / 0.
    return (logits - logits.logcumsumexp(dim=1)).exp()
