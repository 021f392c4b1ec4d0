"""Inversion and inpainting: the style whose image is most like the known pixels of a photograph.

Points are independent, so only known ones are computed while a style is sought. Not in the paper's release: this
procedure is ours, with the schedule of the learning rate of StyleGAN2's projector.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from repsynth import weights as weight_files
from repsynth.batches import Photographs
from repsynth.errors import UserError
from repsynth.exports.prediction import Prediction
from repsynth.losses.perceptual import PerceptualLoss
from repsynth.metrics.psnr import decibels
from repsynth.modules.cips.sampling.draws import deviation_of_w, ensure_mean_w
from repsynth.modules.cips.sampling.objective import Objective, objective
from repsynth.modules.cips.sampling.options import InversionOptions
from repsynth.modules.cips.sampling.sampler import Sampler

NAMES = ["photograph", "reconstruction", "composite"]
"""The photograph with its unknown pixels grey, the image of the style found, and the photograph completed by it."""
_GREY = 0.5
_RISE, _FALL = 0.05, 0.25
"""Shares of the steps over which the learning rate rises and falls."""


def invert(sampler: Sampler, batch: Photographs, perceptual: PerceptualLoss | None = None) -> Prediction:
    """Find a style for every photograph; the views are `NAMES`, the figures hold the style.

    The generator's parameters get no gradients. Works inside `torch.no_grad` and `torch.inference_mode` too.

    Args:
        sampler: of photographs of any size; around a cylinder they begin at angle 0.
        batch: see `batches.Photographs`.
        perceptual: for photographs that are known everywhere.

    Raises:
        UserError: a photograph without a known pixel or too small to compare, or a learning rate with which the search
            fails.
    """
    frames, figures = [], []
    with torch.inference_mode(False), torch.enable_grad(), frozen(sampler.generator):
        ensure_mean_w(sampler.generator, sampler.options.mean_w_draws)
        deviation = deviation_of_w(sampler.generator, sampler.options.mean_w_draws)
        for name, image, known in zip(batch["ids"], batch["images"], batch["known"], strict=True):
            # What inference mode has made cannot be kept for a gradient.
            target, mask = image.clone(), known.clone()
            _require_known(name, mask)
            aim = objective(sampler, target, mask, _comparable(name, mask, perceptual))
            w = search(aim, deviation, sampler.options.inversion, name)
            made = aim.whole(w)
            frames.append(_views(target, mask, made))
            figures.append(_figures(target, mask, made, w, aim, sampler.options.inversion))
    return {"ids": batch["ids"], "frames": torch.stack(frames), "names": NAMES, "figures": figures}


def search(aim: Objective, deviation: Tensor, options: InversionOptions, name: str) -> Tensor:
    """Return the style, [style_size] or [styles, style_size], after Adam's steps from the mean style.

    Steps are taken in standard deviations of w, so that learning rates mean the same for all generators.

    Raises:
        UserError: the loss is no number any more.
    """
    mean = aim.generator.mean_w.clone()
    shape = mean.shape if options.w_space == "w" else (aim.generator.styles, *mean.shape)
    offset = torch.zeros(shape, device=mean.device, dtype=mean.dtype, requires_grad=True)
    optimizer = torch.optim.Adam([offset], lr=options.learning_rate)
    for step in range(options.steps):
        optimizer.param_groups[0]["lr"] = options.learning_rate * schedule(step, options.steps)
        loss = aim.loss(mean + deviation * offset) + options.mean_w_weight * offset.square().mean()
        if not loss.isfinite():
            raise UserError(
                f"the inversion of {name} has no finite error at step {step} of {options.steps}; lower "
                f"model.sampling.inversion.learning_rate (now {options.learning_rate:g})"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (mean + deviation * offset).detach()


def schedule(step: int, steps: int) -> float:
    """Share of the learning rate at a step, from 0: a linear rise, and half a cosine down to the end."""
    rise = min(1.0, (step + 1) / (_RISE * steps))
    fall = min(1.0, (steps - step) / (_FALL * steps))
    return rise * (0.5 - 0.5 * math.cos(math.pi * fall))


def perceptual_loss(options: InversionOptions) -> PerceptualLoss | None:
    """Return the perceptual distance that the options ask for, None where they ask for none.

    Raises:
        UserError: its weights are nowhere.
    """
    if not options.perceptual_weight:
        return None
    source = options.perceptual
    if source != weight_files.RANDOM:
        source = str(
            weight_files.resolve(weight_files.FILES["vgg19"], "model.sampling.inversion.perceptual", source)
        )
    return PerceptualLoss(source, options.perceptual_levels)


@contextmanager
def frozen(generator: nn.Module) -> Iterator[None]:
    """Want no gradients of the parameters inside the block."""
    learning = [parameter for parameter in generator.parameters() if parameter.requires_grad]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _comparable(name: str, known: Tensor, perceptual: PerceptualLoss | None) -> PerceptualLoss | None:
    """The perceptual distance, where all pixels are known to compare."""
    if perceptual is None:
        return None
    if not known.all():
        warnings.warn(f"{name} has unknown pixels: the perceptual distance is left out for it", stacklevel=3)
        return None
    smallest, (height, width) = 2 ** (perceptual.levels - 1), known.shape[-2:]
    if min(height, width) < smallest:
        raise UserError(
            f"the photograph {name} has {height}x{width} pixels, and model.sampling.inversion.perceptual_levels "
            f"{perceptual.levels} needs sides of at least {smallest}; lower it or raise data.image_size"
        )
    return perceptual


def _require_known(name: str, known: Tensor) -> None:
    if not known.any():
        raise UserError(f"no pixel of the photograph {name} is known; its mask must be white somewhere")


def _views(image: Tensor, known: Tensor, made: Tensor) -> Tensor:
    """The three views [3, 3, H, W] as bytes."""
    views = torch.stack((image.where(known, _GREY), made, image.where(known, made)))
    return views.mul(255).round().byte().cpu()


def _figures(
    image: Tensor, known: Tensor, made: Tensor, w: Tensor, aim: Objective, options: InversionOptions
) -> dict[str, Any]:
    error = (made - image).square().mean(0)[known[0]].mean()
    return {
        "psnr_of_known_pixels": float(decibels(error)),
        "known_pixels": int(known.sum()),
        "pixels": known.numel(),
        "steps": options.steps,
        "terms": aim.terms(),
        "w_space": options.w_space,
        "w": w.tolist(),
    }
