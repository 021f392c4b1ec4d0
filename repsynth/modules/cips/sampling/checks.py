"""Options of sampling that make no sense, told before anything is computed."""

import math

from repsynth.errors import UserError, require_at_least
from repsynth.modules.cips.sampling.options import (
    FoveatedOptions,
    InversionOptions,
    SamplingOptions,
    ZoomOptions,
)

_SECTION = "model"
_NAME = "sampling"


def check_options(options: SamplingOptions) -> None:
    """Refuse options out of their range and options that exclude each other.

    Raises:
        UserError: names the first one.
    """
    counts = {
        "size": min(options.size or (1, 1)),
        "mean_w_draws": options.mean_w_draws,
        "points_at_once": 1 if options.points_at_once is None else options.points_at_once,
        "grid.rows": options.grid.rows,
        "grid.columns": options.grid.columns,
        "interpolation.frames_per_key": options.interpolation.frames_per_key,
        "zoom.frames": options.zoom.frames,
        "panorama.scenes": options.panorama.scenes,
        "spectrum.samples": options.spectrum.samples,
        "spectrum.real_samples": options.spectrum.real_samples,
    }
    require_at_least(_SECTION, 1, **{f"{_NAME}.{name}": value for name, value in counts.items()})
    require_at_least(_SECTION, 2, **{f"{_NAME}.interpolation.keys": options.interpolation.keys})
    _require(
        "truncation", options.truncation, 0 <= options.truncation < math.inf, "at least 0, such as 0.7 or 1"
    )
    _require(
        "panorama.start_degrees",
        options.panorama.start_degrees,
        math.isfinite(options.panorama.start_degrees),
        "an angle in degrees",
    )
    _check_zoom(options.zoom)
    _check_foveated(options.foveated)
    _check_inversion(options.inversion)
    _check_together(options)


def _check_zoom(options: ZoomOptions) -> None:
    left, top, right, bottom = options.window
    _require(
        "zoom.window",
        list(options.window),
        all(map(math.isfinite, options.window)) and left < right and top < bottom,
        "[left, top, right, bottom] with left < right and top < bottom; the image is [-1, -1, 1, 1]",
    )
    if options.there_and_back and options.frames < 2:
        raise UserError(
            "model.sampling.zoom.there_and_back is true, but model.sampling.zoom.frames 1 is a picture; raise frames "
            "or leave it out"
        )


def _check_foveated(options: FoveatedOptions) -> None:
    _require(
        "foveated.gaze",
        list(options.gaze),
        all(abs(place) <= 1 for place in options.gaze),
        "[x, y] inside the image, -1 to 1",
    )
    _require("foveated.share", options.share, 0 < options.share <= 1, "a share above 0 and at most 1")
    _require("foveated.sigma", options.sigma, 0 < options.sigma < math.inf, "a number above 0, such as 0.4")


def _check_inversion(options: InversionOptions) -> None:
    per_step = 1 if options.pixels_per_step is None else options.pixels_per_step
    counts = {"steps": options.steps, "pixels_per_step": per_step}
    require_at_least(_SECTION, 1, **{f"{_NAME}.inversion.{name}": value for name, value in counts.items()})
    rate = options.learning_rate
    _require("inversion.learning_rate", rate, 0 < rate < math.inf, "a number above 0, such as 0.05")
    for name in ("mean_w_weight", "perceptual_weight"):
        weight = getattr(options, name)
        _require(f"inversion.{name}", weight, 0 <= weight < math.inf, "at least 0")
    if options.perceptual_weight and options.pixels_per_step is not None:
        raise UserError(
            f"model.sampling.inversion.perceptual_weight is {options.perceptual_weight:g} and pixels_per_step "
            f"{options.pixels_per_step}; the perceptual distance needs all pixels in every step: set pixels_per_step "
            "to null, or the weight to 0"
        )


def _check_together(options: SamplingOptions) -> None:
    """What a task cannot have."""
    if options.task != "inversion":
        return
    if options.noise not in (None, "none"):
        raise UserError(
            f"model.sampling.noise is {options.noise}, but the task inversion seeks a style without noise; leave it "
            "null"
        )
    if options.size is not None:
        raise UserError(
            f"model.sampling.size is {list(options.size)}, but the task inversion makes images of the photographs' "
            "size; leave it null and set data.image_size"
        )
    if options.truncation != 1:
        raise UserError(
            f"model.sampling.truncation is {options.truncation:g}, but the task inversion seeks styles itself; leave "
            "it 1 and use model.sampling.inversion.mean_w_weight to stay near the mean style"
        )


def _require(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise UserError(f"model.sampling.{name} is {value}; expected {expected}")
