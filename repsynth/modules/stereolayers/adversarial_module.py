"""StereoLayers with a discriminator of the novel views, which RAW texturing needs (paper sections 3.3 and 3.4)."""

from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from repsynth.batches import PosedViews
from repsynth.datamodules.base import HasImageSize
from repsynth.errors import UserError, require_at_least
from repsynth.geometry.layered_scene import Layers
from repsynth.geometry.rendering import Rendering
from repsynth.losses.adversarial import (
    AdversarialForm,
    discriminator_loss,
    feature_matching,
    generator_loss,
    r1_penalty,
)
from repsynth.modules.manual_steps import ManualSteps, StepOptions
from repsynth.modules.stereolayers.module import LossWeights, StereoLayers
from repsynth.modules.stereolayers.texturing import Texturing
from repsynth.nn.patch_discriminator import PatchDiscriminator


@dataclass(frozen=True)
class AdversarialWeights(LossWeights):
    """Weights of the loss terms (paper section 3.4).

    Args:
        l1: of the generator, like all but the last.
        r1: of the discriminator's gradient penalty, beside its adversarial loss of weight 1.
    """

    adversarial: float = 5.0
    feature_matching: float = 5.0
    r1: float = 1e-4


@dataclass(frozen=True)
class DiscriminatorOptions:
    """The discriminator, and how it learns.

    Args:
        form: of the adversarial loss: logistic (non-saturating) or hinge.
        width: channels of its first convolution.
        levels: convolutions of stride 2 of each scale.
        scales: how many sizes of the novel views it judges.
        spectral: spectral normalisation of its convolutions.
        learning_rate: of its Adam; decay and annealing are the generator's.
        r1_every: iterations from one gradient penalty to the next, which weighs so many times more.
    """

    form: AdversarialForm = "logistic"
    width: int = 64
    levels: int = 3
    scales: int = 2
    spectral: bool = False
    learning_rate: float = 3e-4
    r1_every: int = 16

    def check(self) -> None:
        """Raise UserError for an option out of its range that the network does not look at."""
        require_at_least("model", 1, **{"discriminator.r1_every": self.r1_every})
        if self.learning_rate <= 0:
            raise UserError(
                f"model.discriminator.learning_rate is {self.learning_rate}; expected a number above 0."
            )


class AdversarialStereoLayers(ManualSteps, StereoLayers):
    """StereoLayers whose novel views are judged by a discriminator, with any texturing.

    Images that the discriminator sees, true and rendered, are zero where the layers do not cover the novel view, and
    carry the coverage as a fourth channel, so that it cannot tell them apart by their holes.

    Paper and official code give the weights, the gradient penalty and the squared feature matching, but not the network
    nor the form of the loss. Here it is a patch discriminator of two scales without normalisation, as feature matching
    comes from one (pix2pixHD) and the generator fails locally, in stretched faces and ghosts of a few pixels; with the
    non-saturating logistic loss, for which R1 was made. Novel views between reference and novel camera, which the
    official code can show to the discriminator too, are not offered: it is not known what they are compared with.

    For several devices set `trainer.strategy: ddp_find_unused_parameters_true`. Take bf16-mixed for mixed precision;
    16-mixed works, but gains nothing over it. `trainer.max_steps` counts the steps of both optimisers.

    Args:
        texturing: RAW (colours are predicted), RSBg or RBg.
        loss_weights: weights of the loss terms.
        discriminator: the network that judges novel views, and how it learns.
        steps: gradient clipping and accumulation, in place of the trainer's.
        options: all others of `StereoLayers`.

    Raises:
        UserError: an option out of its range, options that exclude each other, or a back end that is not installed.
    """

    has_discriminator = True

    def __init__(
        self,
        texturing: Texturing = "RAW",
        loss_weights: AdversarialWeights = AdversarialWeights(),
        discriminator: DiscriminatorOptions = DiscriminatorOptions(),
        steps: StepOptions = StepOptions(),  # noqa: B008  frozen
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(texturing=texturing, loss_weights=loss_weights, **options)
        self.automatic_optimization = False
        discriminator.check()
        steps.check()
        if not (loss_weights.adversarial or loss_weights.feature_matching):
            raise UserError(
                "model.loss_weights.adversarial and feature_matching are 0, so the discriminator teaches nothing; give "
                "one of them a weight, or use StereoLayers, which has none."
            )
        self.steps, self.discriminator_options = steps, discriminator
        self.discriminator = PatchDiscriminator(
            4, discriminator.width, discriminator.levels, discriminator.scales, discriminator.spectral
        )

    def check(self, datamodule: HasImageSize) -> None:
        """Raise UserError before training when a network cannot take the data's image size."""
        super().check(datamodule)
        self.discriminator.check_size(*datamodule.image_size)

    def training_step(self, batch: PosedViews, batch_idx: int) -> None:  # type: ignore[override]
        """Render the novel views once; discriminator and generator learn from them, and step together."""
        of_generator, of_discriminator = self.own_optimizers()
        layers = self.build(batch)
        rendering = self.render_views(layers, batch["novel"])
        expected = batch["novel"]["images"].flatten(0, 1)
        real, fake = judged_images(rendering, expected)
        self.learn(of_discriminator, lambda: self.discriminator_loss(real, fake.detach()), batch_idx)
        self.learn(
            of_generator, lambda: self.generator_loss(layers, rendering, expected, real, fake), batch_idx
        )
        self.step_all(batch_idx)

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Log the discriminator's terms for images [N, 4, H, W], and return their weighted sum."""
        of_real, of_fake = self.discriminator(real), self.discriminator(fake)
        loss = discriminator_loss(of_real.scores, of_fake.scores, self.discriminator_options.form)
        logged: dict[str, Tensor | float] = {"train/discriminator": loss.detach()}
        every, weight = self.discriminator_options.r1_every, self.loss_weights["r1"]
        if weight and self.iterations % every == 0:
            # Not by calling the module: a compiled one cannot be differentiated twice.
            penalty = r1_penalty(lambda images: self.discriminator.forward(images).scores, real)
            loss = loss + weight * every * penalty
            self.last_r1 = penalty.detach()
        if self.last_r1 is not None:  # in every line: the loggers' interval may never meet the penalty's
            logged["train/r1"] = self.last_r1
        if self.loggers_are_due():
            logged["train/score_of_real"] = _mean_score(of_real.scores)
            logged["train/score_of_fake"] = _mean_score(of_fake.scores)
        self.log_dict(logged | {"train/discriminator_loss": loss.detach()}, batch_size=len(real))
        return loss

    def generator_loss(
        self, layers: Layers, rendering: Rendering, expected: Tensor, real: Tensor, fake: Tensor
    ) -> Tensor:
        """Log the generator's terms, and return their weighted sum.

        Args:
            layers: B scenes.
            rendering: N novel views of them.
            expected: [N, 3, H, W] in [0, 1], their truth.
            real, fake: [N, 4, H, W], what the discriminator sees of truth and rendering.
        """
        terms = self.loss_terms(layers, rendering, expected)
        of_fake = self.discriminator(fake)
        if self.loss_weights["adversarial"]:
            terms["adversarial"] = generator_loss(of_fake.scores, self.discriminator_options.form)
        if self.loss_weights["feature_matching"]:
            with torch.no_grad():
                of_real = self.discriminator(real)
            terms["feature_matching"] = feature_matching(of_real.features, of_fake.features)
        loss = self.weighted(terms)
        self.log_layers(terms, loss, layers)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam for the generator and Adam for the discriminator; both learning rates follow the samples."""
        return [
            self.adam(self.learned(), self.learning_rate),
            self.adam(self.discriminator.parameters(), self.discriminator_options.learning_rate),
        ]


def judged_images(rendering: Rendering, expected: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a discriminator sees of true and of rendered views, [N, 4, H, W] each (official code).

    Colours in [-1, 1], zero where no layer covers the pixel, then the coverage, 0 or 1.

    Args:
        rendering: N views.
        expected: [N, 3, H, W] in [0, 1].
    """
    covered = (rendering.opacity > 0).float()
    real, fake = (
        torch.cat((images * covered, covered), dim=1) for images in (expected * 2 - 1, rendering.features)
    )
    return real, fake


def _mean_score(scores: list[Tensor]) -> Tensor:
    return torch.stack([each.detach().float().mean() for each in scores]).mean()
