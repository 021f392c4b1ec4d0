"""Videos: a way through samples, and one into an image."""

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from repsynth.batches import Numbered
from repsynth.exports.prediction import Prediction
from repsynth.geometry.paths import progress
from repsynth.modules.cips.coordinates import extrapolated
from repsynth.modules.cips.sampling.draws import one_noise
from repsynth.modules.cips.sampling.options import Window, ZoomOptions
from repsynth.modules.cips.sampling.sampler import Sampler, keys_of


def interpolations(sampler: Sampler, batch: Numbered) -> Prediction:
    """Make a video of every number, in a loop through samples, with one noise and around a cylinder at one angle."""
    options = sampler.options.interpolation
    videos = []
    for seed, number, keys in _by_number(batch, options.keys):
        w = loop(sampler.styles(seed.expand(len(keys)), keys), options.frames_per_key)
        places = sampler.places(seed, number)
        noise = one_noise(sampler.noise(seed, number))
        videos.append(sampler.pictures(w, places, noise, sampler.is_full_grid(places)))
    return {"ids": batch["ids"], "frames": torch.stack(videos)}


def loop(keys: Tensor, frames_per_key: int) -> Tensor:
    """Pass through K styles [K, style_size] and back to the first, evenly, [K frames_per_key, style_size].

    Frame k frames_per_key is style k; the last frame is one step before the first.
    """
    share = torch.arange(frames_per_key, device=keys.device, dtype=keys.dtype)[:, None] / frames_per_key
    return torch.lerp(keys[:, None], keys.roll(-1, 0)[:, None], share).flatten(0, 1)


def zooms(sampler: Sampler, batch: Numbered) -> Prediction:
    """Make a video into a window of the image of every number, or a picture of the window."""
    options, (seeds, numbers) = sampler.options.zoom, (batch["seeds"], batch["numbers"])
    size = sampler.options.size or sampler.canvas.size_for(options.window)
    w, noise = sampler.styles(seeds, numbers), sampler.noise(seeds, numbers, "none")
    frames = []
    for window in windows(options):
        places = sampler.places(seeds, numbers, size, window)
        _warn_of_extrapolation(options.window, places)
        frames.append(sampler.pictures(w, places, noise))
    return {"ids": batch["ids"], "frames": torch.stack(frames, dim=1)}


def windows(options: ZoomOptions) -> Iterator[Window]:
    """Yield the windows of a zoom's frames.

    The first is the largest of the last one's shape inside the image, about its middle. Sides change by equal factors,
    so that the zoom is as fast everywhere, about a point that stays in its place on the screen.
    """
    if options.frames == 1:
        yield options.window
        return
    left, top, right, bottom = options.window
    longest = max(right - left, bottom - top)
    across, down = (right - left) / longest, (bottom - top) / longest
    for share in progress(options.frames, options.there_and_back):
        (x0, x1), (y0, y1) = (
            _side((-half, half), target, share)
            for half, target in ((across, (left, right)), (down, (top, bottom)))
        )
        yield x0, y0, x1, y1


def _side(start: tuple[float, float], target: tuple[float, float], share: float) -> tuple[float, float]:
    """First and last coordinate in one direction, part of the way from the start to the target."""
    ratio = (target[1] - target[0]) / (start[1] - start[0])
    done = share if abs(ratio - 1) < 1e-6 else (1 - ratio**share) / (1 - ratio)
    return start[0] + done * (target[0] - start[0]), start[1] + done * (target[1] - start[1])


def _warn_of_extrapolation(window: Window, places: Tensor) -> None:
    """Once: Python passes over a warning that it has shown."""
    if extrapolated(places).any():
        warnings.warn(
            f"model.sampling.zoom.window {list(window)} reaches beyond [-1, 1], where no training image had a pixel: "
            "what is shown there is extrapolated",
            stacklevel=2,
        )


def _by_number(batch: Numbered, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Seed [1], number [1] and the numbers [count] of the samples that go into each video."""
    yield from zip(
        batch["seeds"].split(1), batch["numbers"].split(1), keys_of(batch["numbers"], count), strict=True
    )
