"""One entry for all tasks: what `predict_step` returns for a batch."""

from typing import cast

import torch

from repsynth.batches import Numbered, Photographs
from repsynth.errors import UserError
from repsynth.exports.prediction import Prediction
from repsynth.losses.perceptual import PerceptualLoss
from repsynth.modules.cips.generator import CIPSGenerator
from repsynth.modules.cips.sampling.canvas import Canvas
from repsynth.modules.cips.sampling.draws import ensure_mean_w
from repsynth.modules.cips.sampling.foveated import foveated_images
from repsynth.modules.cips.sampling.inversion import invert
from repsynth.modules.cips.sampling.options import SamplingOptions
from repsynth.modules.cips.sampling.panorama import panoramas
from repsynth.modules.cips.sampling.sampler import Sampler
from repsynth.modules.cips.sampling.samples import grids, samples
from repsynth.modules.cips.sampling.spectra import RealBatches, compared_spectra
from repsynth.modules.cips.sampling.videos import interpolations, zooms

_OF_NUMBERS = {
    "samples": samples,
    "grid": grids,
    "interpolation": interpolations,
    "zoom": zooms,
    "foveated": foveated_images,
    "panorama": panoramas,
}


def predict(
    generator: CIPSGenerator,
    options: SamplingOptions,
    batch: Numbered | Photographs,
    canvas: Canvas,
    real: RealBatches | None = None,
    perceptual: PerceptualLoss | None = None,
) -> Prediction:
    """Carry out the task of the options, which `checks.check_options` has passed.

    Args:
        generator: in evaluation mode.
        options: of sampling.
        batch: numbers; for the task inversion photographs.
        canvas: what an image of the training set is to the generator.
        real: real images, for the task spectrum; None shows the samples alone.
        perceptual: `inversion.perceptual_loss` of the options, for the task inversion.

    Raises:
        UserError: the data do not fit the task, or what the task itself refuses.
    """
    _require_fitting(options, batch)
    sampler = Sampler(generator, options, canvas)
    if options.task == "inversion":
        return invert(sampler, cast(Photographs, batch), perceptual)
    numbered = cast(Numbered, batch)
    with torch.no_grad():
        if options.truncation != 1:
            ensure_mean_w(generator, options.mean_w_draws)
        if options.task == "spectrum":
            return compared_spectra(sampler, numbered, real)
        return _OF_NUMBERS[options.task](sampler, numbered)


def _require_fitting(options: SamplingOptions, batch: Numbered | Photographs) -> None:
    wants_photographs = options.task == "inversion"
    if wants_photographs == ("known" in batch):
        return
    raise UserError(
        f"model.sampling.task is {options.task}, which takes "
        + (
            "photographs, but the data give numbers; expected data: repsynth.datamodules.photographs.Photographs"
            if wants_photographs
            else "numbers, but the data are photographs; take the task inversion, or the data of the training"
        )
    )
