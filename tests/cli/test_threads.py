import pytest

from repsynth.cli.threads import threads_for


@pytest.mark.parametrize(
    ("cores", "ranks", "workers", "threads"),
    [(2, 1, 0, 2), (2, 1, 1, 1), (2, 2, 2, 1), (16, 1, 4, 12), (16, 4, 2, 2), (1, 1, 0, 1)],
)
def test_loaders_and_ranks_keep_their_cores(cores: int, ranks: int, workers: int, threads: int) -> None:
    assert threads_for(cores, ranks, workers) == threads
