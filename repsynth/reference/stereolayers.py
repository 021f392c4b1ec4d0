"""Official StereoLayers networks -> ours."""

from collections.abc import Mapping

from torch import Tensor, nn

from repsynth.errors import UserError
from repsynth.modules.stereolayers.generator import StereoLayersGenerator
from repsynth.modules.stereolayers.geometry_network import GeometryNetwork
from repsynth.nn.coloring_network import ColoringNetwork
from repsynth.reference.state import Renames, load_renamed

_GEOMETRY: Renames = (
    (r"conv\.weight_orig$", "conv.parametrizations.weight.original"),
    (r"conv\.weight_(u|v)$", r"conv.parametrizations.weight.0._\1"),
    (r"level_dconv\.", "level_dconvs."),
)
_COLORING: Renames = ((r"final_conv\.conv\.", "final_conv."),)
_GENERATOR: Renames = (
    (r"^depth_predictor\.model\.", "geometry_network."),
    (r"^psv_net\.", "coloring_network."),
    *_GEOMETRY,
    *_COLORING,
)


def load_official(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Fill a `StereoLayers` module (any of its kinds) from an official generator's state dictionary.

    Raises:
        UserError: the module is another method's, or the state does not fit its networks.
    """
    generator = getattr(module, "generator", None)
    if not isinstance(generator, StereoLayersGenerator):
        raise UserError(
            f"the file is one of StereoLayers, the experiment's model is {type(module).__name__}; name an "
            "experiment of StereoLayers with --config"
        )
    load_generator(generator, state)


def load_geometry_network(network: GeometryNetwork, state: Mapping[str, Tensor]) -> None:
    """Fill F_g from an official state dictionary (spectral norm in its old hook style)."""
    load_renamed(network, state, _GEOMETRY)


def load_coloring_network(network: ColoringNetwork, state: Mapping[str, Tensor]) -> None:
    """Fill F_c from an official state dictionary."""
    load_renamed(network, state, _COLORING)


def load_generator(generator: StereoLayersGenerator, state: Mapping[str, Tensor]) -> None:
    """Fill both networks from an official generator's state dictionary."""
    load_renamed(generator, state, _GENERATOR)
