"""repsynth: train, evaluate and apply methods that learn representations of images and 3D scenes."""

from repsynth import forks, torchvision_guard

__version__ = "0.1.0"

torchvision_guard.install()
forks.keep_what_is_inherited()
