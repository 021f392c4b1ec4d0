"""Folded layers applied to points.

Activations of B images at N points are [B, C, N]: the points of an image are its pixels row by row, so images need no
transposition. A layer is one product with the matrices of the images. Layers with leaky ReLU go through `fused.py`; the
plain operators here do all others, all under `torch.compile`, which fuses by itself, and test it.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from repsynth.modules.cips.equalised import GAIN, SLOPE
from repsynth.modules.cips.fused import StyledInputs, StyledProduct, before_product, phases, with_colours

Activation = Literal["leaky_relu", "sin", "sinrelu"]
"""leaky_relu: of slope 0.2, times sqrt(2); all released models. sin: the sine. sinrelu: leaky ReLU of the even and sine
of the odd channels, the even ones first, times sqrt(2)."""


class Folded(NamedTuple):
    """A layer made ready for B images."""

    weight: Tensor
    """[B, O, I], in the type that products are computed in."""
    bias: Tensor | None = None
    """[O]; of a skip None."""
    strength: Tensor | None = None
    """[1], what the noise is multiplied by; of a styled layer."""


class Inputs(NamedTuple):
    """What goes into the first layer at N points, for B images or for all of them alike."""

    fourier_weight: Tensor
    """[h, K]."""
    fourier_bias: Tensor
    """[h]."""
    points: Tensor
    """[1 or B, K, N]."""
    embedding: Tensor
    """[1 or B, h, N]."""


def tensors_of(layers: Sequence[Folded]) -> list[Tensor]:
    """Return all tensors of folded layers, in order."""
    return [tensor for layer in layers for tensor in layer if tensor is not None]


def refilled(layers: Sequence[Folded], tensors: Sequence[Tensor]) -> list[Folded]:
    """Return the same layers with other tensors, in the order of `tensors_of`."""
    rest = iter(tensors)
    return [
        Folded(next(rest), *(None if old is None else next(rest) for old in (layer.bias, layer.strength)))
        for layer in layers
    ]


def styled_inputs(layer: Folded, inputs: Inputs, noise: Tensor | None, activation: Activation) -> Tensor:
    """Apply the first layer: to the channels of Fourier features and embedding, which are never joined.

    Inputs that all images share take one product for all images.

    Args:
        layer: [B, O, 2 h].
        inputs: see `Inputs`.
        noise: [B, N], or None.
        activation: see `Activation`.

    Returns:
        [B, O, N].
    """
    weight, bias, strength = _styled_parts(layer)
    if _fused(activation):
        first: Tensor = StyledInputs.apply(*inputs, weight, bias, strength, noise)
        return first
    y = before_product(weight, bias, strength, noise, inputs.points.shape[-1])
    features = phases(inputs.fourier_weight, inputs.fourier_bias, inputs.points).sin()
    left, right = weight.split(features.shape[1], dim=2)
    for half, part in ((left, features), (right, inputs.embedding)):
        y = y + torch.matmul(half, part.to(weight.dtype))
    return activated(y, activation)


def styled(layer: Folded, x: Tensor, noise: Tensor | None, activation: Activation) -> Tensor:
    """Apply a styled layer to x [B, I, N], which becomes [B, O, N]; noise is [B, N], or None."""
    weight, bias, strength = _styled_parts(layer)
    if _fused(activation):
        fused: Tensor = StyledProduct.apply(x, weight, bias, strength, noise, None, None, None)[0]
        return fused
    y = before_product(weight, bias, strength, noise, x.shape[-1])
    return activated(torch.baddbmm(y, weight, x), activation)


def styled_with_colours(
    layer: Folded,
    to_rgb: Folded,
    x: Tensor,
    noise: Tensor | None,
    rgb: Tensor | None,
    activation: Activation,
) -> tuple[Tensor, Tensor]:
    """Apply a styled layer and add the colours of its output to rgb [B, 3, N], where there is one already."""
    if not _fused(activation):
        x = styled(layer, x, noise, activation)
        return x, colours(to_rgb, x, rgb)
    weight, bias, strength = _styled_parts(layer)
    fused: tuple[Tensor, Tensor] = StyledProduct.apply(
        x, weight, bias, strength, noise, rgb, to_rgb.weight, to_rgb.bias
    )
    return fused


def residual(
    layers: Iterator[Folded], narrows: bool, x: Tensor, noise: Sequence[Tensor | None], activation: Activation
) -> Tensor:
    """Apply a residual block to x [B, I, N]; `narrows` tells whether its skip is a layer of its own."""
    y = styled(next(layers), x, noise[0], activation)
    y = styled(next(layers), y, noise[1], activation)
    if narrows:
        return torch.baddbmm(y, next(layers).weight, x).mul_(0.5**0.5)
    return torch.add(0.5**0.5 * x, y, alpha=0.5**0.5)  # x and y must not share the gradient, see `fused.py`


def colours(layer: Folded, x: Tensor, rgb: Tensor | None) -> Tensor:
    """Return what a `ToRGB` makes of x [B, I, N], plus rgb [B, 3, N] where there is one; at least float32."""
    assert layer.bias is not None
    return with_colours(rgb, layer.weight, layer.bias, x)


def activated(x: Tensor, activation: Activation) -> Tensor:
    """Apply an activation to x [B, C, N]; a leaky ReLU's gain is in x already."""
    if activation == "leaky_relu":
        return F.leaky_relu(x, SLOPE)
    if activation == "sin":
        return x.sin()
    even, odd = x[:, 0::2], x[:, 1::2]
    return torch.cat((F.leaky_relu(even, SLOPE), odd.sin()), dim=1).mul_(GAIN)


def _fused(activation: Activation) -> bool:
    return activation == "leaky_relu" and not torch.compiler.is_compiling()


def _styled_parts(layer: Folded) -> tuple[Tensor, Tensor, Tensor]:
    weight, bias, strength = layer
    assert bias is not None and strength is not None
    return weight, bias, strength
