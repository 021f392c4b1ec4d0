"""Depth heads: from the geometry network's logits to layered depth [B, L, H, W], back to front (paper section 3.2).

BI          one bounded depth per layer, linear in depth.
BI-inverse  the same linear in inverse depth, as the planes are: a small change of a logit moves far layers no farther
            in the picture than near ones. Not in the paper.
SA          soft-argmax: one distribution over the planes per layer.
GC          group composition: the planes are split into L groups, each composed over into one layer.
"""

from typing import Literal

import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.geometry.composition import compose_over

DepthScheme = Literal["BI", "BI-inverse", "SA", "GC"]


def logit_channels(scheme: DepthScheme, layers: int, planes: int) -> int:
    """Number of channels that the geometry network must put out.

    Raises:
        UserError: GC cannot split `planes` into `layers` groups of equal size.
    """
    if scheme == "GC" and planes % layers:
        raise UserError(
            f"GC depth splits the planes into equal groups, but model.planes={planes} is not a multiple of "
            f"model.layers={layers}."
        )
    return {"BI": layers, "BI-inverse": layers, "SA": layers * planes, "GC": planes}[scheme]


def layered_depth(
    logits: Tensor, scheme: DepthScheme, layers: int, plane_depths: Tensor, *, sort: bool = True
) -> Tensor:
    """Turn logits into layered depth.

    Args:
        logits: [B, `logit_channels(...)`, H, W].
        scheme: the parametrisation.
        layers: L.
        plane_depths: [P] scene units, farthest first; for BI and BI-inverse only its ends count.
        sort: order layers back to front by their mean depth, per item. GC is ordered by construction.

    Returns:
        [B, L, H, W] float32, scene units, within the range of the planes.
    """
    logits = logits.float()
    if scheme == "GC":
        return _group_composition(logits, layers, plane_depths)
    if scheme == "SA":
        depth = _soft_argmax(logits, layers, plane_depths)
    else:
        depth = _bounded(logits, plane_depths, inverse=scheme == "BI-inverse")
    return sort_layers(depth) if sort else depth


def bounded_logits(depth: Tensor, scheme: DepthScheme, plane_depths: Tensor) -> Tensor:
    """Return the logits whose BI or BI-inverse depth, strictly between the outermost planes, is `depth` (any shape)."""
    far, near = plane_depths[0], plane_depths[-1]
    if scheme == "BI-inverse":
        return torch.logit((1 / near - 1 / depth) / (1 / near - 1 / far))
    return torch.logit((depth - near) / (far - near))


def sort_layers(depth: Tensor) -> Tensor:
    """Order layers [B, L, H, W] by descending mean depth."""
    order = depth.mean(dim=(2, 3)).argsort(dim=1, descending=True, stable=True)
    return depth.gather(1, order[..., None, None].expand_as(depth))


def _bounded(logits: Tensor, plane_depths: Tensor, inverse: bool) -> Tensor:
    far, near = plane_depths[0], plane_depths[-1]
    if inverse:
        return 1 / (1 / near + (1 / far - 1 / near) * logits.sigmoid())
    return near + (far - near) * logits.sigmoid()


def _soft_argmax(logits: Tensor, layers: int, plane_depths: Tensor) -> Tensor:
    weights = logits.unflatten(1, (layers, len(plane_depths))).softmax(dim=2)
    return torch.einsum("blphw,p->blhw", weights, plane_depths)


def _group_composition(logits: Tensor, layers: int, plane_depths: Tensor) -> Tensor:
    alphas = logits.sigmoid().unflatten(1, (layers, -1))  # [B, L, P / L, H, W], back to front
    # The official code leaves a group whose opacities sum to less than 1e-6 open, so at depth 0; here none is.
    alphas = torch.cat((torch.ones_like(alphas[:, :, :1]), alphas[:, :, 1:]), dim=2).flip(2)  # front to back
    depths = plane_depths.view(layers, -1).flip(1)[..., None, None]
    return compose_over(depths, alphas, dim=2).values
