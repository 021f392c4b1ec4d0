"""Terms on the alphas of layers that the official code offers with weight 0.

Its sparsity of compositing weights by L1 is not among them: those weights sum to 1 where the farthest layer is opaque.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from repsynth.geometry.composition import EPSILON, compose_over


def opacity_excess(alphas: Tensor, allowed: float = 2.0) -> Tensor:
    """Return the mean over texels of `relu(sum over layers of alpha - allowed)`.

    Args:
        alphas: [B, L, H, W] in [0, 1].
        allowed: sum that costs nothing.
    """
    return F.relu(alphas.sum(1) - allowed).mean()


def weight_entropy(alphas: Tensor) -> Tensor:
    """Return the mean over texels of the entropy of their layers' compositing weights, in nats.

    The weights are those of the reference view, with the farthest layer opaque: `w_l = alpha_l * product of
    (1 - alpha) of the layers before it`. The entropy `-sum w log w` is 0 where one layer makes the whole pixel, and at
    most log L.

    Args:
        alphas: [B, L, H, W] in [0, 1], back to front.
    """
    alphas = torch.cat((torch.ones_like(alphas[:, :1]), alphas[:, 1:]), dim=1).flip(1)
    weights = compose_over(alphas, alphas, dim=1).weights.clamp(EPSILON, 1)  # the logarithm of 0
    return -(weights * weights.log()).sum(1).mean()
