"""CIPS as a LightningModule: adversarial training of a generator whose pixels are computed one by one."""

import math
from dataclasses import asdict
from typing import Literal, NamedTuple, Protocol

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from repsynth.batches import Generated, Numbered, Patches, Photographs
from repsynth.datamodules.base import HasImageSize
from repsynth.datamodules.image_sets import check_asks_for
from repsynth.errors import UserError
from repsynth.exports.prediction import Prediction
from repsynth.losses.adversarial import discriminator_loss, generator_loss, r1_penalty
from repsynth.losses.perceptual import PerceptualLoss
from repsynth.modules.alternating_steps import AlternatingOptions, AlternatingSteps
from repsynth.modules.cips.coordinates import (
    panorama_window_coordinates,
    pixel_coordinates,
    window_coordinates,
)
from repsynth.modules.cips.discriminator import CIPSDiscriminator
from repsynth.modules.cips.generator import CIPSGenerator
from repsynth.modules.cips.growing import grown
from repsynth.modules.cips.options import DiscriminatorOptions, GeneratorOptions, LearningOptions
from repsynth.modules.cips.sampling.canvas import Canvas
from repsynth.modules.cips.sampling.checks import check_options
from repsynth.modules.cips.sampling.draws import renew_mean_w
from repsynth.modules.cips.sampling.inversion import perceptual_loss
from repsynth.modules.cips.sampling.options import SamplingOptions
from repsynth.modules.cips.sampling.panorama import require_cylinder
from repsynth.modules.cips.sampling.prediction import predict
from repsynth.modules.cips.sampling.sampler import Sampler
from repsynth.modules.cips.sampling.samples import numbered_images


class HasPatches(HasImageSize, Protocol):
    """A data module of square images to train on, cut to patches or whole."""

    patch_size: int | None


class Points(NamedTuple):
    """Where the pixels of a batch of patches are."""

    plane: Tensor
    """[B, c, c, 2], or [1, c, c, 2] for all alike."""
    given: Tensor
    """The generator's coordinates: the same, or [B, c, c, 3] around a cylinder."""
    full_grid: bool
    """Whether they are the generator's whole training grid."""

    def of(self, part: slice) -> "Points":
        """Those of some samples."""
        plane, given = (points if len(points) == 1 else points[part] for points in self[:2])
        return self._replace(plane=plane, given=given)


class CIPS(AlternatingSteps):
    """Unconditional generation of images, every pixel by itself (paper sections 3 and 4, official code).

    An iteration takes one batch of real patches: a step of the discriminator, in every `r1_every`th iteration another
    one of the gradient penalty alone, a step of the generator with new latents at the same coordinates. Under DDP every
    rank draws its own latents, and its own scale of patches. `trainer.max_steps` counts steps of optimisers: two per
    iteration, and one for every penalty. For several devices set `trainer.strategy: ddp_find_unused_parameters_true`.

    On a cylinder (`generator.surface`) training images are ordinary photographs, and every generated image is a window
    of the cylinder at a random angle, so that a panorama is what all of them agree on. The paper shows such panoramas,
    its code does not make them: this procedure is ours.

    Args:
        generator: the network that makes images.
        discriminator: the network that judges them.
        learning: losses and optimisers.
        steps: gradient clipping, and memory against time, in place of the trainer's.
        noise: random gives every pixel noise with a learned strength, in evaluation too, as released; none gives none.
        points_at_once: pixels of all images of a rank that the generator computes together; null computes all. Fewer
            need less memory, and are computed once more in the backward pass.
        turn: part of the whole turn that one training image shows, on a cylinder.
        sampling: what `predict` makes.

    Raises:
        UserError: an option out of its range, or options that exclude each other.
    """

    def __init__(
        self,
        generator: GeneratorOptions = GeneratorOptions(),  # noqa: B008
        discriminator: DiscriminatorOptions = DiscriminatorOptions(),  # noqa: B008
        learning: LearningOptions = LearningOptions(),  # noqa: B008
        steps: AlternatingOptions = AlternatingOptions(),  # noqa: B008  frozen
        noise: Literal["random", "none"] = "random",
        points_at_once: int | None = None,
        turn: float = 0.25,
        sampling: SamplingOptions = SamplingOptions(),  # noqa: B008
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        learning.check()
        steps.check()
        if not 0 < turn <= 1:
            raise UserError(
                f"model.turn is {turn}; expected a part of the whole turn, above 0 and at most 1."
            )
        check_options(sampling)
        self.learning, self.steps, self.sampling = learning, steps, sampling
        self.noise, self.points_at_once, self.turn = noise, points_at_once, turn
        self.generator = CIPSGenerator(**asdict(generator))
        self.shows_coordinates = discriminator.coordinates
        self.discriminator = CIPSDiscriminator(
            discriminator.size,
            5 if discriminator.coordinates else 3,
            discriminator.first_layers,
            discriminator.width,
        )
        if sampling.task == "panorama":
            require_cylinder(self.generator)
        self._perceptual: PerceptualLoss | None = None

    def check(self, datamodule: HasPatches | HasImageSize) -> None:
        """Raise UserError for data that ask for relightings, or patches of a size that the discriminator cannot see."""
        check_asks_for(datamodule, "samples", "CIPS", "ImageFolder or SyntheticImages")
        if not hasattr(datamodule, "patch_size"):  # photographs to invert, which no discriminator sees
            return
        side = datamodule.patch_size
        self.discriminator.check_size(*(datamodule.image_size if side is None else (side, side)))

    def adapted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights to start from for a checkpoint's (`--init_from`), which may be of another image size."""
        prefix = "discriminator."
        learned = {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
        others = {name: value for name, value in state.items() if not name.startswith(prefix)}
        return others | {
            f"{prefix}{name}": value for name, value in grown(self.discriminator, learned).items()
        }

    def training_step(self, batch: Patches, batch_idx: int) -> None:
        """One iteration: discriminator, penalty where it is due, generator."""
        of_generator, of_discriminator = self.own_optimizers()
        real, points = batch["images"] * 2 - 1, self.points(batch)
        count = len(real)
        due = self.learning.r1_gamma > 0 and self.iterations % self.learning.r1_every == 0
        joint = due and self.learning.r1_step == "joint"

        z = self.draw(count)
        self.step(
            of_discriminator,
            lambda part: self.discriminator_loss(real[part], z[part], points.of(part), joint),
            count,
        )
        if due and not joint:
            self.step(of_discriminator, lambda part: self.r1_loss(real[part], points.of(part)), count)
        z = self.draw(count)
        self.step(of_generator, lambda part: self.generator_loss(z[part], points.of(part)), count)
        if self.last_r1 is not None:  # in every line: the loggers' interval may never meet the penalty's
            self.log("train/r1", self.last_r1, batch_size=count)
        self.iterations += 1

    def discriminator_loss(self, real: Tensor, z: Tensor, points: Points, with_r1: bool) -> Tensor:
        """Log and return the logistic loss of real images [B, 3, c, c] and of generated ones, latents z [B, style]."""
        with torch.no_grad():
            fake = self.images(z, points)
        of_real, of_fake = self.scores(real, points), self.scores(fake, points)
        loss = discriminator_loss([of_real], [of_fake])
        logged = {"discriminator": loss, "score_of_real": of_real.mean(), "score_of_fake": of_fake.mean()}
        self.log_dict(
            {f"train/{name}": value.detach() for name, value in logged.items()}, batch_size=len(real)
        )
        return loss + self.r1_loss(real, points) if with_r1 else loss

    def r1_loss(self, real: Tensor, points: Points) -> Tensor:
        """Return the weighted gradient penalty on real images, and on their coordinates where these are shown."""
        # Not by calling the module: a compiled one cannot be differentiated twice.
        shown = self._shown(real, points)
        penalty = r1_penalty(lambda images: [self.discriminator.forward(images)], shown)
        self.last_r1 = penalty.detach()
        return self.learning.r1_gamma / 2 * self.learning.r1_every * penalty

    def generator_loss(self, z: Tensor, points: Points) -> Tensor:
        """Log and return the non-saturating loss of generated images, latents z [B, style]."""
        loss = generator_loss([self.scores(self.images(z, points), points)])
        self.log_dict({"train/generator": loss.detach(), "train/loss": loss.detach()}, batch_size=len(z))
        return loss

    def images(self, z: Tensor, points: Points) -> Tensor:
        """Generate patches [B, 3, c, c], about [-1, 1]."""
        made: Tensor = self.generator(z, points.given, points.full_grid, self.noise, self.points_at_once)
        return made

    def scores(self, images: Tensor, points: Points) -> Tensor:
        """Judge patches [B, 3, c, c] in [-1, 1]; returns [B, 1]."""
        judged: Tensor = self.discriminator(self._shown(images, points))
        return judged

    def draw(self, count: int) -> Tensor:
        """Draw latents z [count, style_size]; `callbacks.determinism` seeds every step."""
        return torch.randn(count, self.generator.style_size, device=self.device)

    def points(self, batch: Patches) -> Points:
        """Return where the pixels of a training batch are; around a cylinder at angles drawn here."""
        images, windows, (height, width) = batch["images"], batch["windows"], batch["image_size"]
        side, size = images.shape[-1], (height, width)
        if size == (side, side):
            plane = pixel_coordinates(side, side, device=images.device)[None]
        else:
            plane = window_coordinates(windows, side, size)
        if self.generator.surface == "plane":
            return Points(plane, plane, size == (side, side) == (self.generator.grid_size,) * 2)
        starts = 2 * math.pi * torch.rand(len(images), device=images.device)
        return Points(plane, panorama_window_coordinates(windows, side, size, starts, self.turn), False)

    # Evaluation and samples.

    def on_validation_start(self) -> None:
        """Keep the mean style of the averaged weights, which are in place by now: truncation draws to it."""
        renew_mean_w(self.generator, self.sampling.mean_w_draws)

    on_test_start = on_validation_start

    def on_predict_start(self) -> None:
        """Keep the mean style, and find the weights of what photographs are compared by."""
        self.on_validation_start()
        if self.sampling.task == "inversion":
            found = perceptual_loss(self.sampling.inversion)
            # Not registered: it is no part of a checkpoint.
            object.__setattr__(self, "_perceptual", None if found is None else found.to(self.device))

    def validation_step(self, batch: Numbered, batch_idx: int) -> Generated:
        """Generate the samples of some numbers at the data's size, without truncation, as published figures are."""
        sampler = Sampler(self.generator, SamplingOptions(), self.canvas())
        made = numbered_images(sampler, batch["seeds"], batch["numbers"])
        return {"ids": batch["ids"], "generated": (made + 1) / 2}

    test_step = validation_step

    def predict_step(self, batch: Numbered | Photographs, batch_idx: int) -> Prediction:
        """Carry out the task of the sampling options."""
        loader = getattr(self._data, "real_loader", None)
        real = None if loader is None else lambda: (each["images"] for each in loader("test", sharded=False))
        made = predict(self.generator, self.sampling, batch, self.canvas(), real, self._perceptual)
        ids = [f"{self.sampling.task}_{name}" for name in made["ids"]]  # tasks overwrite no other's files
        return {**made, "ids": ids}

    def canvas(self) -> Canvas:
        """Return what an image of the data is to the generator."""
        return Canvas(self._data.image_size, self.turn, self.noise)

    @property
    def _data(self) -> HasImageSize:
        data: HasImageSize = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam for the generator and Adam for the discriminator, scaled for the steps that regularisation adds."""
        learning = self.learning
        return [
            self._adam(self.generator, learning.generator_ratio),
            self._adam(self.discriminator, learning.discriminator_ratio),
        ]

    def _adam(self, network: nn.Module, ratio: float) -> torch.optim.Adam:
        rate, beta2 = self.learning.learning_rate * ratio, self.learning.beta2**ratio
        return torch.optim.Adam(network.parameters(), lr=rate, betas=(0.0, beta2), eps=1e-8)

    def _shown(self, images: Tensor, points: Points) -> Tensor:
        """What the discriminator sees of images: with the coordinates x and y as two more channels if it shall."""
        if not self.shows_coordinates:
            return images
        places = points.plane.movedim(-1, 1).to(images.dtype).expand(len(images), -1, -1, -1)
        return torch.cat((images, places), dim=1)
