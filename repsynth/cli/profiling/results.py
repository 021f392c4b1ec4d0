"""What a profile found, before it becomes a table."""

from collections.abc import Sequence
from dataclasses import dataclass

from repsynth.cli.profiling.clock import PARTS, Lap, Part


@dataclass(frozen=True)
class Steps:
    """Seconds of some steps of training, or of some batches of an evaluation.

    Attributes:
        laps: seconds of every part, step by step.
    """

    laps: list[Lap]

    @property
    def seconds(self) -> list[float]:
        """Of each step."""
        return [sum(lap.values()) for lap in self.laps]

    @property
    def mean(self) -> float:
        """Seconds of a step on average."""
        return sum(self.seconds) / len(self.laps)

    def mean_of(self, part: Part) -> float:
        """Seconds of a part of a step on average."""
        return sum(lap[part] for lap in self.laps) / len(self.laps)

    def parts(self, named: Sequence[Part]) -> dict[Part, float]:
        """Seconds of some parts of a step on average, and of all others together; they add up to `mean`."""
        seconds: dict[Part, float] = {part: self.mean_of(part) for part in named}
        rest = sum(self.mean_of(part) for part in PARTS if part not in named)
        return {**seconds, "other": rest}


@dataclass(frozen=True)
class Memory:
    """Bytes at the end of training.

    Attributes:
        process: the largest of the training process so far, with all libraries.
        loaders: of the loader processes together, as they were; pages that they share count in each.
        device: the largest allocated on the device during the measured steps; None without a GPU.
        device_reserved: what the allocator has taken of the device; None without a GPU.
    """

    process: int
    loaders: int
    device: int | None
    device_reserved: int | None


@dataclass(frozen=True)
class Loader:
    """The training loader when nobody trains.

    Attributes:
        batches: that were read, the first ones not counted.
        seconds: that they took.
        workers: its processes.
    """

    batches: int
    seconds: float
    workers: int

    @property
    def rate(self) -> float:
        """Batches of this rank per second."""
        return self.batches / self.seconds


@dataclass(frozen=True)
class Evaluated:
    """An evaluation of a few batches.

    Attributes:
        steps: seconds of its batches, the first not counted.
        batch: samples of a batch of this rank on average.
        end: seconds from the last batch to the end: figures of sets, pictures, files.
    """

    steps: Steps
    batch: float
    end: float


@dataclass(frozen=True)
class Profile:
    """Where the time of an experiment goes.

    Attributes:
        rank: whose time it is.
        devices: in words, such as "1 x CPU".
        precision: the trainer's.
        ranks: processes.
        batch: samples of a step over all ranks.
        warm_up: steps before the measured ones.
        free: seconds of a step without waiting for the device inside of it, on average.
        steps: the measured steps.
        memory: at their end.
        loader: the loader alone.
        evaluated: the evaluation, or a sentence why there is none.
    """

    rank: int
    devices: str
    precision: str
    ranks: int
    batch: int
    warm_up: int
    free: float
    steps: Steps
    memory: Memory
    loader: Loader
    evaluated: Evaluated | str

    @property
    def samples_per_second(self) -> float:
        """Of training, over all ranks."""
        return self.batch / self.free

    @property
    def loader_samples_per_second(self) -> float:
        """That the loaders of all ranks would give, if each gives what that of rank 0 gives."""
        return self.batch * self.loader.rate
