"""Inception scores of what a classifier says of translations: realism and diversity, in all or of one photograph."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def inception_score(probabilities: Array) -> float:
    """Return IS, 1 to K: exp of the mean divergence of what is said of one image from what is said on average.

    `exp(mean_i KL(p_i || mean_j p_j))` (Salimans et al. 2016), over the whole set without splits.

    Args:
        probabilities: [N, K] float64, rows that sum up to 1.
    """
    return float(np.exp(_divergences(probabilities).mean()))


def conditional_inception_score(probabilities: Array, contents: Sequence[str]) -> float:
    """Return CIS, 1 to K: the same with the average over the translations of the same photograph only.

    How different the translations of one photograph are (Huang et al. 2018).

    Args:
        probabilities: [N, K] float64, rows that sum up to 1.
        contents: N, which photograph an image is made of.
    """
    _, groups = np.unique(np.array(contents), return_inverse=True)
    divergences = np.concatenate(
        [_divergences(probabilities[groups == group]) for group in range(groups.max() + 1)]
    )
    return float(np.exp(divergences.mean()))


def _divergences(probabilities: Array) -> Array:
    """[N] divergences of the rows from their mean; 0 log 0 is 0."""
    mean = probabilities.mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = probabilities * np.log(probabilities / mean)
    return np.where(probabilities > 0, terms, 0).sum(1)
