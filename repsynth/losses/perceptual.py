"""Distance between deep features of two pictures (VGG19, StereoLayers and SIMPLI official code)."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from repsynth import weights as weight_files
from repsynth.errors import UserError
from repsynth.losses.reconstruction import l1

_WIDTHS = (64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4
TAPS = (4, 9, 18, 27, 36)
"""Lengths of the stack after which features are compared: relu1_2, relu2_2, relu3_4, relu4_4, relu5_4."""
TAP_WEIGHTS = (1.0, 1.0, 2.0, 3.0, 40.0)
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_OPTION = "model.perceptual"
"""What every method calls the option that names the weights, for messages."""


class PerceptualLoss(nn.Module):
    """Weighted sum of L1 distances between VGG19 features at five depths.

    The network is a frozen instrument, not a part of the model: it follows `.to()` but is in no
    `state_dict`, in no list of parameters, in no DDP bucket, and stays in evaluation mode.

    Example:
        >>> loss = PerceptualLoss(weights="random", levels=2)
        >>> loss.name, loss(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)).item()
        ('perceptual_random', 0.0)

    Attributes:
        name: "perceptual", or "perceptual_random" for the stand-in: what to call the term in logs.
    """

    def __init__(
        self,
        weights: str = weight_files.AUTO,  # "auto", "random" (stand-in) or a path
        levels: Literal[1, 2, 3, 4, 5] = 5,  # how many taps, the shallowest first
        download: bool = True,
    ) -> None:
        super().__init__()
        self.levels = levels
        self.name = "perceptual_random" if weights == weight_files.RANDOM else "perceptual"
        network = _features(levels)
        _fill(network, weights, download)
        # A tuple hides the network from nn.Module's bookkeeping; `_apply` below moves it.
        self._hidden = (network.eval().requires_grad_(False),)
        self._scale = (torch.tensor(_MEAN).view(3, 1, 1), torch.tensor(_DEVIATION).view(3, 1, 1))

    def forward(self, predicted: Tensor, expected: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the distance as a float32 scalar; gradients flow into `predicted` only.

        Args:
            predicted: [B, 3, H, W] in [0, 1].
            expected: [B, 3, H, W] in [0, 1].
            mask: [B, 1, H, W] in [0, 1], resized bilinearly to each map of features. None counts everything.

        Raises:
            UserError: When the pictures are too small for the deepest tap.
        """
        smallest = 2 ** (self.levels - 1)
        if min(predicted.shape[-2:]) < smallest:
            raise UserError(
                f"the perceptual loss with {self.levels} levels needs sides of at least {smallest} pixels, but "
                f"gets {list(predicted.shape)}: train on larger images or lower model.perceptual_levels"
            )
        with torch.no_grad():
            targets = list(self._maps(expected))
        terms = (
            weight * l1(found, target, mask)
            for weight, found, target in zip(TAP_WEIGHTS, self._maps(predicted), targets, strict=False)
        )
        return torch.stack(list(terms)).sum()

    def _maps(self, images: Tensor) -> Iterator[Tensor]:
        mean, deviation = self._scale
        features = (images - mean) / deviation
        for block in self._hidden[0]:
            features = block(features)
            yield features

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:  # noqa: ANN401
        self._hidden[0]._apply(fn, recurse)
        self._scale = (fn(self._scale[0]), fn(self._scale[1]))
        return super()._apply(fn, recurse)


def _features(levels: int) -> nn.Sequential:
    """Return VGG19's feature stack in one block per tap, layers named by their place in torchvision's."""
    stack: list[nn.Module] = []
    width = 3
    for widths in _WIDTHS[:levels]:
        # A tap ends before the pooling, so each later block starts with it. The original takes the maximum.
        stack += [nn.AvgPool2d(2)] if stack else []
        for wider in widths:
            stack += [nn.Conv2d(width, wider, 3, padding=1), nn.ReLU()]
            width = wider
    cuts = pairwise((0, *TAPS[:levels]))
    return nn.Sequential(
        *(nn.Sequential(OrderedDict((str(i), stack[i]) for i in range(start, stop))) for start, stop in cuts)
    )


def _fill(network: nn.Sequential, weights: str, download: bool) -> None:
    if weights == weight_files.RANDOM:
        weight_files.fill_randomly(network)
        return
    path = weight_files.resolve(weight_files.FILES["vgg19"], _OPTION, weights, download)
    published = weight_files.load(path, _OPTION)
    layers = OrderedDict(pair for block in network for pair in block.named_children())
    weight_files.fill(nn.ModuleDict({"features": nn.Sequential(layers)}), published, path, _OPTION)
