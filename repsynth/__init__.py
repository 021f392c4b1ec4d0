"""repsynth: train, evaluate and apply methods that learn representations of images and 3D scenes."""

from repsynth import torchvision_guard

__version__ = "0.1.0"

torchvision_guard.install()
