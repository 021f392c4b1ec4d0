"""The options of `repsynth predict` with a trained generator; docs/methods/cips.md shows each task."""

from dataclasses import dataclass
from typing import Literal

Task = Literal["samples", "grid", "interpolation", "zoom", "foveated", "panorama", "inversion", "spectrum"]
"""What to make of a number, or of a photograph (inversion)."""

NoiseOption = Literal["random", "none"] | int
"""random: of its own for every number. none: no noise. A whole number: the same for all."""

Window = tuple[float, float, float, float]
"""(left, top, right, bottom) in the coordinates of an image, whose outermost pixels are at -1 and 1."""


@dataclass(frozen=True)
class GridOptions:
    """Many samples in one picture.

    Args:
        rows: samples below one another.
        columns: samples beside one another.
    """

    rows: int = 4
    columns: int = 4


@dataclass(frozen=True)
class InterpolationOptions:
    """A video through several samples and back to the first, linear in their styles.

    Args:
        keys: samples to pass through.
        frames_per_key: frames from one to the next.
    """

    keys: int = 4
    frames_per_key: int = 25


@dataclass(frozen=True)
class ZoomOptions:
    """A video from the whole image into a window of it, or the window alone.

    Args:
        window: [left, top, right, bottom]; the image is -1 to 1 in both directions, what is outside is extrapolated.
        frames: of the video; 1 makes a picture of the window.
        there_and_back: return to the whole image, slowing down at both ends.
    """

    window: Window = (-0.25, -0.25, 0.25, 0.25)
    frames: int = 60
    there_and_back: bool = False


@dataclass(frozen=True)
class FoveatedOptions:
    """An image of which only some pixels are computed, most of them where somebody looks.

    Args:
        gaze: [x, y] of the point looked at, -1 to 1.
        share: of all pixels that are computed; the paper shows 0.05, 0.25 and 0.5.
        sigma: standard deviation of the computed pixels' distances from the gaze, in shorter sides of the image.
        compare: compute all pixels too, as a further picture and for the PSNR.
    """

    gaze: tuple[float, float] = (0.0, 0.0)
    share: float = 0.25
    sigma: float = 0.4
    compare: bool = True


@dataclass(frozen=True)
class PanoramaOptions:
    """The whole turn of a generator on a cylinder.

    Args:
        scenes: samples around the turn, blended linearly in their styles; 1 is one sample.
        start_degrees: angle of the first column.
    """

    scenes: int = 1
    start_degrees: float = 0.0


@dataclass(frozen=True)
class InversionOptions:
    """The style whose image is most like the known pixels of a photograph.

    Args:
        w_space: w (one style for all layers) or w_plus (one for each: nearer to the photograph, farther from samples).
        steps: of Adam, from the mean style.
        learning_rate: the largest, in standard deviations of w; it rises over 5 % and falls over 25 % of the steps.
        mean_w_weight: of the squared distance from the mean style, in standard deviations, beside the squared error.
        pixels_per_step: known pixels drawn anew for every step; null takes all of them.
        perceptual_weight: of the perceptual distance, for photographs that are known everywhere; 0 leaves it out.
        perceptual: weights of VGG19: auto (the published file), random (stand-in), or a path.
        perceptual_levels: how many of its five depths to compare.
    """

    w_space: Literal["w", "w_plus"] = "w"
    steps: int = 500
    learning_rate: float = 0.05
    mean_w_weight: float = 1e-3
    pixels_per_step: int | None = None
    perceptual_weight: float = 0.0
    perceptual: str = "auto"
    perceptual_levels: Literal[1, 2, 3, 4, 5] = 5


@dataclass(frozen=True)
class SpectrumOptions:
    """How much generated and real images have of every spatial frequency.

    Args:
        samples: generated images.
        real_samples: real images, the first in the order of the set; a smaller set counts whole.
    """

    samples: int = 1000
    real_samples: int = 1000


@dataclass(frozen=True)
class SamplingOptions:
    """What `predict` makes of a trained generator; docs/methods/cips.md shows each task.

    A task that takes several samples for one picture or video, K, makes its n-th of the numbers n K to n K + K - 1.

    Args:
        task: samples (the images that evaluation sees), grid (many in one picture), interpolation (a video in a closed
            loop), zoom (a video into a window, or a window at any resolution), foveated (few pixels computed), panorama
            (a whole turn, needs surface cylinder), inversion (of photographs, also with holes), spectrum (a plot).
        size: [height, width]; null takes that of the training images (zoom: the largest of the window's shape within
            that; panorama: as many columns per angle). Another aspect ratio stretches, save for zoom and panorama.
        truncation: share of a style's distance from the mean style that is kept; 0.7 is usual, 1 evaluation's.
        noise: random (of its own for every sample, all frames of a video share it), none, or a number (the same for
            all); null is evaluation's, and none for zoom and inversion.
        mean_w_draws: latents that the mean style is computed from, where the weights bring none.
        points_at_once: points computed at a time; null takes what suits the device, for inversion all.
        grid: of the task grid.
        interpolation: of the task interpolation.
        zoom: of the task zoom.
        foveated: of the task foveated.
        panorama: of the task panorama.
        inversion: of the task inversion.
        spectrum: of the task spectrum.
    """

    task: Task = "samples"
    size: tuple[int, int] | None = None
    truncation: float = 1.0
    noise: NoiseOption | None = None
    mean_w_draws: int = 10_000
    points_at_once: int | None = None
    grid: GridOptions = GridOptions()
    interpolation: InterpolationOptions = InterpolationOptions()
    zoom: ZoomOptions = ZoomOptions()
    foveated: FoveatedOptions = FoveatedOptions()
    panorama: PanoramaOptions = PanoramaOptions()
    inversion: InversionOptions = InversionOptions()
    spectrum: SpectrumOptions = SpectrumOptions()
