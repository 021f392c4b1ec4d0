"""The translation network out of the checkpoint of the stage that trained it."""

from pathlib import Path

from torch import Tensor

from repsynth.checkpoint_tools import exported
from repsynth.checkpoint_tools.weights import averages, content_of, weights_of
from repsynth.checkpoints import DurableCheckpointIO
from repsynth.errors import UserError
from repsynth.modules.hidt.generator import HiDTGenerator

_PREFIX = "generator."


def load_translation(generator: HiDTGenerator, path: Path) -> None:
    """Fill a network from a checkpoint or an exported file of HiDT, with averaged weights where there are some.

    Raises:
        UserError: the file is missing, damaged, of another method, or of a network with other options.
    """
    state = (
        exported.read(path) if path.suffix == exported.SUFFIX else DurableCheckpointIO().load_checkpoint(path)
    )
    weights = weights_of(content_of(state, path), "ema" if averages(state) else "raw", path)
    own = {name.removeprefix(_PREFIX): value for name, value in weights.items() if name.startswith(_PREFIX)}
    wanted = generator.state_dict()
    odd = sorted(own.keys() ^ wanted.keys()) or [
        name for name in wanted if own[name].shape != wanted[name].shape
    ]
    if odd:
        raise UserError(
            f"{path} (option model.translation) holds no translation network like model.generator "
            f"({_about(odd, own, wanted)}); give the checkpoint of a HiDT, with its options of model.generator"
        )
    generator.load_state_dict(own)


def _about(odd: list[str], own: dict[str, Tensor], wanted: dict[str, Tensor]) -> str:
    """How the first of the parameters that do not fit differs."""
    name = odd[0]
    if name in own and name in wanted:
        return f"{name} is {list(own[name].shape)}, expected {list(wanted[name].shape)}"
    return f"{name} is {'missing' if name in wanted else 'left over'}"
