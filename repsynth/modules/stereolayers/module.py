"""StereoLayers' training, evaluation and prediction (paper sections 3.4 and 4)."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor, nn

from repsynth.batches import PosedViews
from repsynth.datamodules.base import HasImageSize
from repsynth.errors import UserError
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layered_scene import Layers, MeshGrid, RenderingOptions
from repsynth.geometry.rendering import Rendering
from repsynth.losses.geometry import layered_depth_variation, order_hinge
from repsynth.losses.perceptual import PerceptualLoss
from repsynth.losses.reconstruction import l1
from repsynth.modules.novel_views import NovelViewMethod, source_camera, to_unit
from repsynth.modules.prediction import PredictionOptions
from repsynth.modules.stereolayers.depth import DepthScheme
from repsynth.modules.stereolayers.generator import InitialDepth, StereoLayersGenerator
from repsynth.modules.stereolayers.options import LayerOptions, Regularisation
from repsynth.modules.stereolayers.regularisers import opacity_excess, weight_entropy
from repsynth.modules.stereolayers.texturing import Texturing


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms (paper section 3.4)."""

    l1: float = 1.0
    perceptual: float = 10.0
    tv: float = 5.0
    order: float = 2.0


class StereoLayers(NovelViewMethod[Layers]):
    """Novel views from a stereo pair through scene-adaptive semitransparent mesh layers.

    By default it differs from the official code where that is wrong: interpolation is perspective-correct, nothing
    behind a camera is drawn or seen, and the variation of depth has a root per scene, not per batch. For networks
    trained the official way: `mask_behind: false`, `rendering: {interpolation: affine, near: null, far_clip: 120}`.

    Args:
        layers: number of mesh layers.
        planes: number of planes of the sweep volume.
        near: depth of the nearest plane, scene units.
        far: depth of the farthest plane, scene units.
        depth: parametrisation of the layered depth: BI (bounded), BI-inverse (bounded, linear in inverse depth; not in
            the paper), SA (soft-argmax) or GC (group composition).
        texturing: parametrisation of the colours: RSBg mixes reference, side view and background, RBg leaves out
            the side view; RAW predicts colours and needs `adversarial_module.AdversarialStereoLayers`.
        geometry_width: width of the geometry network.
        geometry_levels: depth of the geometry network; image sides must be multiples of 2^(levels + 5).
        coloring_width: width of the colouring network.
        grid: corner (official code) or centre, see `geometry.layered_scene.MeshGrid`.
        mask_behind: what lies behind the side camera shows black; the official code shows the side view mirrored.
        sort_layers: order layers by mean depth.
        initial_depth: of BI layers, middle (official code) or spread, see `StereoLayersGenerator`.
        rendering: how layers become images.
        mesh_size: [height, width] in vertices of every layer, under textures of the images' size; null: a vertex per
            pixel.
        network_size: [height, width] at which the geometry network sees every scene, for images larger than it was
            trained on; null: as they are where both sides are multiples of 128, else at most 256 pixels a side.
        color_at_network_size: whether the colouring network sees the views at network_size too.
        layer_options: variants of how layers are built.
        loss_weights: weights of the loss terms.
        regularisation: form of the ordering hinge, and further terms.
        perceptual: VGG19 weights: a file, `auto` (looked for, see `repsynth doctor`) or `random`, an offline stand-in
            whose term is called `perceptual_random`.
        perceptual_levels: how many of the five feature levels are compared.
        learning_rate: of Adam; the paper does not state it, this is the shared code base's.
        learning_rate_decay: factor per thousand samples; 0.9985 is the code base's 0.999994 per step of four samples.
        learning_rate_anneal: [begin, end] in samples of a linear fall to a hundredth, for short runs.
        prediction: what `predict` renders and writes.

    Raises:
        UserError: an option out of its range, options that exclude each other, or a back end that is not installed.
    """

    has_discriminator = False
    """Whether one judges the novel views, as in a subclass."""

    def __init__(
        self,
        layers: int = 4,
        planes: int = 32,
        near: float = 1.0,
        far: float = 100.0,
        depth: DepthScheme = "BI",
        texturing: Texturing = "RSBg",
        geometry_width: int = 32,
        geometry_levels: int = 3,
        coloring_width: int = 64,
        grid: MeshGrid = "corner",
        mask_behind: bool = True,
        sort_layers: bool = True,
        initial_depth: InitialDepth = "middle",
        rendering: RenderingOptions = RenderingOptions(),  # noqa: B008  frozen
        mesh_size: tuple[int, int] | None = None,
        network_size: tuple[int, int] | None = None,
        color_at_network_size: bool = False,
        layer_options: LayerOptions = LayerOptions(),  # noqa: B008  frozen
        loss_weights: LossWeights = LossWeights(),
        regularisation: Regularisation = Regularisation(),  # noqa: B008  frozen
        perceptual: str = "auto",
        perceptual_levels: Literal[1, 2, 3, 4, 5] = 5,
        learning_rate: float = 3e-4,
        learning_rate_decay: float = 0.9985,
        learning_rate_anneal: tuple[int, int] | None = None,
        prediction: PredictionOptions = PredictionOptions(),  # noqa: B008  frozen
    ) -> None:
        super().__init__(learning_rate, learning_rate_decay, learning_rate_anneal, prediction)
        if texturing == "RAW" and not self.has_discriminator:
            raise UserError(
                "model.texturing RAW predicts colours, which only a discriminator makes sharp; use the class "
                "repsynth.modules.stereolayers.adversarial_module.AdversarialStereoLayers, or texturing RSBg."
            )
        self.generator = StereoLayersGenerator(
            layers=layers,
            planes=planes,
            near=near,
            far=far,
            depth=depth,
            texturing=texturing,
            geometry_width=geometry_width,
            geometry_levels=geometry_levels,
            coloring_width=coloring_width,
            grid=grid,
            mask_behind=mask_behind,
            sort_layers=sort_layers,
            initial_depth=initial_depth,
            rendering=rendering,
            mesh_size=mesh_size,
            network_size=network_size,
            color_at_network_size=color_at_network_size,
            layer_options=layer_options,
        )
        self.loss_weights = asdict(loss_weights) | regularisation.weights()
        self.order_power = regularisation.order_power
        self.perceptual = PerceptualLoss(weights=perceptual, levels=perceptual_levels)

    def check(self, datamodule: HasImageSize) -> None:
        """Raise UserError before training when the networks cannot take the data's image size."""
        self.generator.check_size(*datamodule.image_size)

    def training_step(self, batch: PosedViews, batch_idx: int) -> Tensor:
        """Render the novel views, compare them and regularise the geometry."""
        layers = self.build(batch)
        rendering = self.render_views(layers, batch["novel"])
        expected = batch["novel"]["images"].flatten(0, 1)
        terms = self.loss_terms(layers, rendering, expected)
        loss = self.weighted(terms)
        self.log_layers(terms, loss, layers)
        return loss

    def log_layers(self, terms: dict[str, Tensor], loss: Tensor, layers: Layers) -> None:
        """Log every term, their weighted total, and now and then where the layers are."""
        self.log_terms(terms, loss, len(layers.depth))
        if self.loggers_are_due():
            means = {f"train/depth_of_layer_{i}": mean for i, mean in enumerate(_mean_depths(layers))}
            self.log_dict(means, batch_size=len(layers.depth))

    def loggers_are_due(self) -> bool:
        """Whether the loggers write this batch's figures; each logged figure costs most of a millisecond."""
        trainer: Any = self.trainer
        return (trainer.fit_loop.epoch_loop._batches_that_stepped + 1) % trainer.log_every_n_steps == 0

    def loss_terms(self, layers: Layers, rendering: Rendering, expected: Tensor) -> dict[str, Tensor]:
        """Unweighted terms; expected [N, 3, H, W] in [0, 1]. Images count where the layers cover the novel view."""
        covered = (rendering.opacity > 0).float()
        terms = {
            "l1": l1(rendering.features, expected * 2 - 1, covered),
            "perceptual": self.perceptual(to_unit(rendering.features), expected, covered),
            # The official code takes one root over the whole batch: ranks and batch sizes would weigh it differently.
            "tv": layered_depth_variation(layers.depth, per_item=True),
            "order": order_hinge(layers.depth, self.order_power),
        }
        alphas = layers.rgba[:, :, 3]
        if "opacity" in self.loss_weights:
            terms["opacity"] = opacity_excess(alphas)
        if "sparsity" in self.loss_weights:
            terms["sparsity"] = weight_entropy(alphas)
        return terms

    def build(self, batch: PosedViews) -> Layers:
        """Build the layers of every scene of the batch."""
        images = batch["source"]["images"] * 2 - 1
        return self.generator(images[:, 0], images[:, 1], source_camera(batch, 0), source_camera(batch, 1))

    def render(self, scene: Layers, cameras: Cameras, size: Sequence[int]) -> Rendering:
        """Rasterise the layers."""
        return self.generator.render(scene, cameras, size)

    def scene_rendering(self) -> RenderingOptions:
        """As the options say."""
        return self.generator.rendering

    def learned(self) -> Iterable[nn.Parameter]:
        """Those of both networks."""
        return self.generator.parameters()


def _mean_depths(layers: Layers) -> Tensor:
    """[L]; in logs they show layers that stay together, or that the variation's weight has drawn near."""
    return layers.depth.detach().mean(dim=(0, 2, 3))
