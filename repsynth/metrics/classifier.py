"""Any classifier given by path, for inception scores: a TorchScript file, or weights of a network that timm knows."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsynth import weights as weight_files
from repsynth.errors import UserError
from repsynth.metrics.features import Extractor, checksum
from repsynth.metrics.random_features import SMALLEST, RandomFeatures
from repsynth.metrics.vgg16 import normalised

_OPTION = "translations.classifier"
_RANDOM_CLASSES = 4


def classifier(path: str, architecture: str | None, side: int) -> Extractor:
    """Build the extractor of logits [N, K].

    It sees images stretched to `side` x `side` by bilinear interpolation with antialiasing, normalised as torchvision's
    networks take them.

    Args:
        path: of a TorchScript file; of a state dict if there is an architecture; or "random" for the stand-in.
        architecture: name of a timm model, such as resnet18; the state dict tells its number of classes.
        side: pixels.

    Raises:
        UserError: When there is no such file or architecture, they do not fit, or the network gives no logits.
    """
    if path == weight_files.RANDOM:
        network, side = _stand_in(), max(SMALLEST, side)
    elif architecture is None:
        network = _scripted(_existing(path))
    else:
        network = _of_timm(architecture, _existing(path))

    def prepare(images: Tensor) -> Tensor:
        unit = images / 255
        return normalised(F.interpolate(unit, (side, side), mode="bilinear", antialias=True))

    name = weight_files.RANDOM if path == weight_files.RANDOM else architecture or "torchscript"
    network.eval()
    resize = f"bilinear with antialiasing to {side} x {side}"
    return Extractor(name, network, checksum(network), prepare, _classes(network, side, path), resize)


def _existing(path: str) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise UserError(
            f"{_OPTION} names {found}, where there is no file; expected a TorchScript file, or the state dict of the "
            "timm model that translations.architecture names"
        )
    return found


def _stand_in() -> nn.Module:
    head = nn.Linear(sum(stage.out_channels for stage in RandomFeatures().stages), _RANDOM_CLASSES)  # type: ignore[misc]
    network = nn.Sequential(RandomFeatures(), head)
    weight_files.fill_randomly(network[0])
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        head.weight.normal_(generator=draws)
        head.bias.zero_()
    return network


def _scripted(path: Path) -> nn.Module:
    try:
        network: nn.Module = torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise UserError(
            f"{path} ({_OPTION}) is no TorchScript file ({reason}); write one with torch.jit.trace(...).save, or name "
            "the timm model that its weights belong to as translations.architecture"
        ) from error
    return network.float()


def _of_timm(architecture: str, path: Path) -> nn.Module:
    import timm  # Seconds that only this should cost.

    if not timm.is_model(architecture):
        raise UserError(
            f"translations.architecture is {architecture}, which timm does not know; expected one of "
            "timm.list_models(), such as resnet18"
        )
    state = weight_files.load(path, _OPTION)
    with torch.device("meta"):
        sketch: Any = timm.create_model(architecture)
    heads = sketch.default_cfg["classifier"]
    head = heads if isinstance(heads, str) else heads[0]
    weight = state.get(f"{head}.weight")
    if weight is None:
        raise UserError(
            f"the weight file {path} ({_OPTION}) does not fit: {head}.weight is missing; give the state dict of a timm "
            f"{architecture}"
        )
    network: nn.Module = timm.create_model(architecture, num_classes=len(weight))
    weight_files.fill(network, state, path, _OPTION)
    return network


def _classes(network: nn.Module, side: int, path: str) -> int:
    """Of the logits that it gives for two images."""
    try:
        with torch.no_grad():
            logits = network(torch.zeros(2, 3, side, side))
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].rstrip(".")
        raise UserError(
            f"the classifier {path} does not take images [2, 3, {side}, {side}] ({reason}); set "
            "translations.classifier_size to the side that it was made for"
        ) from error
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 2 or logits.shape[1] < 2:
        found = list(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise UserError(
            f"the classifier {path} gives {found} for 2 images; expected logits [2, K] of at least 2 classes"
        )
    return logits.shape[1]
