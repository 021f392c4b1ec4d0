"""Official HiDT files -> ours: the translation network, or the enhancer; the keys tell which."""

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

from repsynth.errors import UserError
from repsynth.modules.hidt.enhancer import Enhancer
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.reference.state import Renames, load_renamed, rename_keys

State = Mapping[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)

_WRAPPED = (r"module\.", "")
"""The official program takes this out of a key wherever it stands."""
GENERATOR: Renames = (
    _WRAPPED,
    (r"^content_encoder\.model_preparation\.0\.conv\.", "content_encoder.first."),
    (r"^content_encoder\.model_downsample\.(\d+)\.conv\.", r"content_encoder.downs.\1."),
    (r"^content_encoder\.model_postprocess\.0\.", "content_encoder.body.0."),
    (r"^style_encoder\.body\.(\d+)\.conv\.", r"style_encoder.convs.\1."),
    (r"^style_encoder\.head\.1\.", "style_encoder.head."),
    (r"\.body\.0\.model\.(\d+)\.model\.(\d+)\.conv\.", r".blocks.\1.convs.\2."),
    (r"^decoder\.skip_preprocess\.(\d+)\.0\.conv\.", r"decoder.skips.\1."),
    (r"^decoder\.upsample_postprocess\.(\d+)\.0\.", r"decoder.ups.\1."),
    (r"^decoder\.model_postprocess\.0\.conv\.", "decoder.out."),
    (r"^decoder\.adain_net\.model\.(\d+)\.fc\.", r"decoder.modulation.layers.\1."),
)
"""Official keys of the translation network, and what we call them."""
ENHANCER: Renames = (
    _WRAPPED,
    (r"^conv_first\.", "first."),
    (r"^RRDB_trunk\.", "blocks."),
    *((rf"\.RDB{number + 1}\.", f".dense.{number}.") for number in range(3)),
    *((rf"^(blocks\..*)\.conv{number + 1}\.", rf"\1.convs.{number}.") for number in range(5)),
    (r"^trunk_conv\.", "trunk."),
    *((rf"^upconv{number + 1}\.", f"ups.{number}.") for number in range(2)),
    (r"^HRconv\.", "fine."),
    (r"^conv_last\.", "last."),
)
"""Official keys of the enhancer, and what we call them."""

_UNUSED = (".running_mean", ".running_var")
"""Constants that the official adaptive norms carry and never use."""


def load_official(module: nn.Module, state: State) -> None:
    """Fill a HiDT module's `generator` or `enhancer` from the state dictionary of an official file.

    Raises:
        UserError: the module has no such network, or the state does not fit it.
    """
    if any(key.replace("module.", "").startswith("RRDB_trunk.") for key in state):
        load_enhancer(_network(module, "enhancer", Enhancer), state)
    else:
        load_generator(_network(module, "generator", HiDTGenerator), state)


def load_generator(generator: HiDTGenerator, state: State) -> None:
    """Fill the translation network from an official state dictionary.

    Raises:
        UserError: a tensor is missing, left over or of another shape.
    """
    used = {key: value for key, value in state.items() if not key.endswith(_UNUSED)}
    options = "style_size, width, skip_channels and segmentation (colours for daytime, none for wikiart)"
    _load(generator, used, GENERATOR, options)


def load_enhancer(enhancer: Enhancer, state: State) -> None:
    """Fill the enhancer from an official state dictionary.

    Raises:
        UserError: a tensor is missing, left over or of another shape, or the enhancer takes or sees other things than
            the official one.
    """
    kind, official = (enhancer.stacking, enhancer.padding), ("pasted", "zeros")
    if kind != official:
        raise UserError(
            f"model.enhancer.stacking and padding are {' and '.join(kind)}; expected {' and '.join(official)}, "
            "with which the official enhancer was trained"
        )
    _load(enhancer, state, ENHANCER, "factor, width and growth")


def _load(network: nn.Module, state: State, renames: Renames, options: str) -> None:
    ours = network.state_dict()
    for key, value in rename_keys(state, renames).items():
        if key in ours and ours[key].shape != value.shape:
            raise UserError(
                f"the official file does not fit {type(network).__name__}: {key} is {list(value.shape)}, expected "
                f"{list(ours[key].shape)}; check its {options}"
            )
    load_renamed(network, state, renames)


def _network(module: nn.Module, name: str, kind: type[Network]) -> Network:
    network = getattr(module, name, None)
    if not isinstance(network, kind):
        raise UserError(
            f"the file is HiDT's {name}, but the experiment's model {type(module).__name__} has none; name an "
            "experiment of HiDT that has it with --config"
        )
    return network
