"""The task spectrum: spectra of generated and real images in one plot, and their numbers."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsynth.batches import Numbered
from repsynth.errors import UserError
from repsynth.exports.prediction import Prediction
from repsynth.modules.cips.generator import SAMPLING_IMAGES
from repsynth.modules.cips.sampling.sampler import Sampler, keys_of
from repsynth.modules.cips.sampling.samples import numbered_pictures
from repsynth.modules.cips.sampling.spectrum import SpectrumStatistics, frequencies

RealBatches = Callable[[], Iterable[Tensor]]
"""Begins the real images anew: batches [B, 3, H, W], uint8 or in [0, 1], all of one size."""

_VALUES = (
    "log10 of the azimuthal mean of power; grey, Hann window; white noise of variance v has the mean power v"
)
_COLOURS = {"generated": "tab:orange", "real": "tab:blue"}


def compared_spectra(sampler: Sampler, batch: Numbered, real: RealBatches | None = None) -> Prediction:
    """Make a plot of every number, of so many samples as the options say, against real images where there are some.

    Raises:
        UserError: real images of another size than the samples, or none.
    """
    of_real = None if real is None else measured(real(), sampler.options.spectrum.real_samples)
    frames, figures = [], []
    count = sampler.options.spectrum.samples
    for seed, numbers in zip(batch["seeds"], keys_of(batch["numbers"], count), strict=True):
        parts = numbers.split(SAMPLING_IMAGES)
        of_samples = measured((numbered_pictures(sampler, seed.expand(len(p)), p) for p in parts), count)
        sets = {"generated": of_samples} | ({} if of_real is None else {"real": of_real})
        _require_same_size(sets)
        frames.append(torch.from_numpy(plot(sets)).movedim(-1, 0))
        figures.append(_figures(sets))
    return {"ids": batch["ids"], "frames": torch.stack(frames)[:, None], "figures": figures}


def measured(batches: Iterable[Tensor], most: int) -> SpectrumStatistics:
    """Return the statistics of the first images of some batches."""
    statistics = SpectrumStatistics()
    for images in batches:
        statistics.add(images[: most - statistics.count])
        if statistics.count >= most:
            break
    return statistics


def plot(sets: dict[str, SpectrumStatistics]) -> np.ndarray:
    """Draw the mean spectrum of each set, in a band of one deviation, and return uint8 [480, 640, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
    for name, found in sets.items():
        assert found.size is not None
        x, mean, deviation = frequencies(*found.size).numpy(), found.mean.numpy(), found.deviation.numpy()
        axes.plot(x, mean, color=_COLOURS[name], label=f"{name} ({found.count} images)")
        axes.fill_between(x, mean - deviation, mean + deviation, color=_COLOURS[name], alpha=0.2, linewidth=0)
    axes.set(xlabel="cycles per pixel", ylabel="log10 of power", xlim=(0, 0.5))
    axes.grid(alpha=0.3)
    axes.legend()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _require_same_size(sets: dict[str, SpectrumStatistics]) -> None:
    sizes = {name: found.size for name, found in sets.items()}
    if "real" in sets and sets["real"].count == 0:
        raise UserError(
            "model.sampling.task is spectrum, but the data set has no real image; expected at least one: see data.root"
        )
    if len(set(sizes.values())) > 1:
        (height, width), (real_height, real_width) = sizes["generated"] or (0, 0), sizes["real"] or (0, 0)
        raise UserError(
            f"spectra of images of {height}x{width} (generated) and {real_height}x{real_width} pixels (real) cannot be "
            "compared; set model.sampling.size or the size of the data's images to the other"
        )


def _figures(sets: dict[str, SpectrumStatistics]) -> dict[str, Any]:
    size = sets["generated"].size
    assert size is not None
    return {
        "image_size": list(size),
        "frequency": frequencies(*size).tolist(),
        "unit": "cycles per pixel",
        "values": _VALUES,
        **{name: found.as_figures() for name, found in sets.items()},
    }
