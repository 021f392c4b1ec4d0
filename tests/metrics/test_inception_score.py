import numpy as np
import pytest
from scipy.stats import entropy

from repsynth.metrics.inception_score import conditional_inception_score, inception_score


def draws(count: int, classes: int) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.full(classes, 0.5), count)


def test_a_classifier_that_knows_nothing_gives_one() -> None:
    assert inception_score(np.full((10, 4), 0.25)) == pytest.approx(1)
    assert conditional_inception_score(np.full((10, 4), 0.25), ["a"] * 5 + ["b"] * 5) == pytest.approx(1)


def test_classes_that_are_sure_and_even_give_their_number() -> None:
    sure = np.eye(4)[np.arange(20) % 4]
    assert inception_score(sure) == pytest.approx(4)
    assert inception_score(np.eye(4)[np.zeros(20, int)]) == pytest.approx(1)


def test_diversity_counts_within_a_photograph() -> None:
    sure = np.eye(4)[np.arange(16) % 4]
    assert conditional_inception_score(sure, [f"{i // 4}" for i in range(16)]) == pytest.approx(4)
    # All translations of a photograph alike: diverse as a set, not for any photograph.
    alike = [f"{i % 4}" for i in range(16)]
    assert conditional_inception_score(sure, alike) == pytest.approx(1)
    assert inception_score(sure) == pytest.approx(4)
    two = np.eye(4)[[0, 1, 0, 1, 2, 2, 2, 2]]
    assert conditional_inception_score(two, ["a"] * 4 + ["b"] * 4) == pytest.approx(np.exp(np.log(2) / 2))


def test_as_scipy_computes_it() -> None:
    said = draws(30, 5)
    expected = np.exp(np.mean([entropy(row, said.mean(0)) for row in said]))
    assert inception_score(said) == pytest.approx(expected, rel=1e-12)
    contents = [f"{i % 7}" for i in range(30)]
    parts = []
    for content in set(contents):
        own = said[[name == content for name in contents]]
        parts += [entropy(row, own.mean(0)) for row in own]
    assert conditional_inception_score(said, contents) == pytest.approx(np.exp(np.mean(parts)), rel=1e-12)


def test_one_photograph_is_the_whole_set() -> None:
    said = draws(12, 3)
    assert conditional_inception_score(said, ["a"] * 12) == pytest.approx(inception_score(said))
