"""What all novel-view methods do alike: evaluate and predict what they build, step Adam over the samples seen."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler, OptimizerLRSchedulerConfig
from torch import Tensor, nn

from repsynth.batches import Paired, PosedViews, Views, paired_novel_views
from repsynth.errors import UserError
from repsynth.exports.prediction import PredictedScenes, Prediction
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layered_scene import Layers, RenderingOptions
from repsynth.geometry.rendering import Rendering
from repsynth.losses.perceptual import PerceptualLoss
from repsynth.modules.prediction import PredictionOptions, check_options, planned, take_pictures
from repsynth.schedules import learning_rate_factor

Scene = TypeVar("Scene")


class NovelViewMethod(pl.LightningModule, Generic[Scene]):
    """A method that builds a scene from posed views once and renders it from any camera.

    A subclass gives `build`, `render`, `training_step`, `loss_weights` and `perceptual`; where its scenes can be
    written as layers but are none, also `scene_layers`. A scene is a dataclass of tensors whose first dimension is
    the batch.

    Args:
        learning_rate: of Adam.
        learning_rate_decay: factor per thousand samples.
        learning_rate_anneal: [begin, end] in samples of a linear fall to a hundredth, for short runs.
        prediction: what `predict` renders and writes.

    Raises:
        UserError: an option out of its range.
    """

    def __init__(
        self,
        learning_rate: float,
        learning_rate_decay: float,
        learning_rate_anneal: tuple[int, int] | None,
        prediction: PredictionOptions,
    ) -> None:
        super().__init__()
        check_options(prediction)
        if learning_rate <= 0:
            raise UserError(f"model.learning_rate is {learning_rate}; expected a number above 0.")
        if not 0 < learning_rate_decay <= 1:
            raise UserError(
                f"model.learning_rate_decay is {learning_rate_decay}; expected a factor above 0 and at most 1."
            )
        if learning_rate_anneal and not 0 <= learning_rate_anneal[0] < learning_rate_anneal[1]:
            raise UserError(
                f"model.learning_rate_anneal is {list(learning_rate_anneal)}; expected [begin, end] in samples, rising."
            )
        self.learning_rate, self.learning_rate_decay = learning_rate, learning_rate_decay
        self.learning_rate_anneal = learning_rate_anneal
        self.prediction = prediction

    # What a method gives.

    loss_weights: dict[str, float]
    perceptual: PerceptualLoss

    def build(self, batch: PosedViews) -> Scene:
        """Build the scenes of a batch from its source views."""
        raise NotImplementedError

    def render(self, scene: Scene, cameras: Cameras, size: Sequence[int]) -> Rendering:
        """Render B scenes into B cameras at (height, width); features are RGB in [-1, 1]."""
        raise NotImplementedError

    def learned(self) -> Iterable[nn.Parameter]:
        """The parameters that Adam steps."""
        return self.parameters()

    def scene_layers(self, scene: Scene) -> Layers | None:
        """The scenes as layers, to be written; None where they have none."""
        return scene if isinstance(scene, Layers) else None

    def scene_rendering(self) -> RenderingOptions:
        """How `render` makes pictures of these layers."""
        return RenderingOptions()

    # What follows from it.

    def render_views(self, scene: Scene, views: Views) -> Rendering:
        """Render B scenes into the V cameras of each: B V images, scene by scene."""
        count = views["images"].shape[1]
        cameras = Cameras(views["extrinsics"].flatten(0, 1), views["intrinsics"].flatten(0, 1))
        return self.render(repeated(scene, count), cameras, views["images"].shape[-2:])

    def weighted(self, terms: dict[str, Tensor]) -> Tensor:
        """Sum of loss terms with their weights."""
        return torch.stack([self.loss_weights[name] * term for name, term in terms.items()]).sum()

    def log_terms(self, terms: dict[str, Tensor], loss: Tensor, samples: int) -> None:
        """Log every loss term, unweighted, and their weighted total; a stand-in's term under its own name."""
        names = {"perceptual": self.perceptual.name}
        logged = {f"train/{names.get(name, name)}": term.detach() for name, term in terms.items()}
        self.log_dict(logged | {"train/loss": loss.detach()}, batch_size=samples)

    def validation_step(self, batch: PosedViews, batch_idx: int) -> Paired:
        """Predict the novel views."""
        rendering = self.render_views(self.build(batch), batch["novel"])
        return paired_novel_views(batch, to_unit(rendering.features), {"depth": rendering.depth})

    test_step = validation_step

    def predict_step(self, batch: PosedViews, batch_idx: int) -> Prediction:
        """Build the scenes once and render them from the cameras that the options choose."""
        options = self.prediction
        plan = planned(options, batch)  # What is wrong shows before anything is built.
        scene = self.build(batch)
        prediction: Prediction = {"ids": batch["ids"], "frames": []}
        if options.scene:
            prediction["scene"] = self._to_write(scene)
        prediction["frames"], depth = take_pictures(
            plan, lambda cameras, size: self.render(scene, cameras, size), options.depth
        )
        if depth is not None:
            prediction["depth"] = depth
        if plan.names is not None:
            prediction["names"] = plan.names
        return prediction

    def _to_write(self, scene: Scene) -> PredictedScenes:
        layers = self.scene_layers(scene)
        if layers is None:
            raise UserError(
                f"model.prediction.scene is {list(self.prediction.scene)}, but the scenes of {type(self).__name__} are "
                "no layers that could be written; leave it empty ([])."
            )
        return PredictedScenes(layers, self.scene_rendering(), self.prediction.scene)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam; the learning rate follows the samples, not the steps."""
        return self.adam(self.learned(), self.learning_rate)

    def adam(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> OptimizerLRSchedulerConfig:
        """Adam on these parameters, from this learning rate, which falls as the options say."""
        optimizer = torch.optim.Adam(parameters, lr=learning_rate)
        samples = self.trainer.datamodule.batch_size * self.trainer.accumulate_grad_batches  # type: ignore[attr-defined]
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: learning_rate_factor(
                step * samples, self.learning_rate_decay, self.learning_rate_anneal
            ),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def source_camera(batch: PosedViews, index: int) -> Cameras:
    """The B cameras of an input view: 0 the reference, 1 the side view."""
    source = batch["source"]
    return Cameras(source["extrinsics"][:, index], source["intrinsics"][:, index])


def repeated(scene: Scene, times: int) -> Scene:
    """Each of B scenes so many times in a row; tensors, also those of its cameras, along their first dimension."""
    if times == 1:
        return scene
    assert is_dataclass(scene) and not isinstance(scene, type)
    parts = {field.name: getattr(scene, field.name) for field in fields(scene)}
    return replace(scene, **{name: _repeated_part(part, times) for name, part in parts.items()})


def _repeated_part(part: Any, times: int) -> Any:  # noqa: ANN401  a field of a scene
    if isinstance(part, Tensor):
        return part.repeat_interleave(times, dim=0)
    return repeated(part, times) if is_dataclass(part) else part


def to_unit(image: Tensor) -> Tensor:
    """From [-1, 1] to [0, 1]."""
    return (image + 1) / 2
