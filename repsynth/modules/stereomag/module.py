"""StereoMag's training, evaluation and prediction, as the baseline of the StereoLayers paper (supplement D)."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from torch import Tensor, nn

from repsynth.batches import PosedViews
from repsynth.datamodules.base import HasImageSize
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layered_scene import Layers, RenderingOptions
from repsynth.geometry.rendering import Rendering
from repsynth.losses.perceptual import PerceptualLoss
from repsynth.losses.reconstruction import l1
from repsynth.modules.novel_views import NovelViewMethod, source_camera, to_unit
from repsynth.modules.prediction import PredictionOptions
from repsynth.modules.stereomag.generator import StereoMagGenerator
from repsynth.modules.stereomag.merging import MergingOptions, check_merging
from repsynth.modules.stereomag.multiplane_image import MultiplaneImage, PlaneGrid
from repsynth.modules.stereomag.texturing import Texturing


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms; those that StereoLayers has for the same terms, as none are published."""

    l1: float = 1.0
    perceptual: float = 10.0


class StereoMag(NovelViewMethod[MultiplaneImage | Layers]):
    """Novel views from a stereo pair through a multiplane image, or through a few mesh layers merged from it.

    By default it differs from the official code where that is wrong: pixels lie where the cameras see them, nothing
    behind a camera is seen, and merged layers look like the planes they come from. For networks trained the official
    way: `grid: integer`, `mask_behind: false`, and `merging: {jitter: 0, exact: false}`.

    Args:
        planes: number of planes.
        near: depth of the nearest plane, scene units.
        far: depth of the farthest plane, scene units.
        texturing: parametrisation of the colours: RBg mixes reference view and a predicted background, RSBg the side
            view as well.
        width: channels of the network's first block.
        grid: centre, or integer (official code), see `PlaneGrid`.
        mask_behind: what lies behind a camera is not seen; the official code shows it mirrored.
        merged_layers: number of mesh layers that the planes are merged into before they are evaluated and predicted
            (StereoMag-P in the paper's table); null evaluates the planes. Training always is of the planes.
        merging: how planes become mesh layers.
        rendering: how mesh layers become images; `farthest_opaque` also holds for planes.
        loss_weights: weights of the loss terms.
        perceptual: VGG19 weights: a file, `auto` (looked for, see `repsynth doctor`) or `random`, an offline stand-in
            whose term is called `perceptual_random`.
        perceptual_levels: how many of the five feature levels are compared.
        learning_rate: of Adam; the paper does not state it, this is the shared code base's.
        learning_rate_decay: factor per thousand samples; 0.9985 is the code base's 0.999994 per step of four samples.
        learning_rate_anneal: [begin, end] in samples of a linear fall to a hundredth, for short runs.
        prediction: what `predict` renders and writes.

    Raises:
        UserError: an option out of its range, more layers than planes, or a back end that is not installed.
    """

    def __init__(
        self,
        planes: int = 32,
        near: float = 1.0,
        far: float = 100.0,
        texturing: Texturing = "RBg",
        width: int = 64,
        grid: PlaneGrid = "centre",
        mask_behind: bool = True,
        merged_layers: int | None = None,
        merging: MergingOptions = MergingOptions(),  # noqa: B008  frozen
        rendering: RenderingOptions = RenderingOptions(),  # noqa: B008  frozen
        loss_weights: LossWeights = LossWeights(),
        perceptual: str = "auto",
        perceptual_levels: Literal[1, 2, 3, 4, 5] = 5,
        learning_rate: float = 3e-4,
        learning_rate_decay: float = 0.9985,
        learning_rate_anneal: tuple[int, int] | None = None,
        prediction: PredictionOptions = PredictionOptions(),  # noqa: B008  frozen
    ) -> None:
        super().__init__(learning_rate, learning_rate_decay, learning_rate_anneal, prediction)
        self.generator = StereoMagGenerator(
            planes=planes,
            near=near,
            far=far,
            texturing=texturing,
            width=width,
            grid=grid,
            mask_behind=mask_behind,
            rendering=rendering,
        )
        check_merging(planes if merged_layers is None else merged_layers, planes, merging)
        self.merged_layers, self.merging = merged_layers, merging
        self.loss_weights = asdict(loss_weights)
        self.perceptual = PerceptualLoss(weights=perceptual, levels=perceptual_levels)

    def check(self, datamodule: HasImageSize) -> None:
        """Raise UserError before training when the network cannot take the data's image size."""
        self.generator.check_size(*datamodule.image_size)

    def training_step(self, batch: PosedViews, batch_idx: int) -> Tensor:
        """See the planes from the novel cameras and compare."""
        rendering = self.render_views(self.build_planes(batch), batch["novel"])
        terms = self.loss_terms(rendering, batch["novel"]["images"].flatten(0, 1))
        loss = self.weighted(terms)
        self.log_terms(terms, loss, len(batch["ids"]))
        return loss

    def loss_terms(self, rendering: Rendering, expected: Tensor) -> dict[str, Tensor]:
        """Unweighted terms; expected [N, 3, H, W] in [0, 1]. All of the image counts, also where no plane is seen."""
        return {
            "l1": l1(rendering.features, expected * 2 - 1),
            "perceptual": self.perceptual(to_unit(rendering.features), expected),
        }

    def build(self, batch: PosedViews) -> MultiplaneImage | Layers:
        """Build what is evaluated of every scene of the batch: its planes, or the layers merged from them."""
        planes = self.build_planes(batch)
        if self.merged_layers is None:
            return planes
        return self.generator.merge(planes, self.merged_layers, self.merging)

    def build_planes(self, batch: PosedViews) -> MultiplaneImage:
        """Build the multiplane image of every scene of the batch."""
        images = batch["source"]["images"] * 2 - 1
        return self.generator(images[:, 0], images[:, 1], source_camera(batch, 0), source_camera(batch, 1))

    def render(self, scene: MultiplaneImage | Layers, cameras: Cameras, size: Sequence[int]) -> Rendering:
        """Cast rays through planes, or rasterise layers."""
        return self.generator.render(scene, cameras, size)

    def scene_layers(self, scene: MultiplaneImage | Layers) -> Layers:
        """The scenes as layers, to be written: every plane is a flat one."""
        if isinstance(scene, Layers):
            return scene
        return self.generator.merge(scene, scene.rgba.shape[1], MergingOptions(jitter=0.0))

    def scene_rendering(self) -> RenderingOptions:
        """How `render` makes pictures of layers."""
        return self.generator.rendering

    def learned(self) -> Iterable[nn.Parameter]:
        """Those of the network."""
        return self.generator.parameters()
