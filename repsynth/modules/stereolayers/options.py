"""Groups of options of StereoLayers, each a section of the experiment file."""

from dataclasses import dataclass
from typing import Literal

from repsynth.errors import UserError
from repsynth.modules.stereolayers.texturing import AlphaScheme


@dataclass(frozen=True)
class LayerOptions:
    """Variants of how layers are built and learn; the defaults are the paper's method.

    Args:
        alpha: sigmoid, or softmax over the layers, see `texturing.AlphaScheme`.
        farthest_depth: the farthest layer stands flat at this depth in scene units, at or behind model.far, and the
            geometry network puts out the other layers; null learns it like them.
        stop_color_gradient: depth does not learn from where the colours are taken from the side view.
        stop_rendering_gradient: depth does not learn from where the layers are seen in the novel views.
    """

    alpha: AlphaScheme = "sigmoid"
    farthest_depth: float | None = None
    stop_color_gradient: bool = False
    stop_rendering_gradient: bool = False

    def check(self, layers: int, far: float) -> None:
        """Raise UserError for options that do not fit together, or not to so many layers up to this depth."""
        if self.stop_color_gradient and self.stop_rendering_gradient:
            raise UserError(
                "model.layer_options stops both gradients of the depth, which could learn from its regularisers "
                "alone; set one of stop_color_gradient and stop_rendering_gradient to false."
            )
        if self.farthest_depth is None:
            return
        if layers < 2:
            raise UserError(
                f"model.layer_options.farthest_depth fixes one layer, but model.layers is {layers}; expected at least "
                "2 layers."
            )
        if self.farthest_depth < far:
            raise UserError(
                f"model.layer_options.farthest_depth is {self.farthest_depth}, so learned layers could lie behind it; "
                f"expected at least model.far, {far}."
            )


@dataclass(frozen=True)
class Regularisation:
    """How the ordering hinge is formed, and weights of terms that are off by default (as in the official code).

    Args:
        order_power: 2 squares the ordering hinge (official code), 1 does not (the paper's formula).
        opacity: weight of what the alphas of a texel's layers sum to above 2.
        sparsity: weight of the entropy of the layers' compositing weights in the reference view.
    """

    order_power: Literal[1, 2] = 2
    opacity: float = 0.0
    sparsity: float = 0.0

    def weights(self) -> dict[str, float]:
        """Those of the terms that are on, by name."""
        weights = {"opacity": self.opacity, "sparsity": self.sparsity}
        return {name: weight for name, weight in weights.items() if weight}
