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

    def check(self, frames: int, what: str) -> None:
        """Raise UserError when `frames` frames, told as `what`, cannot give an example."""
        needed = self.sources + self.novel
        if self.mode not in get_args(Mode):
            raise UserError(f"data.mode is {self.mode!r}; expected one of {', '.join(get_args(Mode))}")
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

    def draw(self, rng: np.random.Generator, centres: np.ndarray) -> Choice:
        """Draw an example from a clip that passes `check`.

        Args:
            rng: all choices come from it.
            centres: [N, 3] camera centres of the clip's frames, in order.
        """
        frames, sources, novel = len(centres), self.sources, self.novel
        window = min(self.window, frames)
        if self.mode == "nearest":
            reference, *others = _nearest(rng, centres, window - 1)
            return Choice(
                [reference, *others[: sources - 1]], [reference, *others[sources - 1 :][: novel - 1]]
            )
        if self.mode == "neighbours":
            first, *others = _nearest(rng, centres, window - 1)
            return Choice(others[:sources], [first, *others[sources:][: novel - 1]])
        if self.mode == "base":
            drawn = _near_a_base(rng, frames, window, sources - 1 + novel)
            return Choice(drawn[:sources], drawn[sources:])
        if self.mode == "base_same":
            inputs = _near_a_base(rng, frames, window, sources - 1)
            return Choice(inputs, rng.permutation(inputs).tolist()[:novel])
        span = _window(rng, frames, window)
        if self.mode == "extrapolation":
            return _extrapolation(rng, span, sources, novel)
        if self.mode == "interpolation":
            return _interpolation(rng, span, sources, novel)
        drawn = rng.permutation(span).tolist()
        return Choice(drawn[:sources], drawn[sources : sources + novel])


def _window(rng: np.random.Generator, frames: int, window: int) -> np.ndarray:
    """`window` consecutive frame numbers; every start is possible, the last one included."""
    return rng.integers(frames - window + 1) + np.arange(window)


def _extrapolation(rng: np.random.Generator, window: np.ndarray, sources: int, novel: int) -> Choice:
    drawn = np.sort(rng.choice(window, sources + novel, replace=False))
    start = rng.integers(novel + 1)
    inputs = rng.permutation(drawn[start : start + sources]).tolist()
    return Choice(inputs, drawn[:start].tolist() + drawn[start + sources :].tolist())


def _interpolation(rng: np.random.Generator, window: np.ndarray, sources: int, novel: int) -> Choice:
    places = np.round(np.linspace(0, len(window) - 1, sources)).astype(int)
    rest = np.delete(window, places)
    return Choice(rng.permutation(window[places]).tolist(), rng.choice(rest, novel, replace=False).tolist())


def _near_a_base(rng: np.random.Generator, frames: int, window: int, others: int) -> list[int]:
    """A reference and `others` frames within half a window of it."""
    half = window // 2
    margin = min(half, (frames - 1) // 2)
    reference = int(rng.integers(margin, frames - margin))
    around = np.arange(max(reference - half, 0), min(reference + half + 1, frames))
    return [reference, *rng.choice(around[around != reference], others, replace=False).tolist()]


def _nearest(rng: np.random.Generator, centres: np.ndarray, others: int) -> list[int]:
    """A random frame, then the `others` frames nearest to it, shuffled."""
    middle = int(rng.integers(len(centres)))
    distance = np.linalg.norm(centres - centres[middle], axis=1)
    distance[middle] = -1
    return [middle, *rng.permutation(np.argsort(distance, kind="stable")[1 : others + 1]).tolist()]


def camera_centres(extrinsics: np.ndarray) -> np.ndarray:
    """Centres [N, 3] of world-to-camera matrices [N, 4, 4]."""
    return -np.einsum("nji,nj->ni", extrinsics[:, :3, :3], extrinsics[:, :3, 3])
