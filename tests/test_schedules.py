import pytest

from repsynth.schedules import ANNEALED, learning_rate_factor


def test_decay_is_per_thousand_samples() -> None:
    assert learning_rate_factor(2000, 0.5) == pytest.approx(0.25)
    assert learning_rate_factor(4, 0.9985) == pytest.approx(
        0.999994, abs=1e-8
    )  # the code base's rate per step of four


@pytest.mark.parametrize(
    ("samples", "factor"), [(0, 1), (100, 1), (200, (1 + ANNEALED) / 2), (300, ANNEALED), (999, ANNEALED)]
)
def test_annealing_falls_linearly_and_stays(samples: int, factor: float) -> None:
    assert learning_rate_factor(samples, 1.0, (100, 300)) == pytest.approx(factor)
