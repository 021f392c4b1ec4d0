"""What a CIPS experiment may choose: the networks and how they learn."""

from dataclasses import dataclass
from typing import Literal

from repsynth.errors import UserError, require_at_least
from repsynth.modules.cips.coordinates import Surface
from repsynth.modules.cips.inputs import EmbeddingRule
from repsynth.modules.cips.products import Activation
from repsynth.modules.cips.trunks import Variant


@dataclass(frozen=True)
class GeneratorOptions:
    """The generator (paper section 3); the defaults are the released models'.

    Args:
        variant: skip (FFHQ, churches) adds up colours over stages, residual (landscapes) has them at the end.
        grid_size: cells of a side of the learned grid of coordinates; gives the number of stages. May be smaller than
            the images: the released model of 1024 pixels has 256.
        features: channels of the Fourier features and of the learned grid, each.
        width: channels of the first five stages.
        style_size: of latents z and styles w.
        mapping_layers: of the mapping network.
        activation: leaky_relu (released), sin or sinrelu.
        surface: plane, or cylinder for panoramas.
        embedding_rule: how the grid is read between its cells; released is what the published figures are of.
    """

    variant: Variant = "skip"
    grid_size: int = 256
    features: int = 512
    width: int = 512
    style_size: int = 512
    mapping_layers: int = 8
    activation: Activation = "leaky_relu"
    surface: Surface = "plane"
    embedding_rule: EmbeddingRule = "released"


@dataclass(frozen=True)
class DiscriminatorOptions:
    """The discriminator.

    Args:
        size: side of what it sees: data.patch_size, or the whole image where that is null.
        coordinates: show it the coordinates of the pixels as two more channels (no released model does).
        first_layers: 3x3 convolutions at full size before the first halving, beyond the usual.
        width: channels of maps of 64 pixels and less.
    """

    size: int = 256
    coordinates: bool = False
    first_layers: int = 0
    width: int = 512


@dataclass(frozen=True)
class LearningOptions:
    """Losses and optimisers (official code; dossier of the paper's recipe).

    Args:
        learning_rate: of both Adams, before the factor of their regularisation.
        beta2: of both Adams, before the factor; beta1 is 0.
        generator_ratio: learning rate times this, beta2 to its power, for the generator: 4/5 is what remains of a
            removed regulariser in the released recipe.
        r1_gamma: weight of the gradient penalty, halved; 0 for none.
        r1_every: iterations from one penalty to the next, which weighs so many times more; the discriminator's learning
            rate is multiplied by n / (n + 1), and its beta2 taken to that power.
        r1_step: own gives the penalty an optimiser step of its own after the discriminator's (released); joint adds it
            to the discriminator's loss.
    """

    learning_rate: float = 0.002
    beta2: float = 0.99
    generator_ratio: float = 0.8
    r1_gamma: float = 10.0
    r1_every: int = 16
    r1_step: Literal["own", "joint"] = "own"

    def check(self) -> None:
        """Raise UserError for an option out of its range."""
        require_at_least("model", 1, **{"learning.r1_every": self.r1_every})
        if self.r1_gamma < 0:
            raise UserError(f"model.learning.r1_gamma is {self.r1_gamma}; expected at least 0.")
        for name in ("learning_rate", "generator_ratio"):
            if getattr(self, name) <= 0:
                raise UserError(f"model.learning.{name} is {getattr(self, name)}; expected a number above 0.")
        if not 0 < self.beta2 < 1:
            raise UserError(
                f"model.learning.beta2 is {self.beta2}; expected a number between 0 and 1, such as 0.99."
            )

    @property
    def discriminator_ratio(self) -> float:
        """What the discriminator's Adam is scaled by, because the penalty steps it once more in every `r1_every`."""
        return self.r1_every / (self.r1_every + 1) if self.r1_gamma else 1.0
