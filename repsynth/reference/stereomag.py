"""Official StereoMag networks -> ours."""

from collections.abc import Mapping

from torch import Tensor

from repsynth.modules.stereomag.generator import StereoMagGenerator
from repsynth.reference.state import Renames, load_renamed

_GENERATOR: Renames = (
    (r"^psv_network\.", "coloring_network."),
    (r"final_conv\.conv\.", "final_conv."),
)


def load_stereomag(generator: StereoMagGenerator, state: Mapping[str, Tensor]) -> None:
    """Fill the network from an official generator's state dictionary (RBg texturing).

    Raises:
        UserError: the dictionary does not fit the generator's planes, texturing or width.
    """
    load_renamed(generator, state, _GENERATOR)
