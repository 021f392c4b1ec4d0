"""HiDT's enhancer as a LightningModule: trained on top of a frozen translation network (paper section 5)."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from repsynth.batches import Generated, Paired, Patches, PhotoFiles, Relighting
from repsynth.datamodules.base import DataModule
from repsynth.errors import UserError, require_at_least
from repsynth.exports.prediction import Prediction
from repsynth.losses.least_squares import least_squares_discriminator_loss, least_squares_generator_loss
from repsynth.losses.perceptual import PerceptualLoss
from repsynth.losses.reconstruction import l1
from repsynth.modules.alternating_steps import AlternatingOptions, AlternatingSteps
from repsynth.modules.hidt.batch_crops import batch_crops, enlarged, reduced
from repsynth.modules.hidt.enhancer import Enhancer
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.learning import (
    EnhancerLossWeights,
    JudgeOptions,
    LearningOptions,
    StyleChoice,
    adams,
    set_rates,
    weighted,
)
from repsynth.modules.hidt.losses import absolute_feature_matching, crops_consistency
from repsynth.modules.hidt.options import Border, EnhancerOptions, GeneratorOptions
from repsynth.modules.hidt.passes import of_partners
from repsynth.modules.hidt.preparation import to_unit
from repsynth.modules.hidt.relighting.checks import check_photos
from repsynth.modules.hidt.relighting.choice import Styles
from repsynth.modules.hidt.relighting.options import RelightingOptions
from repsynth.modules.hidt.relighting.prediction import begin, predict
from repsynth.modules.hidt.relighting.progress import Progress
from repsynth.modules.hidt.training_data import (
    check_factor,
    check_pairs,
    check_relightings,
    to_network,
    training_size,
)
from repsynth.modules.hidt.translation import decoded
from repsynth.modules.hidt.translation_weights import load_translation
from repsynth.nn.patch_discriminator import PatchDiscriminator


class HiDTEnhancer(AlternatingSteps):
    """Enhancement of translations to a multiple of their size, trained on photos of that size (paper section 5).

    In an iteration the shifted crops of a batch of photos are translated twice by the frozen network, without a
    gradient: in their photo's own style, so that the photo is what the enhancer has to make of them, and in another
    style, for which there is no truth but the crops themselves. A step of the enhancer on all losses is followed by a
    step of its discriminator. Order and losses are pix2pixHD's; how the paper weighs them is not known.

    A checkpoint holds the translation network too: evaluation and prediction need no other file.

    For several devices set `trainer.strategy: ddp_find_unused_parameters_true`. `trainer.max_steps` counts the steps of
    both optimisers: two for every iteration.

    Args:
        translation: checkpoint or exported weights of a trained `HiDT`, whose generator is taken, averaged where it
            was. null, or a file that is gone, leaves it to the weights that a run starts from.
        generator: encoders and decoder of that network, as it was trained.
        enhancer: the network that learns.
        discriminator: the network that judges what it makes.
        loss_weights: weights of the loss terms.
        learning: the optimisers.
        steps: gradient clipping, and memory against time, in place of the trainer's.
        styles: swapped or random, the other styles.
        crops_at_once: crops of all photos of a device that are translated together: memory against time.
        border: black or reflect, what is outside of photo and crops, see `Border`; the same in prediction.
        perceptual: VGG19 weights: a file, `auto` (looked for, see `repsynth doctor`) or `random`, an offline stand-in
            whose term is called `perceptual_random`.
        perceptual_levels: how many of the five feature levels are compared.
        relighting: what `predict` makes of photographs.

    Raises:
        UserError: an option out of its range, or a file that does not fit.
    """

    def __init__(
        self,
        translation: str | None = None,
        generator: GeneratorOptions = GeneratorOptions(),  # noqa: B008  frozen
        enhancer: EnhancerOptions = EnhancerOptions(),  # noqa: B008  frozen
        discriminator: JudgeOptions = JudgeOptions(),  # noqa: B008  frozen
        loss_weights: EnhancerLossWeights = EnhancerLossWeights(),  # noqa: B008  frozen
        learning: LearningOptions = LearningOptions(beta1=0.9, halve_every=None),  # noqa: B008  frozen
        steps: AlternatingOptions = AlternatingOptions(),  # noqa: B008  frozen
        styles: StyleChoice = "swapped",
        crops_at_once: int = 16,
        border: Border = "black",
        perceptual: str = "auto",
        perceptual_levels: Literal[1, 2, 3, 4, 5] = 5,
        relighting: RelightingOptions = RelightingOptions(resolution="enhanced"),  # noqa: B008  frozen
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        loss_weights.check()
        learning.check()
        steps.check()
        require_at_least("model", 1, crops_at_once=crops_at_once)
        relighting.check()
        self.relighting = replace(relighting, enhancement=replace(relighting.enhancement, border=border))
        self._styles: Styles | None = None
        self.loss_weights, self.learning, self.steps = loss_weights, learning, steps
        self.styles, self.crops_at_once, self.border = styles, crops_at_once, border
        self.generator = HiDTGenerator(generator).requires_grad_(False).eval()
        self.translation, self.translates = translation, False
        if translation is not None and Path(translation).is_file():
            load_translation(self.generator, Path(translation))
            self.translates = True
        self.enhancer = Enhancer(enhancer)
        self.discriminator = PatchDiscriminator(
            3, discriminator.width, discriminator.levels, discriminator.scales, discriminator.spectral
        )
        self.perceptual = PerceptualLoss(perceptual, perceptual_levels) if loss_weights.perceptual else None

    @property
    def learns_others(self) -> bool:
        """Whether photos in other styles teach anything."""
        return self.loss_weights.any("other_adversarial", "consistency")

    def check(self, datamodule: DataModule) -> None:
        """Raise UserError before training when the networks cannot learn from what the data give."""
        size = training_size(datamodule)
        if size is None:  # photos to translate, from which nothing is learned
            check_photos(self.generator, self.enhancer, self.relighting, datamodule)
            return
        check_relightings(datamodule)
        factor = self.enhancer.factor
        check_factor(size, factor, self.generator.side_multiple)
        self.generator.check_size(size[0] // factor, size[1] // factor)
        self.generator.style_encoder.check_size(size[0] // factor, size[1] // factor)
        self.discriminator.check_size(*size)
        if self.learns_others and self.styles == "swapped":
            check_pairs(datamodule)

    def train(self, mode: bool = True) -> "HiDTEnhancer":
        """Set the mode of all parts but the translation network, which is never in training."""
        super().train(mode)
        self.generator.eval()
        return self

    def load_state_dict(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  those of the base
        """Take weights, those of the translation network among them."""
        loaded = super().load_state_dict(*arguments, **options)
        self.translates = True
        return loaded

    # Training.

    def on_fit_start(self) -> None:
        """Raise UserError where a network with random weights would be enhanced."""
        # The translation network is meant to be.
        warnings.filterwarnings(
            "ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training"
        )
        if not self.translates:
            found = "null" if self.translation is None else f"{self.translation}, and there is no such file"
            raise UserError(
                f"model.translation is {found}; expected the checkpoint of a trained HiDT, such as "
                "runs/hidt-synthetic/checkpoints/best.ckpt"
            )

    def training_step(self, batch: Patches, batch_idx: int) -> None:
        """One iteration: the enhancer, then the discriminator on what it made."""
        of_enhancer, of_discriminator = self.own_optimizers()
        set_rates([each.optimizer for each in self.own_optimizers()], self.learning, self.iterations)
        photos, count = batch["images"], len(batch["images"])
        stacks = self.stacks(photos, self.wanted_styles(photos))
        made: list[Tensor] = []

        def enhancer_loss(part: slice) -> Tensor:
            enhanced = self.enhanced(stacks[part])
            made.append(enhanced.detach())
            return self.enhancer_loss(photos[part], enhanced, stacks[part])

        self.step(of_enhancer, enhancer_loss, count)
        if self.loss_weights.any("adversarial", "feature_matching", "other_adversarial"):
            fakes = torch.cat(made)
            self.step(
                of_discriminator, lambda part: self.discriminator_loss(photos[part], fakes[part]), count
            )
        self.iterations += 1

    @torch.no_grad()
    def wanted_styles(self, photos: Tensor) -> Tensor:
        """Return the styles [B, 1 or 2, style_size] of photos [B, 3, f h, f w] in [0, 1]: their own, and others."""
        own = self.generator.encode_style(to_network(reduced(photos, self.enhancer.factor)))
        if not self.learns_others:
            return own[:, None]
        other = of_partners(own) if self.styles == "swapped" else torch.randn_like(own)
        return torch.stack((own, other), dim=1)

    @torch.no_grad()
    def stacks(self, photos: Tensor, styles: Tensor) -> Tensor:
        """Return the translated crops of photos, as the enhancer takes them.

        Args:
            photos: [B, 3, f h, f w] in [0, 1].
            styles: [B, S, style_size], those that each of them is shown in.

        Returns:
            [B, S, 3 f^2, h, w] in [-1, 1].
        """
        factor, at_once = self.enhancer.factor, self.crops_at_once
        crops = to_network(batch_crops(photos, factor, self.border))
        in_styles = styles.repeat_interleave(crops.shape[1], dim=0)
        made = []
        for part, wanted in zip(crops.flatten(0, 1).split(at_once), in_styles.split(at_once), strict=True):
            content = self.generator.encode_content(part)
            made.append(
                torch.stack([decoded(self.generator, content, each) for each in wanted.unbind(1)], dim=1)
            )
        translated = torch.cat(made).unflatten(0, crops.shape[:2]).transpose(1, 2)
        return self.enhancer.stack(translated.flatten(0, 1), self.border).unflatten(0, styles.shape[:2])

    def enhanced(self, stacks: Tensor) -> Tensor:
        """Return what the enhancer makes of stacks [B, S, 3 f^2, h, w]: [B, S, 3, f h, f w], about [-1, 1]."""
        images: Tensor = self.enhancer(stacks.flatten(0, 1))
        return images.unflatten(0, stacks.shape[:2])

    def enhancer_loss(self, photos: Tensor, enhanced: Tensor, stacks: Tensor) -> Tensor:
        """Log the enhancer's terms, and return their weighted sum.

        Args:
            photos: [B, 3, f h, f w] in [0, 1].
            enhanced: [B, S, 3, f h, f w], about [-1, 1]: in their own styles, then in others.
            stacks: [B, S, 3 f^2, h, w] in [-1, 1], what they were made of.
        """
        weights, own, target = self.loss_weights, enhanced[:, 0], to_network(photos)
        terms = {"l1": l1(own, target)}
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual((own + 1) / 2, photos)
        if weights.any("adversarial", "feature_matching"):
            of_own = self.discriminator(own)
            terms["adversarial"] = least_squares_generator_loss(of_own.scores)
            if weights.feature_matching:
                with torch.no_grad():
                    of_target = self.discriminator(target)
                terms["feature_matching"] = absolute_feature_matching(of_target.features, of_own.features)
        if weights.other_adversarial:
            terms["other_adversarial"] = least_squares_generator_loss(
                self.discriminator(enhanced[:, 1]).scores
            )
        if weights.consistency:
            terms["consistency"] = self._consistency(enhanced[:, 1], stacks[:, 1])
        loss, values = weighted(terms, weights)
        if self.perceptual is not None:
            values[f"train/{self.perceptual.name}"] = values.pop("train/perceptual")
        self.log_dict(values, batch_size=len(photos))
        return loss

    def _consistency(self, enhanced: Tensor, stacks: Tensor) -> Tensor:
        """Of images [B, 3, f h, f w], about [-1, 1], with the stacks [B, 3 f^2, h, w] that they were made of."""
        crops = batch_crops((enhanced.float() + 1) / 2, self.enhancer.factor, self.border)
        return crops_consistency(self.enhancer.stack(crops, self.border), stacks)

    def discriminator_loss(self, photos: Tensor, enhanced: Tensor) -> Tensor:
        """Log and return the discriminator's loss on photos, and on [B, S, 3, f h, f w] that were made of them."""
        real = self.discriminator(to_network(photos)).scores
        judged = [self.discriminator(images).scores for images in enhanced.unbind(1)]
        loss = torch.stack([least_squares_discriminator_loss(real, fake) for fake in judged]).sum()
        self.log("train/discriminator", loss.detach(), batch_size=len(photos))
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam for the enhancer and Adam for the discriminator."""
        return adams(self.enhancer, self.discriminator, self.learning)

    # Evaluation.

    @torch.no_grad()
    def validation_step(self, batch: Relighting, batch_idx: int) -> Paired | Generated:
        """Translate photos to the light of others, enhance them, and compare with the truth where it is known."""
        factor, photos = self.enhancer.factor, batch["content"]
        styles = self.generator.encode_style(to_network(reduced(batch["style"], factor)))
        predicted = to_unit(self.enhanced(self.stacks(photos, styles[:, None]))[:, 0])
        if "truth" not in batch:
            return {"ids": batch["ids"], "generated": predicted, "inputs": photos}
        content = self.generator.encode_content(to_network(reduced(photos, factor)))
        plain = enlarged(decoded(self.generator, content, styles), factor)
        return {
            "ids": batch["ids"],
            "predicted": predicted,
            "expected": batch["truth"],
            "inputs": photos,
            "panels": {"content": photos, "style": batch["style"], "bicubic": plain},
        }

    test_step = validation_step

    def on_predict_start(self) -> None:
        """Find the styles that photographs are shown in."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self._styles = begin(self.generator, self.enhancer, self.relighting, data)

    def predict_step(self, batch: PhotoFiles | Relighting, batch_idx: int) -> Prediction:
        """Show photographs in other lights."""
        progress = Progress(self.trainer.progress_bar_callback is not None)
        return predict(self.generator, self.enhancer, self.relighting, batch, self._styles, progress)
