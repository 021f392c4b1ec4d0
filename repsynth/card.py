"""What a method says about itself, without importing anything heavy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodCard:
    """The card that each `repsynth/modules/<method>/__init__.py` defines as `CARD`.

    `repsynth list` and `repsynth describe` read it, so the file that holds it imports no torch.
    """

    name: str
    """Short name: the folder below `repsynth/modules`."""
    title: str
    """Title of the paper."""
    paper: str
    """Where to read it: an address or a citation."""
    venue: str
    """Conference and year."""
    task: str
    """What the method does, in one sentence."""
    inputs: str
    """What it takes, with shapes and ranges."""
    outputs: str
    """What it gives, with shapes and ranges."""
    losses: dict[str, str]
    """Loss term -> default weight and what the term measures."""
    module: str
    """Class path of the LightningModule."""
