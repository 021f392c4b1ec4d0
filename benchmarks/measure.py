"""Time and memory of a piece of work: what every benchmark takes from `repsynth.benchmark.measure`."""

from pathlib import Path

from repsynth.benchmark import measure
from repsynth.benchmark.measure import Measurement, peak_memory, print_memory_growth, seconds, side_by_side

__all__ = ["Measurement", "memory_of", "peak_memory", "print_memory_growth", "seconds", "side_by_side"]


def memory_of(script: str, arguments: list[str]) -> int:
    """The bytes that a script prints last in a fresh process, see `repsynth.benchmark.measure.memory_of`."""
    return measure.memory_of([str(Path(script).resolve()), *arguments])
