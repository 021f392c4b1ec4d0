"""The VGG-16 of precision and recall: 4096 features after its second fully connected layer, rectified.

Weights are torchvision's; the papers' own tables stand on weights converted from Caffe, so that figures of the two
differ a little.
"""

import torch
from torch import Tensor, nn

from repsynth import weights as weight_files
from repsynth.metrics.features import Extractor, checksum, tensorflow_bilinear

SIDE = 224
DIMENSIONS = 4096
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the colours in [0, 1] that torchvision's networks were trained on."""


def vgg16(weights: str, download: bool, option: str) -> Extractor:
    """Build the extractor from the published weight file.

    Args:
        weights: "auto" or a path.
        download: Whether the file may be fetched.
        option: Name of the option that gives `weights`, for messages.

    Raises:
        UserError: When the file is found nowhere, or does not fit.
    """
    path = weight_files.resolve(weight_files.FILES["vgg16"], option, weights, download)
    network = vgg16_network()
    weight_files.fill(network, weight_files.load(path, option), path, option)
    return vgg16_extractor(network)


def vgg16_extractor(network: nn.Module) -> Extractor:
    """Make an extractor of a network with its weights."""
    resize = f"bilinear of TensorFlow 1 to {SIDE} x {SIDE}, no antialiasing"
    return Extractor("vgg16", network, checksum(network), _prepare, DIMENSIONS, resize)


def vgg16_network() -> nn.Module:
    """Return torchvision's VGG-16 up to the features, [N, 3, 224, 224] to [N, 4096], its weights undefined."""
    # Seconds that only these figures should cost.
    from torchvision.models import vgg16 as torchvision_vgg16

    with torch.device("meta"):
        network = torchvision_vgg16(init_weights=False)
    # Two linear layers, each with its ReLU and dropout; the second dropout and the classes go.
    network.classifier = network.classifier[:5]
    return network.to_empty(device="cpu")


def normalised(images: Tensor) -> Tensor:
    """From [N, 3, H, W] in [0, 1] to what torchvision's networks take."""
    mean, deviation = (images.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    return (images - mean) / deviation


def _prepare(images: Tensor) -> Tensor:
    return normalised(tensorflow_bilinear(images, SIDE) / 255)
