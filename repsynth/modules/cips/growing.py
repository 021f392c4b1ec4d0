"""Weights for a discriminator of larger (or smaller) images than they were learned at: progressive growing."""

import re
from collections.abc import Mapping

from torch import Tensor

from repsynth.modules.cips.discriminator import CIPSDiscriminator

_BLOCK = re.compile(r"^blocks\.(\d+)\.(.*)$")
_AT_FULL_SIZE = re.compile(r"^first(_layers)?\.")


def grown(discriminator: CIPSDiscriminator, learned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state for a discriminator from one that was learned at another size.

    Blocks belong to sizes of their maps, so those of the sizes that both have are taken over; blocks of larger maps,
    and the layers at full size before them, stay as they are (without fading in). Layers of a same-sized network are
    all taken over. The paper grows its model of 1024 pixels from 256 and says no more.

    Args:
        discriminator: to be filled.
        learned: the other's state, by the names of `CIPSDiscriminator.state_dict`.
    """
    ours = discriminator.state_dict()
    more = len(discriminator.blocks) - _blocks(learned)
    if more == 0:
        return dict(learned)
    moved = {}
    for name, value in learned.items():
        block = _BLOCK.match(name)
        if block is not None:
            moved[f"blocks.{int(block[1]) + more}.{block[2]}"] = value
        elif not _AT_FULL_SIZE.match(name):
            moved[name] = value
    return ours | {name: value for name, value in moved.items() if name in ours}


def _blocks(state: Mapping[str, Tensor]) -> int:
    found = [int(block[1]) for block in map(_BLOCK.match, state) if block is not None]
    return max(found, default=-1) + 1
