"""HiDT's translation network as a LightningModule: training without labels of the light (paper section 4)."""

from typing import NamedTuple

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from repsynth.batches import Generated, Paired, Patches, PhotoFiles, Relighting
from repsynth.datamodules.base import DataModule
from repsynth.exports.prediction import Prediction
from repsynth.modules.alternating_steps import AlternatingOptions, AlternatingSteps
from repsynth.modules.hidt.content_encoder import joined
from repsynth.modules.hidt.discriminators import HiDTDiscriminators
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.learning import LearningOptions, LossWeights, adams, set_rates, weighted
from repsynth.modules.hidt.losses import (
    adversarial_loss,
    discriminators_loss,
    image_losses,
    latent_losses,
    segmentation_loss,
    style_distribution_loss,
)
from repsynth.modules.hidt.options import DiscriminatorOptions, GeneratorOptions
from repsynth.modules.hidt.passes import Passes, run_passes
from repsynth.modules.hidt.relighting.checks import check_photos
from repsynth.modules.hidt.relighting.choice import Styles
from repsynth.modules.hidt.relighting.options import RelightingOptions
from repsynth.modules.hidt.relighting.prediction import begin, predict
from repsynth.modules.hidt.relighting.progress import Progress
from repsynth.modules.hidt.style_pool import StylePool, gathered
from repsynth.modules.hidt.training_data import (
    check_maps,
    check_pairs,
    check_relightings,
    maps_of,
    to_network,
    training_size,
)
from repsynth.modules.hidt.translation import decoded


class Fakes(NamedTuple):
    """Images that the generator made of B others, with the styles they were made in, all of them detached."""

    swapped: Tensor
    """[B, 3, H, W] in (-1, 1)."""
    partner_styles: Tensor
    """[B, style_size], of the swapped images."""
    randomised: Tensor
    """[B, 3, H, W] in (-1, 1)."""
    drawn: Tensor
    """[B, style_size], of the randomised images."""
    styles: Tensor
    """[B, style_size], of the images that they were made of."""

    def of(self, part: slice) -> "Fakes":
        """Those of some images."""
        return Fakes(*(values[part] for values in self))


class HiDT(AlternatingSteps):
    """Translation of photos to another light, from unaligned photos without labels (paper section 4).

    An iteration takes one batch: a step of the generator on all losses, then a step of both discriminators on the
    images that it made for that. Every image gets the style of the one before it in the batch of its rank. All terms
    are active from the first step on. Styles are to be distributed like N(0, I), so that a drawn one is a style: that
    is measured on the batch of all ranks and on the styles of earlier steps, which are in the checkpoint.

    For several devices set `trainer.strategy: ddp_find_unused_parameters_true`. `trainer.max_steps` counts the steps of
    both optimisers: two for every iteration.

    Args:
        generator: encoders and decoder. With a head for segmentation maps its maps are supervised, which keeps the
            layout of a photo: the data must then have maps, or both weights of segmentation be 0.
        discriminator: the networks that judge translations, alone and as images in their style.
        loss_weights: weights of the loss terms.
        learning: the optimisers.
        steps: gradient clipping, and memory against time, in place of the trainer's. The parts of a split batch
            exchange no styles.
        style_pool_length: styles of earlier steps that their distribution is measured on, beside those of the batch.
        detach_styles: the style of a photo does not learn to be what the encoder finds in images translated to it.
        detach_randomised: images in drawn styles do not learn to be easily reproduced.
        dequantise: add noise below one grey level to training images, so that no network learns their 256 levels.
        relighting: what `predict` makes of photographs.

    Raises:
        UserError: an option out of its range.
    """

    def __init__(
        self,
        generator: GeneratorOptions = GeneratorOptions(),  # noqa: B008  frozen
        discriminator: DiscriminatorOptions = DiscriminatorOptions(),  # noqa: B008  frozen
        loss_weights: LossWeights = LossWeights(),  # noqa: B008  frozen
        learning: LearningOptions = LearningOptions(),  # noqa: B008  frozen
        steps: AlternatingOptions = AlternatingOptions(),  # noqa: B008  frozen
        style_pool_length: int = 64,
        detach_styles: bool = False,
        detach_randomised: bool = True,
        dequantise: bool = True,
        relighting: RelightingOptions = RelightingOptions(),  # noqa: B008  frozen
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        loss_weights.check()
        learning.check()
        steps.check()
        relighting.check()
        self.relighting = relighting
        self._styles: Styles | None = None
        self.loss_weights, self.learning, self.steps = loss_weights, learning, steps
        self.detach_styles, self.detach_randomised = detach_styles, detach_randomised
        self.dequantise = dequantise
        self.generator = HiDTGenerator(generator)
        self.discriminators = HiDTDiscriminators(generator.style_size, discriminator)
        self.style_pool = StylePool(generator.style_size, style_pool_length)

    @property
    def learns_maps(self) -> bool:
        """Whether segmentation maps are predicted and supervised."""
        supervised = self.loss_weights.any("segmentation", "random_segmentation")
        return supervised and self.generator.options.segmentation != "none"

    def check(self, datamodule: DataModule) -> None:
        """Raise UserError before training when the networks cannot learn from what the data give."""
        side = training_size(datamodule)
        if side is None:  # photos to translate, from which nothing is learned
            check_photos(self.generator, None, self.relighting, datamodule)
            return
        check_relightings(datamodule)
        self.generator.check_size(*side)
        self.generator.style_encoder.check_size(*side)
        self.discriminators.check_size(*side)
        check_pairs(datamodule)
        if self.learns_maps:
            check_maps(datamodule, self.generator.options)

    # Training.

    def training_step(self, batch: Patches, batch_idx: int) -> None:
        """One iteration: the generator, then the discriminators on what it made."""
        of_generator, of_discriminators = self.own_optimizers()
        set_rates([each.optimizer for each in self.own_optimizers()], self.learning, self.iterations)
        images = to_network(batch["images"], self.dequantise)
        maps = maps_of(batch) if self.learns_maps else None
        count = len(images)
        drawn = self.draw(count)
        made: list[Fakes] = []

        def generator_loss(part: slice) -> Tensor:
            passes = run_passes(self.generator, images[part], drawn[part], maps is not None)
            made.append(fakes_of(passes, drawn[part]))
            return self.generator_loss(
                passes, images[part], drawn[part], None if maps is None else maps[part]
            )

        self.step(of_generator, generator_loss, count)
        fakes = Fakes(*(torch.cat(parts) for parts in zip(*made, strict=True)))
        if self.loss_weights.any("adversarial", "random_adversarial"):
            self.step(
                of_discriminators, lambda part: self.discriminators_loss(images[part], fakes.of(part)), count
            )
        self.style_pool.remember(gathered(fakes.styles))
        self.iterations += 1

    def generator_loss(self, passes: Passes, images: Tensor, drawn: Tensor, maps: Tensor | None) -> Tensor:
        """Log the generator's terms, and return their weighted sum.

        Args:
            passes: of the images.
            images: [B, 3, H, W], about [-1, 1].
            drawn: [B, style_size], the styles of the randomised images.
            maps: [B, H, W] classes of the images' pixels; None leaves out the terms of segmentation.
        """
        weights = self.loss_weights
        terms = image_losses(passes, images, self.detach_randomised)
        terms |= latent_losses(passes, drawn, self.detach_styles)
        if maps is not None:
            terms |= self.segmentation_losses(passes, maps)
        if weights.adversarial:
            verdicts = self.discriminators(passes.swapped.images, passes.partner_styles)
            terms["adversarial"] = adversarial_loss(verdicts)
        if weights.random_adversarial:
            terms["random_adversarial"] = adversarial_loss(
                self.discriminators(passes.randomised.images, drawn)
            )
        if weights.style_distribution:
            pool = self.style_pool.with_current(gathered(passes.styles))
            terms["style_distribution"] = style_distribution_loss(pool)
        loss, values = weighted(terms, weights)
        self.log_dict(values, batch_size=len(images))
        return loss

    def segmentation_losses(self, passes: Passes, maps: Tensor) -> dict[str, Tensor]:
        """Return how far the maps of swapped and of randomised images are from those [B, H, W] of the images."""
        colours = self.generator.options.segmentation == "colours"
        found = {"segmentation": passes.swapped.maps, "random_segmentation": passes.randomised.maps}
        return {
            name: segmentation_loss(predicted, maps, colours)
            for name, predicted in found.items()
            if predicted is not None
        }

    def discriminators_loss(self, images: Tensor, fakes: Fakes) -> Tensor:
        """Log and return the loss of both discriminators on images [B, 3, H, W] and what was made of them."""
        real, terms = self.discriminators(images, fakes.styles), []
        if self.loss_weights.adversarial:
            swapped = self.discriminators(fakes.swapped, fakes.partner_styles)
            terms.append(discriminators_loss(real, swapped))
        if self.loss_weights.random_adversarial:
            randomised = self.discriminators(fakes.randomised, fakes.drawn)
            terms.append(discriminators_loss(real, randomised))
        loss = torch.stack(terms).sum()
        self.log("train/discriminators", loss.detach(), batch_size=len(images))
        return loss

    def draw(self, count: int) -> Tensor:
        """Draw styles [count, style_size] from N(0, I); `callbacks.determinism` seeds every step."""
        return torch.randn(count, self.generator.options.style_size, device=self.device)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam for the generator and Adam for the discriminators."""
        return adams(self.generator, self.discriminators, self.learning)

    # Evaluation.

    def validation_step(self, batch: Relighting, batch_idx: int) -> Paired | Generated:
        """Translate photos to the light of others, and compare with the truth where it is known."""
        photos, lights = to_network(batch["content"]), to_network(batch["style"])
        content, styles = self.generator.encode_content(photos), self.generator.encode_style(lights)
        if "truth" not in batch:
            generated = decoded(self.generator, content, styles)
            return {"ids": batch["ids"], "generated": generated, "inputs": batch["content"]}
        own = self.generator.encode_style(photos)
        made = decoded(self.generator, joined([content] * 2), torch.cat((styles, own)))
        translated, autoencoded = made.chunk(2)
        return {
            "ids": batch["ids"],
            "predicted": translated,
            "expected": batch["truth"],
            "inputs": batch["content"],
            "panels": {"content": batch["content"], "style": batch["style"], "autoencoded": autoencoded},
        }

    test_step = validation_step

    def on_predict_start(self) -> None:
        """Find the styles that photographs are shown in."""
        self._styles = begin(self.generator, None, self.relighting, self.trainer.datamodule)  # type: ignore[attr-defined]

    def predict_step(self, batch: PhotoFiles | Relighting, batch_idx: int) -> Prediction:
        """Show photographs in other lights."""
        progress = Progress(self.trainer.progress_bar_callback is not None)
        return predict(self.generator, None, self.relighting, batch, self._styles, progress)


def fakes_of(passes: Passes, drawn: Tensor) -> Fakes:
    """Return what the passes made in the styles of partners and in drawn ones [B, style_size]."""
    images = passes.swapped.images, passes.partner_styles, passes.randomised.images, drawn, passes.styles
    return Fakes(*(values.detach() for values in images))
