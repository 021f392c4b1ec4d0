"""Foveated synthesis: pixels are computed where somebody looks, and the others guessed from them.

Shares, spread and interpolation are the paper's, which released no code for it; how pixels are drawn is ours.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsynth.batches import Numbered
from repsynth.errors import UserError
from repsynth.exports.prediction import Prediction
from repsynth.metrics.psnr import psnr
from repsynth.modules.cips.sampling.draws import PIXELS, SettledNoise, generators
from repsynth.modules.cips.sampling.options import FoveatedOptions
from repsynth.modules.cips.sampling.sampler import Sampler, to_unit

_FEWEST, _SHORTEST = 16, 8
"""Computed pixels, and pixels of a side, that interpolation between scattered points needs."""


def foveated_images(sampler: Sampler, batch: Numbered) -> Prediction:
    """Make an image of every number from few of its pixels, named views: foveated, computed (white), perhaps full.

    Raises:
        UserError: so small a share of so few pixels that nothing can be interpolated.
    """
    options, (height, width) = sampler.options.foveated, sampler.size
    count = number_of_pixels(options, height, width)
    frames, figures = [], []
    for seed, number in zip(batch["seeds"].split(1), batch["numbers"].split(1), strict=True):
        (rng,) = generators(seed, number, PIXELS)
        chosen = torch.from_numpy(chosen_pixels(options, height, width, count, rng))
        w, places = sampler.styles(seed, number), sampler.places(seed, number)
        noise = sampler.noise(seed, number)
        found = sampler.colours(w, places.flatten(1, 2)[:, chosen.to(places.device)], noise)[0].cpu()
        image = filled(found, chosen, height, width)
        computed = torch.zeros(height * width).index_fill_(0, chosen, 1).view(1, height, width)
        views = [to_unit(image), computed.expand(3, -1, -1)]
        known: dict[str, Any] = {"pixels": height * width, "computed": count, "gaze": list(options.gaze)}
        if options.compare:
            full = _full(sampler, w, places, noise)
            views.append(full)
            known["psnr"] = float(psnr(views[0][None], full[None]))
        frames.append(torch.stack(views).mul(255).round().byte())
        figures.append(known)
    names = ["foveated", "computed", "full"][: frames[0].shape[0]]
    return {"ids": batch["ids"], "frames": torch.stack(frames), "names": names, "figures": figures}


def number_of_pixels(options: FoveatedOptions, height: int, width: int) -> int:
    """Return how many pixels are computed of an image.

    Raises:
        UserError: too few to interpolate between.
    """
    count = round(options.share * height * width)
    if count < _FEWEST or min(height, width) < _SHORTEST:
        raise UserError(
            f"model.sampling.foveated.share {options.share:g} of {height}x{width} pixels is {count}; expected at least "
            f"{_FEWEST} of sides of at least {_SHORTEST} to interpolate between: raise it or model.sampling.size"
        )
    return count


def chosen_pixels(
    options: FoveatedOptions, height: int, width: int, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw pixels one after another, each with a chance that falls with a Gaussian of its distance from the gaze.

    Returns:
        [count] int64 different places in the image row by row, rising.
    """
    x, y = ((place + 1) / 2 * (side - 1) for place, side in zip(options.gaze, (width, height), strict=True))
    squared = (np.arange(height)[:, None] - y) ** 2 + (np.arange(width) - x) ** 2
    scores = -squared.ravel() / (2 * (options.sigma * min(height, width)) ** 2)
    # The largest sums of logarithmic weight and Gumbel noise are such a draw (Efraimidis and Spirakis 2006).
    scores += rng.gumbel(size=scores.shape)
    return np.sort(np.argpartition(-scores, count - 1)[:count]).astype(np.int64)


def filled(colours: Tensor, chosen: Tensor, height: int, width: int) -> Tensor:
    """Interpolate colours [3, n] known at n pixels to all, [3, height, width], and leave the known ones as they are.

    Cubic and smooth between the known pixels (Clough-Tocher), those of the nearest one outside their hull.
    """
    from scipy.interpolate import CloughTocher2DInterpolator, NearestNDInterpolator

    everywhere = np.stack(np.divmod(np.arange(height * width), width), axis=-1).astype(np.float64)
    known = np.zeros(height * width, dtype=bool)
    known[chosen.numpy()] = True
    values = colours.double().numpy().T
    image = np.empty((height * width, 3))
    image[known] = values
    image[~known] = CloughTocher2DInterpolator(everywhere[known], values)(everywhere[~known])
    outside = np.isnan(image[:, 0])
    if outside.any():
        image[outside] = NearestNDInterpolator(everywhere[known], values)(everywhere[outside])
    return torch.from_numpy(image.T.reshape(3, height, width)).to(colours.dtype)


def _full(sampler: Sampler, w: Tensor, places: Tensor, noise: SettledNoise) -> Tensor:
    return to_unit(sampler.colours(w, places, noise)[0].cpu())
