"""Where runs are killed: drawn at random over the whole course of a run that was watched before."""

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace

from faults.observer import FOREVER, Event, Hold

START = "process"
"""The first event of a run."""
_CALLS = 4
"""Places within the writing of a file: in the middle of it, and before what follows; see `Hold`."""
_LONGEST = 3
"""Kills of one run, one after the other."""


@dataclass(frozen=True)
class Kill:
    """A signal at a place of a run.

    Attributes:
        number: of the signal.
        everyone: whether the run's loader processes get it too.
        after: the place of the event after which it comes.
        seconds: later than that event.
        hold: the place inside a checkpoint's file where the run waits for it, instead of `seconds`.
    """

    number: signal.Signals
    everyone: bool
    after: tuple[str, int, int]
    seconds: float = 0.0
    hold: Hold | None = None

    @property
    def fault(self) -> str:
        """Its kind, for the table."""
        if self.hold is not None:
            return f"{self.number.name} while a checkpoint is written"
        return f"{self.number.name} {'before training' if self.after[0] == START else 'in training'}"

    def __str__(self) -> str:
        name, step, nth = self.after
        inside = f" in call {self.hold.call} of its writing" if self.hold else f" {self.seconds:.3f} s later"
        all_of_them = " to all processes" if self.everyone else ""
        return f"{self.number.name}{all_of_them} at {name} {nth} after step {step},{inside}"


def draw(
    course: Sequence[Event], size: int, anywhere: int, saving: int, starting: int, rng: random.Random
) -> list[list[Kill]]:
    """Kills spread evenly over the course of a run, half of them SIGKILL, half SIGTERM.

    Args:
        course: the events of a whole run.
        size: bytes of its checkpoint.
        anywhere: kills at any time between the beginning and the end of training.
        saving: kills while a checkpoint is written.
        starting: kills before training begins.
        rng: of all choices.

    Returns:
        The kills of each run, each after the one before it.
    """
    names = [event.name for event in course]
    first, last = names.index("on_train_start"), names.index("on_train_end")
    places = [_at((course[first].time, course[last].time), course, i, anywhere, rng) for i in range(anywhere)]
    saves = rng.sample([event for event in course if event.name == "save"], saving)
    places += [_inside(event, size, rng) for event in saves]
    places.sort(key=lambda kill: kill.after[1])
    starts = [_at((course[0].time, course[first].time), course, i, starting, rng) for i in range(starting)]
    numbers = [signal.SIGKILL, signal.SIGTERM] * (len(places) + len(starts))
    signals = rng.sample(numbers[: len(places) + len(starts)], len(places) + len(starts))
    kills = [_with(kill, signals.pop(), rng) for kill in places]
    runs = _dealt(kills, rng)
    for kill in starts:
        run = rng.choice(runs)
        run.insert(rng.randint(0, len(run)), _with(kill, signals.pop(), rng))
    return runs


def _at(
    span: tuple[float, float], course: Sequence[Event], part: int, parts: int, rng: random.Random
) -> Kill:
    """A time within one of equal parts of a span."""
    begin, end = span
    time = begin + (part + rng.random()) * (end - begin) / parts
    event = max((event for event in course if event.time <= time), key=lambda event: event.time)
    return Kill(signal.SIGKILL, False, event.place, time - event.time)


def _inside(save: Event, size: int, rng: random.Random) -> Kill:
    hold = Hold(save.step, save.nth, rng.randrange(_CALLS), rng.randrange(size), FOREVER)
    return Kill(signal.SIGKILL, False, save.place, hold=hold)


def _with(kill: Kill, number: signal.Signals, rng: random.Random) -> Kill:
    # A run that ends its step after SIGTERM stays only as long as the signal may take to arrive.
    hold = replace(kill.hold, seconds=0.5) if kill.hold and number == signal.SIGTERM else kill.hold
    return replace(kill, number=number, hold=hold, everyone=rng.random() < 0.5)


def _dealt(kills: list[Kill], rng: random.Random) -> list[list[Kill]]:
    """Kills in the order of steps to runs; a run is killed again only where it has come further."""
    runs: list[list[Kill]] = []
    for kill in kills:
        open_runs = [run for run in runs if len(run) < _LONGEST and run[-1].after[1] + 2 <= kill.after[1]]
        if open_runs and rng.random() < 0.7:
            rng.choice(open_runs).append(kill)
        else:
            runs.append([kill])
    return runs
