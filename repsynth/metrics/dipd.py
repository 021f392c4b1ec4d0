"""DIPD, the domain-invariant perceptual distance (Huang et al., ECCV 2018): how far a translation left its photograph.

Deep features are normalised per image and channel, which takes light and manner out, so that what is left is content.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsynth import weights as weight_files
from repsynth.errors import UserError
from repsynth.metrics.features import exact_float32
from repsynth.metrics.vgg16 import normalised

SMALLEST = 32
"""Pixels of a side: below it the features have one place, of which normalisation leaves nothing."""
_LAYERS = 30
"""Of torchvision's features, up to relu5_3."""
_OPTION = "translations.vgg_weights"


class DIPD(nn.Module):
    """Mean squared difference of relu5_3 features of VGG-16 after instance normalisation: 0 equal, larger is worse.

    Images are taken at their own size. Frozen and always in evaluation mode.

    Attributes:
        name: "dipd", or "dipd_random" for the stand-in: what to call the figure.

    Raises:
        UserError: When the weights are nowhere, or do not fit.
    """

    def __init__(
        self,
        weights: str = weight_files.AUTO,  # "auto", "random" (stand-in) or a path
        download: bool = True,
    ) -> None:
        super().__init__()
        # Seconds that only this metric should cost.
        from torchvision.models import vgg16

        self.name = "dipd_random" if weights == weight_files.RANDOM else "dipd"
        with torch.device("meta"):
            features = vgg16(init_weights=False).features[:_LAYERS]
        self.features = features.to_empty(device="cpu")
        if weights == weight_files.RANDOM:
            weight_files.fill_randomly(self.features)
        else:
            path = weight_files.resolve(weight_files.FILES["vgg16"], _OPTION, weights, download)
            state = weight_files.load(path, _OPTION)
            weight_files.fill(nn.ModuleDict({"features": self.features}), state, path, _OPTION)
        self.requires_grad_(False).train(False)

    def train(self, mode: bool = True) -> "DIPD":
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, photographs: Tensor, translations: Tensor) -> Tensor:
        """Return the distance of each pair, [N] float32, computed without autocast and TF32.

        Args:
            photographs: [N, 3, H, W] in [0, 1].
            translations: [N, 3, H, W] in [0, 1].

        Raises:
            UserError: When a side is too small.
        """
        if min(photographs.shape[-2:]) < SMALLEST:
            raise UserError(
                f"dipd needs sides of at least {SMALLEST} pixels, but gets {list(photographs.shape)}: evaluate larger "
                "images or leave dipd out of metrics"
            )
        with exact_float32(photographs.device):
            first, second = (self._contents(images.float()) for images in (photographs, translations))
        return (first - second).square().mean((1, 2, 3))

    def _contents(self, images: Tensor) -> Tensor:
        return F.instance_norm(self.features(normalised(images)))
