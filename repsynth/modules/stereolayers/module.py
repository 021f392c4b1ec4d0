"""StereoLayers' training, evaluation and prediction (paper sections 3.4 and 4)."""

from dataclasses import asdict, dataclass
from typing import Literal, Protocol, TypedDict

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from repsynth.batches import Paired, PosedViews, Views, paired_novel_views
from repsynth.errors import UserError
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.paths import sway
from repsynth.geometry.rendering import Rendering
from repsynth.losses.geometry import layered_depth_variation, order_hinge
from repsynth.losses.perceptual import PerceptualLoss
from repsynth.losses.reconstruction import l1
from repsynth.modules.stereolayers.depth import DepthScheme
from repsynth.modules.stereolayers.generator import (
    InitialDepth,
    Layers,
    MeshGrid,
    RenderingOptions,
    StereoLayersGenerator,
    require_at_least,
)
from repsynth.modules.stereolayers.schedule import learning_rate_factor


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms (paper section 3.4)."""

    l1: float = 1.0
    perceptual: float = 10.0
    tv: float = 5.0
    order: float = 2.0


class CameraPath(TypedDict):
    """What `predict_step` returns."""

    ids: list[str]
    frames: Tensor
    """[B, T, 3, H, W] float32 in [0, 1]."""


class HasImageSize(Protocol):
    """A data module whose images all have one size."""

    image_size: tuple[int, int]


class StereoLayers(pl.LightningModule):
    """Novel views from a stereo pair through scene-adaptive semitransparent mesh layers.

    By default it differs from the official code where that is wrong: interpolation is perspective-correct, nothing
    behind a camera is drawn or seen, and the variation of depth has a root per scene, not per batch. For networks
    trained the official way: `mask_behind: false`, `rendering: {interpolation: affine, near: null, far_clip: 120}`.

    Args:
        layers: number of mesh layers.
        planes: number of planes of the sweep volume.
        near: depth of the nearest plane, scene units.
        far: depth of the farthest plane, scene units.
        depth: parametrisation of the layered depth: BI (bounded), SA (soft-argmax) or GC (group composition).
        texturing: parametrisation of the colours: RSBg mixes reference, side view and background, RBg leaves out
            the side view.
        geometry_width: width of the geometry network.
        geometry_levels: depth of the geometry network; image sides must be multiples of 2^(levels + 5).
        coloring_width: width of the colouring network.
        grid: corner (official code) or centre, see `StereoLayersGenerator`.
        mask_behind: what lies behind the side camera shows black; the official code shows the side view mirrored.
        sort_layers: order layers by mean depth.
        initial_depth: of BI layers, middle (official code) or spread, see `StereoLayersGenerator`.
        rendering: how layers become images.
        loss_weights: weights of the loss terms.
        perceptual: VGG19 weights: a file, `auto` (looked for, see `repsynth doctor`) or `random`, an offline stand-in
            whose term is called `perceptual_random`.
        perceptual_levels: how many of the five feature levels are compared.
        learning_rate: of Adam; the paper does not state it, this is the shared code base's.
        learning_rate_decay: factor per thousand samples; 0.9985 is the code base's 0.999994 per step of four samples.
        learning_rate_anneal: [begin, end] in samples of a linear fall to a hundredth, for short runs.
        path_frames: number of frames of a predicted camera path.
        path_reach: how far a predicted camera path leaves the stereo pair's middle, in baselines.

    Raises:
        UserError: an option out of its range, options that exclude each other, or a back end that is not installed.
    """

    def __init__(
        self,
        layers: int = 4,
        planes: int = 32,
        near: float = 1.0,
        far: float = 100.0,
        depth: DepthScheme = "BI",
        texturing: Literal["RSBg", "RBg"] = "RSBg",
        geometry_width: int = 32,
        geometry_levels: int = 3,
        coloring_width: int = 64,
        grid: MeshGrid = "corner",
        mask_behind: bool = True,
        sort_layers: bool = True,
        initial_depth: InitialDepth = "middle",
        rendering: RenderingOptions = RenderingOptions(),  # noqa: B008  frozen
        loss_weights: LossWeights = LossWeights(),
        perceptual: str = "auto",
        perceptual_levels: Literal[1, 2, 3, 4, 5] = 5,
        learning_rate: float = 3e-4,
        learning_rate_decay: float = 0.9985,
        learning_rate_anneal: tuple[int, int] | None = None,
        path_frames: int = 60,
        path_reach: float = 1.5,
    ) -> None:
        super().__init__()
        require_at_least(1, path_frames=path_frames)
        if learning_rate <= 0:
            raise UserError(f"model.learning_rate is {learning_rate}; expected a number above 0.")
        if not 0 < learning_rate_decay <= 1:
            raise UserError(
                f"model.learning_rate_decay is {learning_rate_decay}; expected a factor above 0 and at most 1."
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
        )
        self.loss_weights = asdict(loss_weights)
        self.perceptual = PerceptualLoss(weights=perceptual, levels=perceptual_levels)
        if learning_rate_anneal and not 0 <= learning_rate_anneal[0] < learning_rate_anneal[1]:
            raise UserError(
                f"model.learning_rate_anneal is {list(learning_rate_anneal)}; expected [begin, end] in samples, rising."
            )
        self.learning_rate, self.learning_rate_decay = learning_rate, learning_rate_decay
        self.learning_rate_anneal = learning_rate_anneal
        self.path_frames, self.path_reach = path_frames, path_reach

    def check(self, datamodule: HasImageSize) -> None:
        """Raise UserError before training when the networks cannot take the data's image size."""
        self.generator.check_size(*datamodule.image_size)

    def training_step(self, batch: PosedViews, batch_idx: int) -> Tensor:
        """Render the novel views, compare them and regularise the geometry."""
        layers = self.build(batch)
        rendering = self.render(layers, batch["novel"])
        expected = batch["novel"]["images"].flatten(0, 1)
        terms = self.loss_terms(layers, rendering, expected)
        loss = self.weighted(terms)
        names = {"perceptual": self.perceptual.name}
        logged = {f"train/{names.get(name, name)}": term.detach() for name, term in terms.items()}
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if (self.global_step + 1) % every == 0:  # each logged figure costs most of a millisecond
            logged |= {f"train/depth_of_layer_{i}": mean for i, mean in enumerate(_mean_depths(layers))}
        self.log_dict(logged | {"train/loss": loss.detach()}, batch_size=len(batch["ids"]))
        return loss

    def loss_terms(self, layers: Layers, rendering: Rendering, expected: Tensor) -> dict[str, Tensor]:
        """Unweighted terms; expected [N, 3, H, W] in [0, 1]. Images count where the layers cover the novel view."""
        covered = (rendering.opacity > 0).float()
        return {
            "l1": l1(rendering.features, expected * 2 - 1, covered),
            "perceptual": self.perceptual(_to_unit(rendering.features), expected, covered),
            # The official code takes one root over the whole batch: ranks and batch sizes would weigh it differently.
            "tv": layered_depth_variation(layers.depth, per_item=True),
            "order": order_hinge(layers.depth),
        }

    def weighted(self, terms: dict[str, Tensor]) -> Tensor:
        """Sum of the terms with their weights."""
        return torch.stack([self.loss_weights[name] * term for name, term in terms.items()]).sum()

    def validation_step(self, batch: PosedViews, batch_idx: int) -> Paired:
        """Predict the novel views."""
        rendering = self.render(self.build(batch), batch["novel"])
        return paired_novel_views(batch, _to_unit(rendering.features), {"depth": rendering.depth})

    test_step = validation_step

    def predict_step(self, batch: PosedViews, batch_idx: int) -> CameraPath:
        """Build the layers once and render them along a path that sways through the stereo pair."""
        layers = self.build(batch)
        reference, side = self.source_camera(batch, 0), self.source_camera(batch, 1)
        size = batch["source"]["images"].shape[-2:]
        frames = [
            _to_unit(self.generator.render(layers, camera, size).features).clamp(0, 1)
            for camera in sway(reference, side, self.path_frames, self.path_reach)
        ]
        return {"ids": batch["ids"], "frames": torch.stack(frames, dim=1)}

    def build(self, batch: PosedViews) -> Layers:
        """Build the layers of every scene of the batch."""
        images = batch["source"]["images"] * 2 - 1
        return self.generator(
            images[:, 0], images[:, 1], self.source_camera(batch, 0), self.source_camera(batch, 1)
        )

    @staticmethod
    def source_camera(batch: PosedViews, index: int) -> Cameras:
        """The B cameras of an input view: 0 the reference, 1 the side view."""
        source = batch["source"]
        return Cameras(source["extrinsics"][:, index], source["intrinsics"][:, index])

    def render(self, layers: Layers, novel: Views) -> Rendering:
        """Render B scenes into their V novel cameras each: B V images, scene by scene."""
        views = novel["images"].shape[1]
        if views > 1:
            layers = Layers(*(part.repeat_interleave(views, dim=0) for part in vars(layers).values()))
        cameras = Cameras(novel["extrinsics"].flatten(0, 1), novel["intrinsics"].flatten(0, 1))
        return self.generator.render(layers, cameras, novel["images"].shape[-2:])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam; the learning rate follows the samples, not the steps."""
        optimizer = torch.optim.Adam(self.generator.parameters(), lr=self.learning_rate)
        samples = self.trainer.datamodule.batch_size * self.trainer.accumulate_grad_batches  # type: ignore[attr-defined]
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: learning_rate_factor(
                step * samples, self.learning_rate_decay, self.learning_rate_anneal
            ),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _mean_depths(layers: Layers) -> Tensor:
    """[L]; in logs they show layers that stay together, or that the variation's weight has drawn near."""
    return layers.depth.detach().mean(dim=(0, 2, 3))


def _to_unit(image: Tensor) -> Tensor:
    """From [-1, 1] to [0, 1]."""
    return (image + 1) / 2
