"""LPIPS v0.1 (Zhang et al., CVPR 2018), one figure per image.

The network and the learned heads are those that ship inside torchmetrics; the backbone's weights are
resolved, checked and loaded by `repsynth.weights`, because torchmetrics can only download them.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from repsynth import weights as weight_files
from repsynth.errors import UserError

Backbone = Literal["alex", "vgg", "squeeze"]

_FILES = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet"}
_SMALLEST = {"alex": 31, "vgg": 16, "squeeze": 17}
_OPTION = "lpips_weights"


class LPIPS(nn.Module):
    """Distance between deep features, weighted by learned heads: 0 equal, larger is worse.

    Frozen and always in evaluation mode.

    Attributes:
        name: "lpips", or "lpips_random" for the stand-in: what to call the figure.
    """

    def __init__(
        self,
        backbone: Backbone = "alex",  # the papers' tables use AlexNet
        weights: str = weight_files.AUTO,  # "auto", "random" (stand-in) or a path
        download: bool = True,
    ) -> None:
        super().__init__()
        # torchmetrics imports torchvision here: seconds that only this metric should cost.
        from torchmetrics.functional.image.lpips import _LPIPS

        self.name = "lpips_random" if weights == weight_files.RANDOM else "lpips"
        self.backbone = backbone
        # No download: "pnet_rand" leaves the backbone to us, "pretrained" loads the heads that ship.
        with _Undefined():
            self.network = _LPIPS(pretrained=True, net=backbone, pnet_rand=True)
        _fill(self.network.net, backbone, weights, download)
        self.requires_grad_(False).train(False)

    def train(self, mode: bool = True) -> "LPIPS":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, predicted: Tensor, expected: Tensor) -> Tensor:
        """Return the distance of each pair, [N] float32, computed without autocast and TF32.

        Args:
            predicted: [N, 3, H, W] in [0, 1].
            expected: [N, 3, H, W] in [0, 1].

        Raises:
            UserError: When a side is too small for the backbone.
        """
        smallest = _SMALLEST[self.backbone]
        if min(predicted.shape[-2:]) < smallest:
            raise UserError(
                f"LPIPS with {self.backbone} needs sides of at least {smallest} pixels, but gets "
                f"{list(predicted.shape)} after the crop: evaluate larger images or leave lpips out of "
                f"metrics"
            )
        # cuDNN rounds the inputs of float32 convolutions to ten bits unless told not to.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.autocast(predicted.device.type, enabled=False), exact:
            distances: Tensor = self.network(predicted.float(), expected.float(), normalize=True)
        return distances.flatten()


class _Undefined(TorchFunctionMode):
    """Leaves new weights undefined: those that stay are filled afterwards, and most are of a classifier that goes."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        options = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return options["tensor"]
        return func(*args, **options)


def _fill(slices: nn.Module, backbone: Backbone, weights: str, download: bool) -> None:
    if weights == weight_files.RANDOM:
        with torch.no_grad():
            weight_files.fill_randomly(slices)
        return
    path = weight_files.resolve(weight_files.FILES[_FILES[backbone]], _OPTION, weights, download)
    features = nn.ModuleDict(dict(_layers(slices)))
    weight_files.fill(nn.ModuleDict({"features": features}), weight_files.load(path, _OPTION), path, _OPTION)


def _layers(slices: nn.Module) -> list[tuple[str, Any]]:
    """Return (place in torchvision's stack, layer) from slices, which keep the places as names."""
    parts = getattr(slices, "slices", None) or slices.children()
    return [pair for part in parts for pair in part.named_children()]
