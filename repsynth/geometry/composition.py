"""Alpha composition of planes and of mesh fragments, with the constants of the released code.

With alphas a_k front to back: transmittance T_k = prod_{j<k} (1 - a_j + e), weight w_k = a_k T_k, value
sum_k w_k c_k, opacity 1 - prod_k (1 - a_k + e), e = 1e-6 (official code). As e is in every factor, an empty
ray of K slots has an opacity of about -K e: test opacity against a small positive number, not against zero.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from repsynth.geometry.precision import full_precision

EPSILON = 1e-6

Background = Literal["masked", "opaque", "black"]
"""What is behind the planes: the farthest one becomes opaque where anything is seen, everywhere, or
nowhere."""


class Composition(NamedTuple):
    """Composed values (not divided by the opacity), opacity, and the weight of each item."""

    values: Tensor
    opacity: Tensor
    weights: Tensor


@full_precision
def compose_over(values: Tensor, alphas: Tensor, dim: int) -> Composition:
    """Compose items that lie front to back along a dimension.

    Args:
        values: any shape with K items along `dim`.
        alphas: broadcastable to `values`, with K items along `dim`.
        dim: the dimension, which disappears from the composed values and the opacity.
    """
    passed = torch.cumprod(1 - alphas + EPSILON, dim=dim)
    first, rest = passed.narrow(dim, 0, 1), passed.narrow(dim, 0, passed.shape[dim] - 1)
    arriving = torch.cat([torch.ones_like(first), rest], dim=dim)
    weights = alphas * arriving
    return Composition((weights * values).sum(dim), 1 - passed.select(dim, -1), weights)


@full_precision
def compose_planes(planes: Tensor, background: Background = "masked") -> Composition:
    """Compose planes of features and alpha.

    Args:
        planes: [B, P, C + 1, H, W] back to front, alpha last; alphas are clamped to [0, 1].
        background: see `Background`; "masked" looks for a sum of alphas above 1e-6.

    Returns:
        Values [B, C, H, W], opacity [B, 1, H, W], weights [B, P, 1, H, W] back to front.
    """
    values, alphas = planes[:, :, :-1], planes[:, :, -1:].clamp(0, 1)
    if background != "black":
        behind = alphas[:, :1]
        seen = alphas.sum(dim=1, keepdim=True) > EPSILON
        behind = torch.where(seen | (background == "opaque"), torch.ones_like(behind), behind)
        alphas = torch.cat([behind, alphas[:, 1:]], dim=1)
    composed = compose_over(values.flip(1), alphas.flip(1), dim=1)
    return composed._replace(weights=composed.weights.flip(1))


@full_precision
def compose_fragments(
    values: Tensor, alphas: Tensor, exists: Tensor, farthest_opaque: bool = True
) -> Composition:
    """Compose the fragments of rays ("mesh shader").

    Args:
        values: [..., K, C] front to back; missing fragments hold finite numbers.
        alphas: [..., K].
        exists: [..., K] bool, False for a missing fragment, whose alpha counts as 0.
        farthest_opaque: the last fragment that exists gets alpha 1 (official code).

    Returns:
        Values [..., C], opacity [...], weights [..., K].
    """
    alphas = torch.where(exists, alphas, 0.0)
    if farthest_opaque:
        behind = exists.flip(-1).cumsum(-1).flip(-1)
        alphas = torch.where(exists & (behind == 1), 1.0, alphas)
    composed = compose_over(values, alphas[..., None], dim=-2)
    return Composition(composed.values, composed.opacity[..., 0], composed.weights[..., 0])
