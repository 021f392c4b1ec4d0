"""Which frames of a clip make an example: inputs, the reference first, and novel views to predict.

The modes are those of the released novel-view code (StereoLayers, SIMPLI). Figures of different modes cannot
be compared. Three things differ from that code: the last possible window is used too (its window starts
below length - window, one short); distances in `nearest` are those of the camera centres, not of the
translations; and the frames of an example are all different, where it draws some modes with replacement and
then drops examples from scoring whose novel view is the reference.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from repsynth.errors import UserError

STATIC = 1e-6
"""Camera centres nearer than this, in scene units, give a plane sweep nothing to match."""

_TRIES = 64

Usable = Literal["yes", "too short", "static", "without an allowed baseline"]


class NoExampleError(UserError):
    """A clip gave no example that the options allow."""


Mode = Literal["extrapolation", "interpolation", "random", "base", "base_same", "nearest", "neighbours"]


class Choice(NamedTuple):
    """Frame numbers of an example."""

    sources: list[int]
    """The inputs, the reference first."""
    novel: list[int]
    """The frames to predict."""


@dataclass(frozen=True)
class ViewSampling:
    """How the frames of an example are drawn.

    - extrapolation: `sources` + `novel` frames of a window in order; a random run of `sources` neighbours are
      the inputs, so that novel views never lie between them.
    - interpolation: inputs evenly spaced over the window, both its ends included; novel views from the rest.
    - random: all from the window.
    - base: a reference in the middle part of the clip, the others at most half a window from it.
    - base_same: inputs as in base; the novel views are the inputs themselves, shuffled (a reconstruction).
    - nearest: a random frame is the reference and the first novel view as well; the others are drawn from the
      `window` frames with the nearest camera centres.
    - neighbours (ours): a random frame is the first novel view, as a held-out one would be; the others are
      drawn from the `window` frames whose camera centres are nearest to it.

    Where the mode leaves it open, a random input is the reference.
    """

    mode: Mode
    window: int
    """Frames that an example may span; the whole clip when it is not longer."""
    sources: int
    """Number of inputs, the reference among them."""
    novel: int
    """Number of novel views."""
    min_baseline: float = 0.0
    """Least distance of each other input's camera centre from the reference's, in scene units; pairs that do not
    differ by more than `STATIC` are never drawn."""
    max_baseline: float | None = None
    """Greatest such distance; None for any."""

    def check(self, frames: int, what: str) -> None:
        """Raise UserError when `frames` frames, told as `what`, cannot give an example."""
        needed = self.sources + self.novel
        if self.mode not in get_args(Mode):
            raise UserError(f"data.mode is {self.mode!r}; expected one of {', '.join(get_args(Mode))}")
        if self.min_baseline < 0 or (self.max_baseline is not None and self.max_baseline < self.min_baseline):
            raise UserError(
                f"data.min_baseline is {self.min_baseline:g} and data.max_baseline {self.max_baseline}; expected "
                "0 <= min_baseline <= max_baseline, in scene units"
            )
        if self.sources < 1 or self.novel < 1:
            raise UserError(
                f"data.source_views is {self.sources} and data.novel_views {self.novel}; "
                "each must be at least 1"
            )
        if min(frames, self.window) < needed:
            raise UserError(
                f"{what} with data.window {self.window} cannot give {self.sources} input "
                f"and {self.novel} novel views; {needed} frames are needed: lengthen the window or ask for "
                "fewer views"
            )
        if self.mode == "base_same" and self.novel > self.sources:
            raise UserError(
                f"data.mode base_same gives the {self.sources} input views back and cannot give "
                f"{self.novel} novel views; lower data.novel_views"
            )

    def draw(
        self, rng: np.random.Generator, centres: np.ndarray, numbers: np.ndarray | None = None
    ) -> Choice:
        """Draw an example from a clip that passes `check`.

        Args:
            rng: all choices come from it.
            centres: [N, 3] camera centres of the clip's frames, in order.
            numbers: [N] rising place of each frame in the clip, where some are missing: windows are counted in
                places, so that a hole is no jump. None for 0, 1, 2, ...

        Raises:
            NoExampleError: no draw of many has enough frames and allowed baselines.
        """
        places = np.arange(len(centres)) if numbers is None else numbers
        for _ in range(_TRIES):
            choice = self._drawn(rng, centres, places)
            if choice is not None and self._allows(choice.sources, centres):
                return choice
        raise NoExampleError(
            f"{_TRIES} draws found no {self.sources} input and {self.novel} novel views within data.window "
            f"{self.window} whose baselines are allowed (data.min_baseline {self.min_baseline:g}, "
            f"data.max_baseline {self.max_baseline}); loosen these options or leave the clip out"
        )

    def usable(self, centres: np.ndarray, numbers: np.ndarray) -> Usable:
        """Whether a clip can give examples, and if not, why; arguments as in `draw`."""
        if len(centres) < self.sources + self.novel or not len(self._starts(numbers)):
            return "too short"
        if self.sources == 1:
            return "yes"
        # Frame against its next, its next but one, ...: nearly every clip is done after the first round.
        longest, anywhere = 0.0, self.mode in ("nearest", "neighbours")
        for lag in range(1, len(centres)):
            distances = np.linalg.norm(centres[lag:] - centres[:-lag], axis=1)
            within = anywhere | (numbers[lag:] - numbers[:-lag] < self.window)
            if not within.any():
                break
            if self._within(distances[within]).any():
                return "yes"
            longest = max(longest, float(distances[within].max()))
        return "without an allowed baseline" if longest > STATIC else "static"

    def _allows(self, sources: list[int], centres: np.ndarray) -> bool:
        reference, *others = sources
        distances = np.linalg.norm(centres[others] - centres[reference], axis=-1)
        return bool(self._within(distances).all())

    def _within(self, distances: np.ndarray) -> np.ndarray:
        longest = np.inf if self.max_baseline is None else self.max_baseline
        return (distances > STATIC) & (distances >= self.min_baseline) & (distances <= longest)

    def _starts(self, numbers: np.ndarray) -> np.ndarray:
        """The first places of all windows with enough frames."""
        starts = np.arange(numbers[0], max(numbers[-1] - self.window + 1, numbers[0]) + 1)
        inside = np.searchsorted(numbers, starts + self.window) - np.searchsorted(numbers, starts)
        return starts[inside >= self.sources + self.novel]

    def _drawn(self, rng: np.random.Generator, centres: np.ndarray, numbers: np.ndarray) -> Choice | None:
        """One draw, whatever its baselines; None where holes leave too few frames."""
        frames, sources, novel = len(centres), self.sources, self.novel
        if self.mode == "nearest":
            reference, *others = _nearest(rng, centres, min(self.window, frames) - 1)
            return Choice(
                [reference, *others[: sources - 1]], [reference, *others[sources - 1 :][: novel - 1]]
            )
        if self.mode == "neighbours":
            first, *others = _nearest(rng, centres, min(self.window, frames) - 1)
            return Choice(others[:sources], [first, *others[sources:][: novel - 1]])
        if self.mode in ("base", "base_same"):
            return self._around_a_base(rng, numbers)
        span = self._window(rng, numbers)
        if span is None:
            return None
        if self.mode == "extrapolation":
            return _extrapolation(rng, span, sources, novel)
        if self.mode == "interpolation":
            return _interpolation(rng, span, numbers, sources, novel)
        drawn = rng.permutation(span).tolist()
        return Choice(drawn[:sources], drawn[sources : sources + novel])

    def _window(self, rng: np.random.Generator, numbers: np.ndarray) -> np.ndarray | None:
        """The frames of a random window; None where holes leave too few in each."""
        frames, span = len(numbers), min(len(numbers), self.window)
        if numbers[-1] - numbers[0] == frames - 1 and span >= self.sources + self.novel:
            start = int(rng.integers(frames - span + 1))  # without holes all windows will do
            return np.arange(start, start + span)
        starts = self._starts(numbers)
        if not len(starts):
            return None
        start = starts[rng.integers(len(starts))]
        return np.arange(*np.searchsorted(numbers, [start, start + self.window]))

    def _around_a_base(self, rng: np.random.Generator, numbers: np.ndarray) -> Choice | None:
        """A reference and frames within half a window of it."""
        same = self.mode == "base_same"
        half = min(self.window, len(numbers)) // 2
        margin = min(half, int(numbers[-1] - numbers[0]) // 2)
        middle = (numbers >= numbers[0] + margin) & (numbers <= numbers[-1] - margin)
        candidates = np.flatnonzero(middle)
        if not len(candidates):
            return None
        reference = int(rng.choice(candidates))
        around = np.flatnonzero(np.abs(numbers - numbers[reference]) <= half)
        others = self.sources - 1 + (0 if same else self.novel)
        if len(around) - 1 < others:
            return None
        drawn = [reference, *rng.choice(around[around != reference], others, replace=False).tolist()]
        if same:
            return Choice(drawn, rng.permutation(drawn).tolist()[: self.novel])
        return Choice(drawn[: self.sources], drawn[self.sources :])


def _extrapolation(rng: np.random.Generator, window: np.ndarray, sources: int, novel: int) -> Choice:
    drawn = sorted(rng.choice(window, sources + novel, replace=False).tolist())
    start = int(rng.integers(novel + 1))
    inputs = rng.permutation(drawn[start : start + sources]).tolist()
    return Choice(inputs, drawn[:start] + drawn[start + sources :])


def _interpolation(
    rng: np.random.Generator, window: np.ndarray, numbers: np.ndarray, sources: int, novel: int
) -> Choice:
    wanted = np.linspace(numbers[window[0]], numbers[window[-1]], sources)
    places = np.abs(numbers[window, None] - wanted).argmin(axis=0)
    if len(set(places)) < sources:  # holes: evenly over the frames that are there
        places = np.round(np.linspace(0, len(window) - 1, sources)).astype(int)
    rest = np.delete(window, places)
    return Choice(rng.permutation(window[places]).tolist(), rng.choice(rest, novel, replace=False).tolist())


def _nearest(rng: np.random.Generator, centres: np.ndarray, others: int) -> list[int]:
    """A random frame, then the `others` frames nearest to it, shuffled."""
    middle = int(rng.integers(len(centres)))
    distance = np.linalg.norm(centres - centres[middle], axis=1)
    distance[middle] = -1
    return [middle, *rng.permutation(np.argsort(distance, kind="stable")[1 : others + 1]).tolist()]


def camera_centres(extrinsics: np.ndarray) -> np.ndarray:
    """Centres [N, 3] of world-to-camera matrices [N, 4, 4]."""
    return -np.einsum("nji,nj->ni", extrinsics[:, :3, :3], extrinsics[:, :3, 3])
